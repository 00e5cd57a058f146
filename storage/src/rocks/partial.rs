//! A directory that is not finished: made beside the place where it shall stand, renamed to it at the end.
//!
//! Owns the file `UNFINISHED` in it, which says so and carries a lock, so that what a crash left behind is told from
//! what is being made, and is removed. Never removes a directory without that file, and never replaces anything but an
//! empty directory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::directory::sync_directory;
use crate::error::BackupError;

const NOTE: &str = "UNFINISHED";
const NOTE_WORDS: &str = "windlass: a copy that is not finished. Unless it is being made now, it means nothing.\n";
const SUFFIX: &str = ".partial";

/// Ours until it is kept; dropped before, it goes with all that is in it.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    parent: PathBuf,
    /// Holds the lock.
    _note: File,
    is_kept: bool,
}

impl Partial {
    /// Checks the place, and makes an empty directory beside it.
    pub(super) fn beside(target: &Path) -> Result<Self, BackupError> {
        let parent = parent_of(target)?;
        check_empty(target)?;
        let Some(name) = target.file_name() else { return Err(BackupError::Exists { path: target.to_owned() }) };
        let mut name = name.to_owned();
        name.push(SUFFIX);
        let path = parent.join(name);
        let place = path.as_path();
        let io = |doing: &'static str| move |error: io::Error| BackupError::from_io(place, doing, &error);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(&path)?;
                fs::create_dir(&path).map_err(io("making the directory of the copy"))?;
            }
            Err(error) => return Err(io("making the directory of the copy")(error)),
        }
        let note = || -> io::Result<File> {
            let mut note = File::create_new(path.join(NOTE))?;
            note.lock()?;
            note.write_all(NOTE_WORDS.as_bytes())?;
            note.sync_all()?;
            sync_directory(&path)?;
            Ok(note)
        };
        let note = note().map_err(|error| {
            // Nobody else's: it was made just now.
            let _ = fs::remove_dir_all(&path);
            io("beginning the copy")(error)
        })?;
        Ok(Self { path, target: target.to_owned(), parent, _note: note, is_kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it shall stand.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// The directory around both.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    /// Puts it in its place, durably. Everything in it has to be durable by then.
    pub(super) fn keep(mut self) -> Result<(), BackupError> {
        let target = self.target.clone();
        let place = target.as_path();
        let io = |doing: &'static str| move |error: io::Error| BackupError::from_io(place, doing, &error);
        // Asked once more, for a better answer than the system's.
        check_empty(place)?;
        fs::rename(&self.path, place).map_err(io("putting the copy in its place"))?;
        self.is_kept = true;
        fs::remove_file(place.join(NOTE)).map_err(io("removing the file UNFINISHED"))?;
        sync_directory(place).and_then(|()| sync_directory(&self.parent)).map_err(io("syncing the directory"))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays, the next copy to the same place removes.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent_of(target: &Path) -> Result<PathBuf, BackupError> {
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match fs::metadata(parent) {
        Ok(parent_is) if parent_is.is_dir() => Ok(parent.to_owned()),
        Ok(_) => Err(BackupError::ParentMissing { path: parent.to_owned() }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(BackupError::ParentMissing { path: parent.to_owned() })
        }
        Err(error) => Err(BackupError::from_io(parent, "looking at the directory around the copy", &error)),
    }
}

/// Nothing, or an empty directory.
fn check_empty(target: &Path) -> Result<(), BackupError> {
    let io = |error: io::Error| BackupError::from_io(target, "looking at the place of the copy", &error);
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.is_dir() => return Err(BackupError::Exists { path: target.to_owned() }),
        Ok(_) => {}
    }
    match fs::read_dir(target).map_err(io)?.next() {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
            Err(BackupError::NotEmpty { path: target.to_owned(), found })
        }
    }
}

/// Removes what a crash has left.
fn clear(path: &Path) -> Result<(), BackupError> {
    let io = |error: io::Error| BackupError::from_io(path, "removing a copy that was cut short", &error);
    match File::open(path.join(NOTE)) {
        Ok(note) => match note.try_lock() {
            // The lock is held while it goes.
            Ok(()) => fs::remove_dir_all(path).map_err(io),
            Err(TryLockError::WouldBlock) => Err(BackupError::UnderWay { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_empty(path)?;
            fs::remove_dir(path).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_crash_left_is_removed_and_what_is_under_way_or_anothers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (target, partial) = (folder.path().join("copy"), folder.path().join("copy.partial"));
        let first = Partial::beside(&target).unwrap();
        assert_eq!(Partial::beside(&target).unwrap_err(), BackupError::UnderWay { path: partial.clone() });
        fs::write(partial.join("half"), "of it").unwrap();
        // As a crash leaves it: the lock goes with the process.
        let Partial { _note: note, .. } = &first;
        note.unlock().unwrap();
        let second = Partial::beside(&target).unwrap();
        assert!(!partial.join("half").exists());
        std::mem::forget(first);
        drop(second);
        assert!(!partial.exists() && !target.exists());

        fs::create_dir(&partial).unwrap();
        drop(Partial::beside(&target).unwrap());
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("thesis.tex"), "precious").unwrap();
        let refusal = Partial::beside(&target).unwrap_err();
        assert_eq!(refusal, BackupError::NotEmpty { path: partial.clone(), found: "thesis.tex".to_owned() });
        assert!(partial.join("thesis.tex").exists());
    }

    #[test]
    fn only_nothing_and_an_empty_directory_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("copy");
        fs::write(&target, "a file").unwrap();
        assert_eq!(Partial::beside(&target).unwrap_err(), BackupError::Exists { path: target.clone() });
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        let partial = Partial::beside(&target).unwrap();
        fs::write(partial.path().join("all"), "of it").unwrap();
        // Somebody was quicker.
        fs::write(target.join("another"), "one").unwrap();
        let refusal = partial.keep().unwrap_err();
        assert_eq!(refusal, BackupError::NotEmpty { path: target.clone(), found: "another".to_owned() });
        fs::remove_file(target.join("another")).unwrap();
        let partial = Partial::beside(&target).unwrap();
        fs::write(partial.path().join("all"), "of it").unwrap();
        partial.keep().unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let missing = folder.path().join("missing");
        let refusal = Partial::beside(&missing.join("copy")).unwrap_err();
        assert_eq!(refusal, BackupError::ParentMissing { path: missing });
    }
}
