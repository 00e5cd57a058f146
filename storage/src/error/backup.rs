//! Why a backup was not made or not put back, typed by what has to be done about it.
//!
//! Owns the words of both ways, because they fail alike: a copy is made beside its place, looked through, and renamed.

use std::io;
use std::path::{Path, PathBuf};

use super::{LoadError, OpenError, StorageError};
use crate::journal::CommitNo;

/// Why there is no copy. Where it was to stand, everything is as it was before, and so is what was to be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// This journal has nothing that could be copied.
    #[error("the journal in {place} cannot be copied: it has no files. Keep what must last in a journal on disk")]
    Unsupported {
        /// Where it is.
        place: String,
    },
    /// The journal is not open, or can no longer be believed.
    #[error(transparent)]
    Journal(#[from] StorageError),
    /// There is something that is no directory.
    #[error("{} exists and is no directory: choose a path that does not exist, or an empty directory", path.display())]
    Exists {
        /// Where the copy was to stand.
        path: PathBuf,
    },
    /// There is a directory with something in it.
    #[error("{} is not empty ({found} is in it): choose a path that does not exist, or an empty directory", path.display())]
    NotEmpty {
        /// Where the copy was to stand.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// The directory around it is not there.
    #[error("{} does not exist: make it first, or correct the path", path.display())]
    ParentMissing {
        /// The directory that is missing.
        path: PathBuf,
    },
    /// The copy would stand inside of what is copied.
    #[error("{} lies inside journal {}: choose a path outside of it", path.display(), journal.display())]
    Inside {
        /// Where the copy was to stand.
        path: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// Someone else makes a copy at the same place.
    #[error("another copy to the same place is being made in {}: wait for it, or choose another path", path.display())]
    UnderWay {
        /// Where that one is being made.
        path: PathBuf,
    },
    /// The system does not let this process write there, or the disk is mounted for reading only.
    #[error("no permission at {} ({doing}): give this user write access, or choose another path", path.display())]
    Permission {
        /// Where.
        path: PathBuf,
        /// What was being done.
        doing: String,
    },
    /// The disk has too little room: seen before anything was copied.
    #[error("{} has {free_bytes} bytes free, the copy needs {needed_bytes}: free some, or choose another disk", path.display())]
    NoRoom {
        /// The directory around the place of the copy.
        path: PathBuf,
        /// Bytes that the copy needs, as far as can be told before.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// The disk was full before all was copied.
    #[error("no space left at {} ({reason}): free some, or choose another disk", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The copy ends before something that has to be in it.
    #[error("the copy in {} ends at commit {found}, and has to reach {expected}: make it again", path.display())]
    Behind {
        /// Where the copy was made.
        path: PathBuf,
        /// The commit that it has to reach.
        expected: CommitNo,
        /// The last one in it.
        found: CommitNo,
    },
    /// What is to be put back is no journal, or the copy does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy opens and cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The system refused something else.
    #[error("copying failed at {} while {doing}: {reason}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was being done.
        doing: String,
        /// The system's words.
        reason: String,
    },
}

impl BackupError {
    /// The system's error, met at `path` while `doing` something.
    #[must_use]
    pub fn from_io(path: &Path, doing: &str, error: &io::Error) -> Self {
        let (path, doing, reason) = (path.to_owned(), doing.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, doing: format!("{doing}: {reason}") }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, reason },
            _ => Self::Io { path, doing, reason },
        }
    }
}
