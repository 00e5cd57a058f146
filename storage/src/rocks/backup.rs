//! A copy of the journal while it works, and the way back.
//!
//! Owns what a copy is: the database as RocksDB's checkpoint gives it, a watermark at its own last commit, the marker
//! file last, everything synced, and the whole read through before it gets its name. Never keeps the writer waiting: it
//! only says how far the copy must reach. Never flushes the journal's buffers for it either: a full disk under the copy
//! would then be the journal's own failure. The log is copied instead, tables are linked where they can be.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;
use windlass_scheduler::change::Record;

use super::directory::{DATABASE, hold_to_read, mark, sync_directory};
use super::options::{self, RocksOptions};
use super::partial::Partial;
use super::reader::Shared;
use super::refusal::{DISK_FULL, open_error};
use super::{check_reach, load, own_records, watermark};
use crate::backup::{BackupReport, PendingBackup};
use crate::error::{BackupError, OpenError, StorageError};
use crate::journal::{CommitNo, Loaded};

/// The size from which on RocksDB would flush before it copies: never.
const NEVER_FLUSH: u64 = u64::MAX;

/// What is copied.
pub(super) struct Source {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: PathBuf,
    pub(super) database: PathBuf,
    pub(super) options: RocksOptions,
    /// How far the copy must reach.
    pub(super) reach: CommitNo,
}

/// Checks the place, and leaves the rest for later.
pub(super) fn begin(source: Source, to: &Path) -> Result<PendingBackup, BackupError> {
    let partial = Partial::beside(to)?;
    let inside =
        |path: &Path| Some(fs::canonicalize(path).ok()?.starts_with(fs::canonicalize(&source.directory).ok()?));
    if inside(partial.parent()).unwrap_or(false) {
        return Err(BackupError::Inside { path: to.to_owned(), journal: source.directory });
    }
    Ok(PendingBackup::new(move || copy(&source, partial)))
}

fn copy(source: &Source, partial: Partial) -> Result<BackupReport, BackupError> {
    // Tables are linked on the same disk, the log never: its last part is still being written.
    let links = device(partial.path()).is_some_and(|disk| device(&source.database) == Some(disk));
    check_room(partial.parent(), bytes_of(&source.database, |name| !links || has_ending(name, "log"))?)?;
    checkpoint(source, &partial)?;
    let (report, found) = read_through(partial.path(), partial.target(), &source.options)?;
    if found < source.reach {
        let (path, expected) = (partial.path().to_owned(), source.reach);
        return Err(BackupError::Behind { path, expected, found });
    }
    finish(partial, report, found)
}

fn checkpoint(source: &Source, partial: &Partial) -> Result<(), BackupError> {
    let held = source.shared.hold();
    let db = held.as_ref().ok_or(StorageError::Closed)?;
    let made = Checkpoint::new(db)
        .and_then(|made| made.create_checkpoint_with_log_size(partial.path().join(DATABASE), NEVER_FLUSH));
    made.map_err(|error| refused(partial.path(), "copying the database", error.into_string()))
}

/// RocksDB says what happened in words only.
fn refused(path: &Path, doing: &str, reason: String) -> BackupError {
    let (path, doing) = (path.to_owned(), doing.to_owned());
    if DISK_FULL.iter().any(|words| reason.contains(words)) {
        BackupError::DiskFull { path, reason }
    } else if ["Permission denied", "Read-only file system"].iter().any(|words| reason.contains(words)) {
        BackupError::Permission { path, doing }
    } else {
        BackupError::Io { path, doing, reason }
    }
}

