//! What can go wrong with a journal, typed by what has to be done about it.
//!
//! Owns every error of this crate. Never holds an error of a library: those types are not ours to promise, so their
//! text is kept and their kind is translated. All errors can be cloned, because many callers may wait for one write.

mod backup;

use std::io;
use std::path::{Path, PathBuf};

pub use backup::BackupError;

use crate::journal::CommitNo;

/// Why a journal could not be opened. Where nothing else is said, its files are as they were before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Someone else has it open, in this process or another.
    #[error(
        "journal {} is in use by another owner: stop that process or engine, or open another directory",
        path.display()
    )]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// This handle is open already.
    #[error("this handle has journal {} open already: close it before opening it again", path.display())]
    AlreadyOpen {
        /// Where it is.
        path: PathBuf,
    },
    /// A later version of this crate wrote it.
    #[error(
        "journal {} has format {found}, and this version knows formats up to {known}: run the version that wrote it, \
         or a later one",
        path.display()
    )]
    NewerFormat {
        /// Where it is.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that is known here.
        known: u32,
    },
    /// A later version of this crate wrote one of the journal's own records.
    #[error(
        "journal {} has a record of kind {kind} in record version {found}, and this version knows record versions up \
         to {known}: run the version that wrote it, or a later one",
        path.display()
    )]
    NewerRecord {
        /// Where it is.
        path: PathBuf,
        /// The record's kind.
        kind: u8,
        /// Its record version.
        found: u8,
        /// The latest record version that is known here.
        known: u8,
    },
    /// The directory holds something that is not a journal.
    #[error(
        "directory {} is not a journal and not empty ({found} is in it): choose another, or an empty one",
        path.display()
    )]
    NotAJournal {
        /// Where it is.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// There is something, but not a directory.
    #[error("{} is not a directory: a journal needs one of its own", path.display())]
    NotADirectory {
        /// Where it is.
        path: PathBuf,
    },
    /// The system does not let this process in.
    #[error(
        "no permission for journal {} ({doing}): give this user read and write access, and see that its disk is not mounted \
         read-only",
        path.display()
    )]
    Permission {
        /// Where it is.
        path: PathBuf,
        /// What was being done, and the system's words.
        doing: String,
    },
    /// The log ends before something that was synced: an older copy was put back, or bytes are gone.
    #[error(
        "journal {} was synced up to commit {expected}, but its log ends at {found}: synced jobs are missing. Put the \
         newer files back; or, to go on without those jobs, copy the directory aside and remove its WATERMARK file",
        path.display()
    )]
    RolledBack {
        /// Where it is.
        path: PathBuf,
        /// The last commit known to be synced.
        expected: CommitNo,
        /// The last commit that is there.
        found: CommitNo,
    },
    /// The file that remembers the last synced commit cannot be read.
    #[error(
        "the watermark file {} is damaged ({reason}): whether synced jobs are missing cannot be told. Copy the \
         directory aside; then remove that file to open the journal without this check",
        path.display()
    )]
    WatermarkDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log or a table cannot be read whole.
    #[error(
        "journal {} is damaged ({reason}): copy the directory aside before anything else, then restore it from a \
         backup or salvage the copy",
        path.display()
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk has no room to open it.
    #[error("no space left on the disk of journal {} ({reason}): free some and open it again", path.display())]
    DiskFull {
        /// Where it is.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The database runs with another option than the one asked for; job state would not be safe.
    #[error(
        "journal {} opened with option {name} = {found} where {expected} is required: this build of the database must \
         not be used",
        path.display()
    )]
    Option {
        /// Where it is.
        path: PathBuf,
        /// The option, as the database calls it.
        name: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The system refused something else.
    #[error("journal {} cannot be opened: {doing}: {reason}", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What was being done.
        doing: String,
        /// The system's words.
        reason: String,
    },
    /// Another journal's own reason.
    #[error("journal {place} cannot be opened: {reason}")]
    Other {
        /// Where it is.
        place: String,
        /// Its words.
        reason: String,
    },
}

