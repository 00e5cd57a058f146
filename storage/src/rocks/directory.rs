//! The directory of a journal: whose it is, which format it has, and that nobody else uses it.
//!
//! Owns the marker file `WINDLASS`, which says the format in plain text and carries the lock. Both are looked at before
//! the database, because merely opening that rewrites files. Never touches a directory that is not ours.
//!
//! The lock is ours besides RocksDB's own: POSIX drops all of a process's locks on a file when any descriptor of it is
//! closed, so that a backup that reads `LOCK` inside our process would free the database. This one is bound to one open
//! file, and the system frees it when the process dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The latest format that this version knows, and the one that it writes.
pub(super) const FORMAT: u32 = 1;

pub(super) const MARKER: &str = "WINDLASS";
const MARKER_WORDS: &str = "windlass journal, format ";
pub(super) const DATABASE: &str = "db";
/// What a file system puts into its own root.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory that is ours, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _marker: Locked,
}

/// A file whose lock we hold. It goes with this value, and not with the last copy of the descriptor: a process that another thread
/// forks has one until its exec, and whoever opens the journal anew meanwhile would find it in use.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it unlocks it, too, if not at once.
        let _ = self.0.unlock();
    }
}

impl Directory {
    /// Takes the directory, and makes it a journal's where it is new or empty.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let io = |doing: &'static str| move |error: io::Error| OpenError::from_io(path, doing, &error);
        create(path).map_err(io("creating the directory"))?;
        if !fs::metadata(path).map_err(io("looking at the directory"))?.is_dir() {
            return Err(OpenError::NotADirectory { path: path.to_owned() });
        }
        let mut others = Vec::new();
        let mut marked = false;
        for entry in fs::read_dir(path).map_err(io("listing the directory"))? {
            let name = entry.map_err(io("listing the directory"))?.file_name();
            if name == MARKER {
                marked = true;
            } else if name != LOST_AND_FOUND {
                others.push(name.to_string_lossy().into_owned());
            }
        }
        if let (false, Some(found)) = (marked, others.first()) {
            return Err(OpenError::NotAJournal { path: path.to_owned(), found: found.clone() });
        }

        let marker = OpenOptions::new()
            .read(true)
            .write(true)
            .create(!marked)
            .truncate(false)
            .open(path.join(MARKER))
            .map_err(io("opening the file WINDLASS"))?;
        match marker.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io("locking the file WINDLASS")(error)),
        }
        let mut marker = Locked(marker);
        let text = text_of(&mut marker.0).map_err(io("reading the file WINDLASS"))?;
        let current = format!("{MARKER_WORDS}{FORMAT}\n");
        // A creation that was cut short left a part of the marker and nothing else.
        if others.is_empty() && text.len() < current.len() && current.starts_with(&text) {
            write_marker(path, &mut marker.0, &current).map_err(io("writing the file WINDLASS"))?;
        } else {
            check_format(path, &text)?;
        }
        Ok(Self { path: path.to_owned(), _marker: marker })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes the database's directory, durably.
    pub(super) fn create_database(&self) -> io::Result<()> {
        create(&self.database())
    }

    /// Whether a database was ever made.
    pub(super) fn has_database(&self) -> bool {
        self.database().join("CURRENT").exists()
    }
}

/// Makes a directory a journal's, durably: the last step of a copy.
pub(super) fn mark(path: &Path) -> io::Result<()> {
    let mut marker = File::create_new(path.join(MARKER))?;
    write_marker(path, &mut marker, &format!("{MARKER_WORDS}{FORMAT}\n"))
}

/// Holds the journal against whoever would open it, and lets others read it too. Touches nothing.
pub(super) fn hold_to_read(path: &Path) -> Result<Locked, OpenError> {
    let io = |doing: &'static str| move |error: io::Error| OpenError::from_io(path, doing, &error);
    let marker = match File::open(path.join(MARKER)) {
        Ok(marker) => marker,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entry = fs::read_dir(path).map_err(io("listing the directory"))?.flatten().next();
            let found = entry.map_or_else(|| "nothing".to_owned(), |entry| entry.file_name().to_string_lossy().into());
            return Err(OpenError::NotAJournal { path: path.to_owned(), found });
        }
        Err(error) => return Err(io("opening the file WINDLASS")(error)),
    };
    match marker.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(io("locking the file WINDLASS")(error)),
    }
    let mut marker = Locked(marker);
    let text = text_of(&mut marker.0).map_err(io("reading the file WINDLASS"))?;
    check_format(path, &text)?;
    Ok(marker)
}