/// See `RocksJournal::restore`.
pub(super) fn restore(from: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    let _held = hold_to_read(from)?;
    let mark = watermark::read(from)?;
    let partial = Partial::beside(to)?;
    let database = from.join(DATABASE);
    mark.and_then(|mark| mark.manifest).map_or(Ok(()), |manifest| manifest.check(from, &database))?;
    check_room(partial.parent(), bytes_of(&database, |_| true)?)?;
    let copied = partial.path().join(DATABASE);
    let place = copied.as_path();
    let io = |doing: &'static str| move |error: io::Error| BackupError::from_io(place, doing, &error);
    fs::create_dir(&copied).map_err(io("making the directory of the database"))?;
    for file in files_of(&database)? {
        // Never linked: a damaged block would be the backup's, too.
        fs::copy(database.join(&file), copied.join(&file)).map_err(io("copying a file of the database"))?;
    }
    let (report, found) = read_through(partial.path(), partial.target(), &RocksOptions::default())?;
    if let Some(mark) = mark {
        check_reach(from, mark.commit_no, Some(Ok(found)))?;
    }
    finish(partial, report, found)
}

/// Opens the copy without changing it, reads everything in it, and counts. Tells how far its log reaches, too.
pub(super) fn read_through(
    copy: &Path,
    target: &Path,
    options: &RocksOptions,
) -> Result<(BackupReport, CommitNo), BackupError> {
    let database = copy.join(DATABASE);
    let db = DB::open_cf_descriptors_read_only(
        &options::database(options, false),
        &database,
        options::families(options),
        false,
    )
    .map_err(|error| open_error(copy, &error))?;
    let (terms, last) = own_records(copy, &db)?;
    let mut report = BackupReport::new(target.to_owned(), last);
    load::look(&db, &mut |loaded| match loaded {
        Loaded::Record(record) => note(&mut report, &record),
        Loaded::Quarantined(record) => report.note_unreadable(record),
    })?;
    drop(db);
    report.bytes = bytes_of(&database, |_| true)?;
    Ok((report, terms.position(last)))
}

fn note(report: &mut BackupReport, record: &Record) {
    report.records += 1;
    match record {
        Record::Job(_) => report.jobs += 1,
        Record::Ended(_) => report.ended += 1,
        _ => {}
    }
}

/// Makes everything durable, says that it is a journal, and puts it in its place.
fn finish(partial: Partial, report: BackupReport, reach: CommitNo) -> Result<BackupReport, BackupError> {
    let database = partial.path().join(DATABASE);
    let place = partial.path();
    let io = |doing: &'static str| move |error: io::Error| BackupError::from_io(place, doing, &error);
    for file in files_of(&database)? {
        File::open(database.join(file)).and_then(|file| file.sync_all()).map_err(io("syncing a file of the copy"))?;
    }
    sync_directory(&database).map_err(io("syncing the copy"))?;
    // Whoever cuts this copy's log later is found out as with any journal.
    watermark::write(partial.path(), reach, None)?;
    mark(partial.path()).map_err(io("writing the file WINDLASS"))?;
    partial.keep()?;
    Ok(report)
}

/// The files of a database that belong to it: not its lock, nor what it tells people.
pub(super) fn files_of(database: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let (path, reason) = (database.to_owned(), "it has no database".to_owned());
            BackupError::Open(OpenError::Damaged { path, reason })
        }
        _ => BackupError::from_io(database, "listing the database", &error),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(database).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = PathBuf::from(entry.file_name());
        let is_ours = !name.to_string_lossy().starts_with("LO");
        if is_ours && entry.file_type().map_err(io)?.is_file() {
            files.push(name);
        }
    }
    Ok(files)
}

pub(super) fn bytes_of(database: &Path, counts: impl Fn(&Path) -> bool) -> Result<u64, BackupError> {
    // What compaction has removed meanwhile needs no room.
    let bytes = |name: PathBuf| fs::metadata(database.join(name)).map_or(0, |file| file.len());
    Ok(files_of(database)?.into_iter().filter(|name| counts(name)).map(bytes).sum())
}

fn has_ending(name: &Path, ending: &str) -> bool {
    name.extension().is_some_and(|extension| extension == ending)
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.dev())
}

pub(super) fn check_room(path: &Path, needed_bytes: u64) -> Result<(), BackupError> {
    let Ok(stat) = rustix::fs::statvfs(path) else { return Ok(()) };
    let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    Err(BackupError::NoRoom { path: path.to_owned(), needed_bytes, free_bytes })
}
