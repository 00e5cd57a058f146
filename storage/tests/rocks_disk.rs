//! A disk that is full, or may not be written: what is refused, with which words, and that nothing is lost by it.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::{SmallDisk, changes, judge, small};
use windlass_storage::{Append, Batch, CommitNo, Journal, OpenError, RocksJournal, StorageError};

/// Leaves no byte of the disk free.
fn fill(disk: &Path) {
    // A write of what does not fit writes what does.
    assert!(fs::write(disk.join("filler"), vec![7; 32 << 20]).is_err());
}

/// Appends and syncs from this commit on until the disk is full; tells the last commit that was synced.
fn append_until_full(journal: &mut dyn Journal, term: u64, from: u64) -> (u64, StorageError) {
    for n in from.. {
        let batch = Batch { commit_no: CommitNo { term, step: n }, changes: changes(n) };
        let error = match journal.append(&batch) {
            Append::Ok => match journal.sync() {
                Ok(()) => continue,
                Err(error) => error,
            },
            Append::Refused(error) | Append::Unknown(error) => error,
            Append::Fenced { term } => panic!("nobody else opened it, and yet there is term {term}"),
        };
        return (n - 1, error);
    }
    unreachable!("a disk has an end")
}

#[test]
fn a_disk_that_is_full_at_the_first_open_is_told_and_room_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mounted(folder.path(), "4m") else { return };
    let mut journal = small(&disk.path().join("journal"));
    fill(disk.path());
    for _ in 0..2 {
        let refusal = journal.open().unwrap_err();
        assert!(matches!(refusal, OpenError::DiskFull { .. }), "{refusal}");
        assert!(refusal.to_string().contains("free some and open it again"), "{refusal}");
    }
    fs::remove_file(disk.path().join("filler")).unwrap();
    let term = journal.open().unwrap().term;
    support::append_history(&mut journal, term, 1, 10);
    assert_eq!(judge(&mut journal), 10);
}

/// I4: what was synced is there, whatever the disk does then.
#[test]
fn a_disk_that_becomes_full_costs_nothing_that_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mounted(folder.path(), "4m") else { return };
    let mut journal = small(&disk.path().join("journal"));
    let term = journal.open().unwrap().term;
    support::append_history(&mut journal, term, 1, 1_500);
    journal.sync().unwrap();
    fill(disk.path());
    let (synced, error) = append_until_full(&mut journal, term, 1_501);
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    let _ = journal.close();
    // As long as there is no room it is refused, again and again, and room makes it as good as before.
    for _ in 0..3 {
        // What was superseded is deleted in the background, whenever that is.
        fill(disk.path());
        let refusal = journal.open().unwrap_err();
        assert!(matches!(refusal, OpenError::DiskFull { .. }), "{refusal}");
    }
    fs::remove_file(disk.path().join("filler")).unwrap();
    disk.remount("size=16m");
    let term = journal.open().unwrap().term;
    let there = judge(&mut journal);
    assert!((synced..=synced + 1).contains(&there), "{synced} were synced, {there} are there");
    support::append_history(&mut journal, term, there + 1, there + 50);
    assert_eq!(judge(&mut journal), there + 50);
}

#[test]
fn a_disk_that_may_only_be_read_is_told_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mounted(folder.path(), "16m") else { return };
    let path = disk.path().join("journal");
    let mut journal = small(&path);
    let term = journal.open().unwrap().term;
    support::append_history(&mut journal, term, 1, 50);
    journal.close().unwrap();
    let before = support::files(&path);
    disk.remount("ro");
    let refusal = journal.open().unwrap_err();
    assert!(matches!(refusal, OpenError::Permission { .. }), "{refusal}");
    assert!(refusal.to_string().contains("Read-only file system"), "which of the two it is: {refusal}");
    let fresh = small(&disk.path().join("another")).open().unwrap_err();
    assert!(matches!(fresh, OpenError::Permission { .. }), "{fresh}");
    assert_eq!(support::files(&path), before);
    disk.remount("rw");
    journal.open().unwrap();
    assert_eq!(judge(&mut journal), 50);
}

#[test]
fn a_journal_says_what_its_tables_and_its_log_take() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    let reader = journal.reader().unwrap();
    let before = reader.disk().unwrap().unwrap();
    support::append_history(&mut journal, term, 1, 1_000);
    let after = reader.disk().unwrap().unwrap();
    assert!(after.log_bytes > before.log_bytes, "{before:?}, {after:?}");
    journal.close().unwrap();
    assert_eq!(reader.disk(), Err(StorageError::Closed));
    // An opening puts what the log holds into tables.
    journal.open().unwrap();
    let opened = journal.reader().unwrap().disk().unwrap().unwrap();
    assert!(opened.tables_bytes > after.tables_bytes, "{after:?}, {opened:?}");
}
