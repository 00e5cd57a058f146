//! Opening: whose the directory is, what is refused, and that a refusal touches nothing.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};

use support::{append_history, child, child_directory, copy, files, judge};
use windlass_storage::{CommitNo, Journal, OpenError, RocksJournal, StorageError};

#[test]
fn a_second_open_is_in_use_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = RocksJournal::at(directory.path());
    let term = first.open().unwrap().term;
    let mut second = RocksJournal::at(directory.path());
    let refusal = second.open().unwrap_err();
    assert_eq!(refusal, OpenError::InUse { path: directory.path().to_owned() });
    append_history(&mut first, term, 1, 3);
    first.close().unwrap();
    assert!(second.open().unwrap().term > term);
    assert_eq!(judge(&mut second), 3);
}

/// The child of the next test.
#[test]
fn child_opens() {
    let Some(directory) = child_directory() else { return };
    let answer = RocksJournal::at(&directory).open();
    println!("\nanswer {}", if matches!(answer, Err(OpenError::InUse { .. })) { "in use" } else { "another" });
}

#[test]
fn an_open_from_another_process_is_in_use_even_after_a_backup_read_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    journal.open().unwrap();
    // Opens and closes LOCK and WINDLASS inside this process: that frees a POSIX lock, and must not free ours.
    drop(files(directory.path()));
    let mut child = child("child_opens", directory.path(), None);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let answers: Vec<_> = lines.filter(|line| line.starts_with("answer ")).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(answers, ["answer in use"]);
}

#[test]
fn a_newer_format_is_refused_with_every_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 5);
    journal.close().unwrap();
    fs::write(directory.path().join("WINDLASS"), "windlass journal, format 2\n").unwrap();
    let before = files(directory.path());
    let refusal = journal.open().unwrap_err();
    assert_eq!(refusal, OpenError::NewerFormat { path: directory.path().to_owned(), found: 2, known: 1 });
    assert_eq!(files(directory.path()), before);
}

#[test]
fn an_older_copy_under_a_newer_watermark_is_refused_with_every_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (now, old) = (directory.path().join("now"), directory.path().join("old"));
    let mut journal = RocksJournal::at(&now);
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 5);
    journal.sync().unwrap();
    copy(&now, &old);
    append_history(&mut journal, term, 6, 9);
    journal.close().unwrap();

    fs::copy(now.join("WATERMARK"), old.join("WATERMARK")).unwrap();
    let before = files(&old);
    let mut journal = RocksJournal::at(&old);
    let (expected, found) = (CommitNo { term, step: 9 }, CommitNo { term, step: 5 });
    let refusal = OpenError::RolledBack { path: old.clone(), expected, found };
    assert_eq!(journal.open(), Err(refusal.clone()));
    assert_eq!(journal.open(), Err(refusal), "and again");
    assert_eq!(files(&old), before);

    // The way out that the message names.
    fs::remove_file(old.join("WATERMARK")).unwrap();
    assert_eq!(journal.open().unwrap().recovered, found);
    assert_eq!(judge(&mut journal), 5);
}

#[test]
fn a_database_that_is_gone_is_refused_and_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    journal.open().unwrap();
    journal.close().unwrap();
    fs::remove_dir_all(directory.path().join("db")).unwrap();
    let before = files(directory.path());
    assert!(matches!(journal.open(), Err(OpenError::RolledBack { .. })));
    assert_eq!(files(directory.path()), before);
    assert!(!directory.path().join("db").exists());
}

#[test]
fn a_missing_table_is_refused_with_every_other_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = support::small(directory.path());
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 2_000);
    journal.close().unwrap();
    let is_table = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "sst");
    let table = files(directory.path()).into_keys().find(is_table).expect("small buffers make tables");
    fs::remove_file(table).unwrap();
    let before = files(directory.path());
    let refusal = journal.open().unwrap_err();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_mark_that_no_longer_can_be_written_leaves_the_journal_as_good_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 1);
    journal.sync().unwrap();
    // A directory in the temporary file's place.
    let obstacle = directory.path().join("WATERMARK.tmp");
    fs::create_dir(&obstacle).unwrap();
    assert!(matches!(journal.watermark(), Err(StorageError::Io { .. })));
    append_history(&mut journal, term, 2, 2);
    fs::remove_dir(&obstacle).unwrap();
    journal.close().unwrap();
    journal.open().unwrap();
    assert_eq!(judge(&mut journal), 2);
}

#[test]
fn the_watermark_names_what_is_synced_and_not_what_is_only_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    let mark = || fs::read_to_string(directory.path().join("WATERMARK")).unwrap();
    let begun = mark();
    append_history(&mut journal, term, 1, 3);
    journal.watermark().unwrap();
    // The power may fail now: a mark ahead of the log would refuse a journal that has all that was promised.
    assert_eq!(mark(), begun);
    journal.sync().unwrap();
    journal.watermark().unwrap();
    assert_ne!(mark(), begun);
}

#[test]
fn a_directory_that_others_may_not_write_is_no_permission_or_read_only() {
    // Whoever runs this may be allowed everything; the translation is what is to be seen.
    let path = std::path::Path::new("/data");
    for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem] {
        let error = OpenError::from_io(path, "creating the directory", &kind.into());
        assert!(matches!(error, OpenError::Permission { .. }), "{error}");
    }
    let full = OpenError::from_io(path, "creating the directory", &std::io::ErrorKind::StorageFull.into());
    assert!(matches!(full, OpenError::DiskFull { .. }), "{full}");
}

#[test]
fn free_bytes_are_known_before_the_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let journal = RocksJournal::at(directory.path().join("not/yet/there"));
    assert!(journal.free_bytes().is_some_and(|bytes| bytes > 0));
    assert!(!directory.path().join("not").exists(), "asking makes nothing");
}
