//! From RocksDB's words to what an operator has to do.
//!
//! Owns the table of words. They choose the advice, and never what is believed: after any failure the journal is poisoned.

use std::path::{Path, PathBuf};

use crate::error::{OpenError, StorageError};

/// A database that did not open.
pub(super) fn open_error(path: &Path, error: &rocksdb::Error) -> OpenError {
    open_refusal(path.to_owned(), error.to_string())
}

fn open_refusal(path: PathBuf, reason: String) -> OpenError {
    let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    let begins = |words: &[&str]| words.iter().any(|words| reason.starts_with(words));
    if says(&["/LOCK:", "lock hold by current process"]) {
        OpenError::InUse { path }
    } else if says(&DISK_FULL) {
        OpenError::DiskFull { path, reason }
    } else if says(&["Permission denied", "Read-only file system"]) {
        OpenError::Permission { path, doing: reason }
    } else if begins(&["Corruption", "Invalid argument", "NotFound"]) || says(&["No such file"]) {
        OpenError::Damaged { path, reason }
    } else {
        OpenError::Io { path, doing: "opening the database".to_owned(), reason }
    }
}

pub(super) const DISK_FULL: [&str; 2] = ["No space left", "Disk quota"];

pub(super) fn storage_error(path: &Path, doing: &str, error: &rocksdb::Error) -> StorageError {
    storage_failure(path.to_owned(), doing.to_owned(), error.to_string())
}

fn storage_failure(path: PathBuf, doing: String, reason: String) -> StorageError {
    if DISK_FULL.iter().any(|words| reason.contains(words)) {
        StorageError::DiskFull { path, doing, reason }
    } else {
        StorageError::Io { path, doing, reason }
    }
}

/// A failure of the first writes of an opening, which the opening has to answer for.
pub(super) fn from_storage(path: &Path, error: StorageError) -> OpenError {
    let path = path.to_owned();
    match error {
        StorageError::DiskFull { reason, .. } => OpenError::DiskFull { path, reason },
        // A table that a compaction has just found damaged fails these writes, too.
        StorageError::Io { doing, reason, .. } => match open_refusal(path, reason) {
            OpenError::Io { path, reason, .. } => OpenError::Io { path, doing, reason },
            refusal => refusal,
        },
        error => OpenError::Io { path, doing: "beginning a term".to_owned(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_words_choose_the_advice() {
        let of = |reason: &str| match open_refusal(PathBuf::from("data"), reason.to_owned()) {
            OpenError::InUse { .. } => "in use",
            OpenError::DiskFull { .. } => "disk full",
            OpenError::Permission { .. } => "permission",
            OpenError::Damaged { .. } => "damaged",
            OpenError::Io { .. } => "io",
            _ => "another",
        };
        assert_eq!(of("IO error: While lock file: data/db/LOCK: Resource temporarily unavailable"), "in use");
        assert_eq!(of("IO error: lock hold by current process, acquire time 1 acquiring thread 2: x"), "in use");
        assert_eq!(of("IO error: No space left on device: While appending to file: data/db/000004.log"), "disk full");
        assert_eq!(of("IO error: While open a file for random read: data/db/1.sst: Permission denied"), "permission");
        assert_eq!(of("Corruption: checksum mismatch in file data/db/MANIFEST-000005"), "damaged");
        assert_eq!(of("Corruption: Missing WAL with log number: 4."), "damaged");
        assert_eq!(of("IO error: No such file or directory: While open a file: data/db/9.sst"), "damaged");
        assert_eq!(of("IO error: While fdatasync: data/db/000004.log: Input/output error"), "io");
    }

    #[test]
    fn what_fails_the_first_writes_of_an_opening_is_told_as_what_it_is() {
        let of = |reason: &str| {
            from_storage(Path::new("data"), storage_failure("data/db".into(), "x".into(), reason.into()))
        };
        assert!(matches!(of("Corruption: block checksum mismatch in data/db/000016.sst"), OpenError::Damaged { .. }));
        assert!(matches!(of("IO error: No space left on device: While appending"), OpenError::DiskFull { .. }));
        assert!(
            matches!(of("IO error: While fdatasync: Input/output error"), OpenError::Io { doing, .. } if doing == "x")
        );
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let of = |reason: &str| storage_failure("data".into(), "appending".into(), reason.into());
        assert!(matches!(of("IO error: No space left on device: While appending"), StorageError::DiskFull { .. }));
        assert!(matches!(of("IO error: While fdatasync: Input/output error"), StorageError::Io { .. }));
    }
}
