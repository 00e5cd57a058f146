//! A directory that version 1 of the format wrote, as it lies on disk: every later build opens it and finds everything.
//!
//! The bytes of single records are pinned by `golden/v1.txt`; here it is files, families, the marker and the watermark.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use windlass_scheduler::change::{Change, Record};
use windlass_storage::conformance::append;
use windlass_storage::conformance::samples::one_of_each;
use windlass_storage::{CommitNo, Journal, RocksJournal};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// Writes the directory: half of it in a table, half in a log. What RocksDB only writes for people is left out.
fn write(path: &Path) {
    let mut records = one_of_each();
    let later = records.split_off(records.len() / 2);
    for half in [records, later] {
        let mut journal = RocksJournal::at(path);
        let term = journal.open().unwrap().term;
        append(&mut journal, CommitNo { term, step: 1 }, half.into_iter().map(Change::Put).collect());
        journal.close().unwrap();
    }
    for file in support::files(path).into_keys() {
        let name = file.file_name().unwrap().to_string_lossy();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            fs::remove_file(file).unwrap();
        }
    }
}

/// To accept a new format, run with `WINDLASS_WRITE_GOLDEN=1`, and keep the old directory beside it.
#[test]
fn a_directory_of_version_1_opens_with_everything_in_it() {
    let golden = golden();
    if std::env::var_os("WINDLASS_WRITE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&golden);
        fs::create_dir(&golden).unwrap();
        write(&golden);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    support::copy(&golden, &path);
    let before = support::files(&path);
    assert!(before.keys().any(|file| file.extension().is_some_and(|end| end == "sst")), "some of it is in a table");
    let mut journal = RocksJournal::at(&path);
    let opened = journal.open().unwrap();
    assert_eq!((opened.term, opened.recovered), (3, CommitNo { term: 2, step: 1 }));
    let reader = journal.reader().unwrap();
    for record in one_of_each() {
        assert_eq!(reader.get(&record.key()).unwrap().as_ref(), Some(&record));
    }
    drop(reader);
    let loaded = support::load(&mut journal).into_values().filter(|record| !matches!(record, Record::Head(..)));
    assert!(loaded.count() > 5);
    append(
        &mut journal,
        CommitNo { term: 3, step: 1 },
        one_of_each().into_iter().map(|r| Change::Delete(r.key())).collect(),
    );
    journal.close().unwrap();
}
