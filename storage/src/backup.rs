//! What a backup is to those who ask for one: a copy that is begun, finished elsewhere, and told about.
//!
//! Owns the two words that a journal and its owner exchange. Knows nothing of files: how a copy is made is each
//! journal's own affair.

use std::fmt;
use std::path::PathBuf;

use crate::error::BackupError;
use crate::journal::{CommitNo, Quarantined};

type Finish = Box<dyn FnOnce() -> Result<BackupReport, BackupError> + Send>;

/// A copy that was begun. Nothing stands in its place until it is [finished](Self::finish); dropped instead, it leaves
/// nothing behind.
#[must_use = "a copy is nothing until it is finished"]
pub struct PendingBackup(Finish);

impl PendingBackup {
    /// For journals: what is left to do, on any thread where blocking is allowed. Dropped uncalled, it must leave
    /// nothing behind.
    pub fn new(finish: impl FnOnce() -> Result<BackupReport, BackupError> + Send + 'static) -> Self {
        Self(Box::new(finish))
    }

    /// Copies, opens the copy, reads it through, and puts it in its place, all of it or nothing. It blocks for as long
    /// as that takes; the journal goes on meanwhile, and a closing waits for the copying.
    ///
    /// # Errors
    /// [`BackupError`]: nothing stands in its place then.
    pub fn finish(self) -> Result<BackupReport, BackupError> {
        (self.0)()
    }
}

impl fmt::Debug for PendingBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingBackup")
    }
}

/// What was found in a copy, by opening it and reading it through.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Where it stands.
    pub path: PathBuf,
    /// The last commit in it; the default where there never was one.
    pub commit_no: CommitNo,
    /// Jobs that are still to be run.
    pub jobs: u64,
    /// Jobs that ended and are retained.
    pub ended: u64,
    /// Records that can be read, of whatever kind.
    pub records: u64,
    /// Records that cannot be read, or stand without what they belong to. They are in the copy as they were found, and
    /// are moved to its quarantine when it is opened.
    pub unreadable: u64,
    /// The first of them.
    pub unreadable_first: Vec<Quarantined>,
    /// Bytes of its files. Tables that it shares with the journal (hard links, on the same disk) are counted, and take
    /// room of their own only once the journal has dropped them.
    pub bytes: u64,
}

impl BackupReport {
    /// Unreadable records that are named: a report, not a list of everything.
    pub const UNREADABLE_FIRST_MAX: usize = 20;

    /// For journals: a report of nothing yet.
    #[must_use]
    pub fn new(path: PathBuf, commit_no: CommitNo) -> Self {
        let unreadable_first = Vec::new();
        Self { path, commit_no, jobs: 0, ended: 0, records: 0, unreadable: 0, unreadable_first, bytes: 0 }
    }

    /// For journals: counts an unreadable record.
    pub fn note_unreadable(&mut self, record: Quarantined) {
        self.unreadable += 1;
        if self.unreadable_first.len() < Self::UNREADABLE_FIRST_MAX {
            self.unreadable_first.push(record);
        }
    }
}
