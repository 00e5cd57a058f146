//! The hole that tolerant recovery leaves near the end of a log, without a watermark that would tell.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::{append_history, copy, files, judge, newest_log};
use windlass_storage::{Journal, OpenError, RocksJournal};

const COMMITS: u64 = 6;

/// Commits that are all synced, and that no watermark names.
fn synced(path: &Path) {
    let live = path.with_extension("live");
    let mut journal = RocksJournal::at(&live);
    let term = journal.open().unwrap().term;
    for n in 1..=COMMITS {
        append_history(&mut journal, term, n, n);
        journal.sync().unwrap();
    }
    copy(&live, path);
}

/// Where the records of a log of one block begin.
fn records(log: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    loop {
        let at = starts[starts.len() - 1];
        let next = at + 7 + usize::from(u16::from_le_bytes([log[at + 4], log[at + 5]]));
        if next >= log.len() {
            return starts;
        }
        starts.push(next);
    }
}

#[test]
fn a_damaged_length_of_any_record_near_the_end_of_the_log_is_refused_with_every_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    synced(&image);
    let log = newest_log(&image);
    let whole = fs::read(&log).unwrap();
    let starts = records(&whole);
    assert!(whole.len() < 32 << 10 && starts.len() as u64 > COMMITS, "one block with all commits: {starts:?}");
    for at in starts {
        for length in [u16::MAX, 0x7FF0, u16::try_from(whole.len() - at).unwrap()] {
            let mut damaged = whole.clone();
            damaged[at + 4..at + 6].copy_from_slice(&length.to_le_bytes());
            fs::write(&log, &damaged).unwrap();
            let before = files(&image);
            let refusal = RocksJournal::at(&image).open().unwrap_err();
            assert!(
                matches!(&refusal, OpenError::Damaged { reason, .. } if reason.contains("length")),
                "{at}: {refusal}"
            );
            assert_eq!(files(&image), before, "record at {at}, length {length}");
        }
    }
    fs::write(&log, &whole).unwrap();
    let mut journal = RocksJournal::at(&image);
    journal.open().unwrap();
    assert_eq!(judge(&mut journal), COMMITS);
}

/// What remains: bytes that were synced, and of which the device has lost every trace. Only a watermark can tell, so what is
/// younger than the last one (a second, while the engine runs) may go unnoticed.
#[test]
fn a_log_that_was_cut_between_records_behind_the_last_watermark_is_not_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    synced(&image);
    let log = newest_log(&image);
    let whole = fs::read(&log).unwrap();
    let last = *records(&whole).last().unwrap();
    fs::write(&log, &whole[..last]).unwrap();
    let mut journal = RocksJournal::at(&image);
    assert_eq!(journal.open().unwrap().recovered.step, COMMITS - 1);
}

/// Tables that the manifest has forgotten, of one family or of all.
#[test]
fn a_manifest_cut_at_any_byte_is_refused_or_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    synced(&image);
    // An opening writes what was in the log to tables, one of each family, and says so in the manifest.
    let mut journal = RocksJournal::at(&image);
    journal.open().unwrap();
    let opened = directory.path().join("opened");
    copy(&image, &opened);
    drop(journal);
    let manifest = fs::read_dir(opened.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let manifest = manifest.filter(|path| path.to_string_lossy().contains("MANIFEST-")).max().unwrap();
    let whole = fs::read(&manifest).unwrap();
    let mut refused = 0;
    for length in (0..whole.len()).step_by(3) {
        let cut = directory.path().join("cut");
        copy(&opened, &cut);
        fs::write(cut.join("db").join(manifest.file_name().unwrap()), &whole[..length]).unwrap();
        let mut journal = RocksJournal::at(&cut);
        match journal.open() {
            Ok(_) => assert_eq!(judge(&mut journal), COMMITS, "cut at {length} of {}", whole.len()),
            Err(OpenError::Damaged { .. } | OpenError::RolledBack { .. }) => refused += 1,
            Err(refusal) => panic!("cut at {length}: {refusal:?}"),
        }
        drop(journal);
        fs::remove_dir_all(&cut).unwrap();
    }
    assert!(refused > 50, "a manifest that is cut is noticed: {refused}");
}