/// What the marker says. Bytes that are no text are damage, and not a file that cannot be read.
fn text_of(marker: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    marker.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes an entry of this directory survive the loss of power.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn create(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    // Parents that were made on the way are the caller's: a lost one takes an empty journal with it.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn write_marker(path: &Path, marker: &mut File, text: &str) -> io::Result<()> {
    marker.rewind()?;
    marker.write_all(text.as_bytes())?;
    marker.sync_all()?;
    sync_directory(path)
}

fn check_format(path: &Path, text: &str) -> Result<(), OpenError> {
    let damaged = || OpenError::Damaged {
        path: path.to_owned(),
        reason: format!("the file {MARKER} does not say \"{MARKER_WORDS}\" and a number"),
    };
    let number = text.strip_prefix(MARKER_WORDS).and_then(|rest| rest.lines().next()).ok_or_else(damaged)?;
    match number.parse::<u32>() {
        Ok(found) if found > FORMAT => Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
        Ok(FORMAT) => Ok(()),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_directory_that_holds_something_else_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.tex"), "precious").unwrap();
        let refusal = Directory::claim(directory.path()).unwrap_err();
        assert!(matches!(&refusal, OpenError::NotAJournal { found, .. } if found == "thesis.tex"), "{refusal}");
        assert_eq!(names(directory.path()), ["thesis.tex"]);
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(Directory::claim(&path), Err(OpenError::NotADirectory { .. })));
        assert!(matches!(Directory::claim(&path.join("below")), Err(OpenError::NotADirectory { .. })));
    }

    #[test]
    fn a_creation_that_was_cut_short_anywhere_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let whole = format!("{MARKER_WORDS}{FORMAT}\n");
        for length in 0..=whole.len() {
            fs::write(directory.path().join(MARKER), &whole[..length]).unwrap();
            drop(Directory::claim(directory.path()).unwrap());
            assert_eq!(fs::read_to_string(directory.path().join(MARKER)).unwrap(), whole);
        }
    }

    #[test]
    fn a_directory_belongs_to_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Directory::claim(directory.path()).unwrap();
        assert!(matches!(Directory::claim(directory.path()), Err(OpenError::InUse { .. })));
        drop(owner);
        Directory::claim(directory.path()).unwrap();
    }

    #[test]
    fn a_descriptor_that_a_forked_process_has_keeps_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let mine = Directory::claim(directory.path()).unwrap();
        let Directory { _marker: marker, .. } = &mine;
        let copy = marker.0.try_clone().unwrap();
        assert!(matches!(Directory::claim(directory.path()), Err(OpenError::InUse { .. })));
        drop(mine);
        Directory::claim(directory.path()).unwrap();
        let reads = hold_to_read(directory.path()).unwrap();
        let another = reads.0.try_clone().unwrap();
        drop(reads);
        Directory::claim(directory.path()).unwrap();
        drop((copy, another));
    }

    #[test]
    fn a_marker_that_says_something_else_is_damaged_and_a_greater_number_is_newer() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join(MARKER);
        fs::create_dir(directory.path().join(DATABASE)).unwrap();
        for text in ["", "windlass", "another journal, format 1\n", "windlass journal, format one\n"] {
            fs::write(&marker, text).unwrap();
            let refusal = Directory::claim(directory.path()).unwrap_err();
            assert!(matches!(refusal, OpenError::Damaged { .. }), "{text:?}: {refusal}");
        }
        fs::write(&marker, "windlass journal, format 2\nand more\n").unwrap();
        let refusal = Directory::claim(directory.path()).unwrap_err();
        assert_eq!(refusal, OpenError::NewerFormat { path: directory.path().to_owned(), found: 2, known: 1 });
    }
}