/// Why a journal could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not open.
    #[error("the journal is not open: open it before loading")]
    Closed,
    /// It cannot be read at all.
    #[error("the journal cannot be read: {0}")]
    Unreadable(#[source] StorageError),
    /// A later version of this crate wrote one of its records. Nothing was moved aside, whatever was reported.
    #[error(
        "the record under key {key} is of kind {kind} in record version {found}, and this version knows record \
         versions up to {known}: run the version that wrote it, or a later one. No record was moved"
    )]
    NewerRecord {
        /// Its key, in hexadecimal digits.
        key: String,
        /// Its kind.
        kind: u8,
        /// Its record version.
        found: u8,
        /// The latest record version that is known here.
        known: u8,
    },
    /// Records had to be moved aside, and that failed. They are where they were.
    #[error("unreadable records could not be moved aside: {0}")]
    NotMoved(#[source] StorageError),
}

/// Why an open journal could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// It is not open, or was closed meanwhile.
    #[error("the journal is closed: open it and ask again")]
    Closed,
    /// An earlier write or sync failed, so that nothing it says can be believed.
    #[error("the journal is poisoned by an earlier failure ({reason}): close it, open it and load it again")]
    Poisoned {
        /// The earlier failure.
        reason: String,
    },
    /// Another owner has a later term.
    #[error("the journal belongs to another owner since term {term}: this handle is of no use any more")]
    Fenced {
        /// The later term.
        term: u64,
    },
    /// A commit number that does not rise, or is of an earlier term.
    #[error("commit {given} does not follow commit {last} in term {term}: commit numbers must rise")]
    NotRising {
        /// The number of the batch.
        given: CommitNo,
        /// The last number in the journal.
        last: CommitNo,
        /// The term in which the journal was opened.
        term: u64,
    },
    /// A batch over the journal's bound.
    #[error("the batch has {bytes} bytes where {bytes_max} are allowed: split it")]
    BatchTooLarge {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that one append takes.
        bytes_max: usize,
    },
    /// Something that has no form on disk.
    #[error("{what} cannot be written: it has {bytes} bytes where {bytes_max} are allowed")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it may have.
        bytes_max: usize,
    },
    /// Something that could not be encoded.
    #[error("a record could not be encoded: {reason}")]
    Unencodable {
        /// The encoder's words.
        reason: String,
    },
    /// A record that cannot be read. Loading the journal moves it aside.
    #[error("the record under key {key} is damaged: {reason}")]
    Damaged {
        /// Its key, in hexadecimal digits.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A commit of a term so old that the journal no longer knows how it ended.
    #[error("whether commit {commit_no} is there is no longer known: terms before {oldest} are forgotten")]
    Forgotten {
        /// The commit asked about.
        commit_no: CommitNo,
        /// The oldest term that is known.
        oldest: u64,
    },
    /// The disk is full.
    #[error(
        "no space left on the disk of {} while {doing} ({reason}): free some, then open the journal again",
        path.display()
    )]
    DiskFull {
        /// Where it is.
        path: PathBuf,
        /// What was being done.
        doing: String,
        /// The system's words.
        reason: String,
    },
    /// The system refused something else.
    #[error("{} failed while {doing}: {reason}", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What was being done.
        doing: String,
        /// The system's words.
        reason: String,
    },
    /// Another journal's own reason.
    #[error("{place} failed: {reason}")]
    Other {
        /// Where it is.
        place: String,
        /// Its words.
        reason: String,
    },
}

impl OpenError {
    /// The system's error, met at `path` while `doing` something.
    #[must_use]
    pub fn from_io(path: &Path, doing: &str, error: &io::Error) -> Self {
        let (path, doing, reason) = (path.to_owned(), doing.to_owned(), error.to_string());
        match error.kind() {
            // Which of the two it was stands in the system's words alone.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, doing: format!("{doing}: {reason}") }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, reason },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, doing, reason },
        }
    }
}

impl StorageError {
    /// The system's error, met at `path` while `doing` something.
    #[must_use]
    pub fn from_io(path: &Path, doing: &str, error: &io::Error) -> Self {
        let (path, doing, reason) = (path.to_owned(), doing.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, doing, reason },
            _ => Self::Io { path, doing, reason },
        }
    }

    /// What to answer after this error: [`StorageError::Poisoned`], with this error as the reason.
    #[must_use]
    pub fn poisoned(&self) -> Self {
        match self {
            Self::Poisoned { .. } => self.clone(),
            error => Self::Poisoned { reason: error.to_string() },
        }
    }
}
