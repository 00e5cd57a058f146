//! Damage: a log cut or changed at any byte, and records that cannot be read.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use rocksdb::{DB, Options};
use support::{append_history, copy, damage, files, flip_last, newest_log};
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::state::EndState;
use windlass_storage::conformance::samples::{ended, head, job, job_id, paused, suspects};
use windlass_storage::conformance::{self, append, load_with_quarantine};
use windlass_storage::{CommitNo, Journal, OpenError, RocksJournal};

/// The settings after commits 1 to `n` of a history whose commits are as small as commits of two records can be.
fn tiny(n: u32) -> Vec<Record> {
    let pauses = (1..=n).map(|n| paused(&n.to_string()));
    pauses.chain((n > 0).then(|| suspects(n).record())).collect()
}

/// A journal as the death of its process left it: commits 1 to 3 synced and marked, 4 to 6 only written. Gives the
/// bytes of log up to the sync.
fn killed(path: &Path) -> usize {
    let live = path.with_extension("live");
    let mut journal = RocksJournal::at(&live);
    let term = journal.open().unwrap().term;
    let mut synced = 0;
    for n in 1..=6 {
        let changes = [suspects(n).record(), paused(&n.to_string())].map(Change::Put).to_vec();
        append(&mut journal, CommitNo { term, step: u64::from(n) }, changes);
        if n == 3 {
            journal.sync().unwrap();
            journal.watermark().unwrap();
            synced = fs::read(newest_log(&live)).unwrap().len();
        }
    }
    copy(&live, path);
    synced
}

/// How many commits there are, each of them whole.
fn judge(journal: &mut dyn Journal) -> u32 {
    let records = conformance::load(journal);
    let n = u32::try_from(records.len().saturating_sub(1)).unwrap();
    assert_eq!(records, tiny(n));
    n
}

#[test]
fn a_log_cut_at_any_byte_past_the_sync_opens_to_a_beginning_with_all_that_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let synced = killed(&image);
    let log = fs::read(newest_log(&image)).unwrap();
    assert!(log.len() > synced + 200, "there is something to cut: {synced} of {} bytes are synced", log.len());
    let mut seen = [0; 7];
    for length in synced..=log.len() {
        let cut = directory.path().join("cut");
        copy(&image, &cut);
        fs::write(newest_log(&cut), &log[..length]).unwrap();
        let mut journal = RocksJournal::at(&cut);
        let opened = journal.open().unwrap_or_else(|refusal| panic!("cut at {length}: {refusal}"));
        let n = judge(&mut journal);
        assert_eq!(opened.recovered.step, u64::from(n));
        assert!((3..=6).contains(&n), "cut at {length}: {n} commits");
        seen[usize::try_from(n).unwrap()] += 1;
        drop(journal);
        fs::remove_dir_all(&cut).unwrap();
    }
    assert_eq!(seen[6], 1, "only the whole log has all commits");
    assert!(seen[3..6].iter().all(|&times| times > 60), "every commit was cut: {seen:?}");
}

#[test]
fn a_log_cut_before_the_sync_is_refused_with_every_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let synced = killed(&image);
    let log = newest_log(&image);
    let whole = fs::read(&log).unwrap();
    for length in (0..synced).rev().step_by(3) {
        fs::write(&log, &whole[..length]).unwrap();
        let before = files(&image);
        let refusal = RocksJournal::at(&image).open().unwrap_err();
        assert!(
            matches!(refusal, OpenError::RolledBack { .. } | OpenError::Damaged { .. }),
            "cut at {length}: {refusal}"
        );
        assert_eq!(files(&image), before, "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_refused_or_costs_only_what_was_not_synced() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    killed(&image);
    let log = fs::read(newest_log(&image)).unwrap();
    let mut refused = 0;
    for at in (0..log.len()).step_by(5) {
        let flipped = directory.path().join("flipped");
        copy(&image, &flipped);
        let mut bytes = log.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(newest_log(&flipped), &bytes).unwrap();
        let before = files(&flipped);
        let mut journal = RocksJournal::at(&flipped);
        match journal.open() {
            Ok(_) => {
                let n = judge(&mut journal);
                assert!((3..=6).contains(&n), "byte {at}: {n} commits");
            }
            Err(OpenError::Damaged { .. } | OpenError::RolledBack { .. }) => {
                assert_eq!(files(&flipped), before, "byte {at}");
                refused += 1;
            }
            Err(refusal) => panic!("byte {at}: {refusal:?}"),
        }
        drop(journal);
        fs::remove_dir_all(&flipped).unwrap();
    }
    assert!(refused > 50, "a flipped bit is noticed: {refused}");
}

fn key_of(n: u64, tag: u8) -> Vec<u8> {
    let mut key = job_id(n).0.as_bytes().to_vec();
    key.push(tag);
    key
}

#[test]
fn one_damaged_value_is_quarantined_with_its_bytes_and_everything_else_loads() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    let all = [job(1), job(2), head(2, 1), job(3), job(4), paused("q")].map(Change::Put).to_vec();
    append(&mut journal, CommitNo { term, step: 1 }, all);
    journal.close().unwrap();
    let job_bytes = damage(directory.path(), "jobs", &key_of(1, 0), |value| flip_last(value));
    let head_bytes = damage(directory.path(), "jobs", &key_of(2, 1), |value| value.truncate(3));
    let odd_bytes = damage(directory.path(), "jobs", b"no such key", |value| value.extend(b"odd"));

    journal.open().unwrap();
    let (records, quarantined) = load_with_quarantine(&mut journal);
    assert_eq!(records, [paused("q"), job(3), job(4)]);
    assert_eq!(quarantined.len(), 3, "{quarantined:?}");
    assert!(quarantined.iter().any(|report| report.reason.contains("checksum")), "{quarantined:?}");

    for reopened in [false, true] {
        if reopened {
            journal.close().unwrap();
            journal.open().unwrap();
        }
        let entries = journal.quarantine(100).unwrap();
        let bytes_of = |key: &[u8]| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.bytes);
        assert_eq!(bytes_of(&key_of(1, 0)), Some(&job_bytes));
        assert_eq!(bytes_of(&key_of(2, 1)), Some(&head_bytes));
        assert!(bytes_of(&key_of(2, 0)).is_some(), "a job whose head cannot be read goes whole");
        assert_eq!(bytes_of(b"no such key"), Some(&odd_bytes));
        assert_eq!(entries.len(), 4);
        let (records, quarantined) = load_with_quarantine(&mut journal);
        assert_eq!((records.len(), quarantined.len()), (3, 0), "what was moved does not come again");
    }
}

#[test]
fn a_reader_says_that_a_record_is_damaged_and_names_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    append(&mut journal, CommitNo { term, step: 1 }, vec![Change::Put(job(1))]);
    journal.close().unwrap();
    damage(directory.path(), "jobs", &key_of(1, 0), |value| flip_last(value));
    journal.open().unwrap();
    let answer = journal.reader().unwrap().get(&Key::Job(job_id(1))).unwrap_err().to_string();
    assert!(answer.contains("019200000000700080000000000000010") && answer.contains("checksum"), "{answer}");
}

#[test]
fn a_job_whose_end_is_damaged_does_not_come_to_life_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    let term = journal.open().unwrap().term;
    let end = ended("q", EndState::Cancelled, 1, 1);
    append(&mut journal, CommitNo { term, step: 1 }, [job(1), end, job(2)].map(Change::Put).to_vec());
    journal.close().unwrap();
    let mut key = vec![1, 1, b'q', 3];
    key.extend_from_slice(&1_u64.to_be_bytes());
    let bytes = damage(directory.path(), "history", &key, |value| flip_last(value));
    journal.open().unwrap();
    let (records, quarantined) = load_with_quarantine(&mut journal);
    assert_eq!((records, quarantined.len()), (vec![job(2)], 1));
    let entries = journal.quarantine(10).unwrap();
    assert!(entries.iter().any(|entry| entry.key == key && entry.bytes == bytes));
    assert!(entries.iter().any(|entry| entry.key == key_of(1, 0)), "its body is kept beside it");
    assert_eq!(load_with_quarantine(&mut journal).0, [job(2)]);
}

#[test]
fn a_crash_between_moves_brings_no_ended_job_to_life_again() {
    let directory = tempfile::tempdir().unwrap();
    let live = directory.path().join("live");
    let mut journal = RocksJournal::at(&live);
    let term = journal.open().unwrap().term;
    // Large ends with small bodies: it is behind an end that the moves become too many for one batch.
    let large = |n| {
        let Record::Ended(mut end) = ended("q", EndState::Done, n, n) else { panic!("an end is an end") };
        end.output = Output::Bytes(vec![7; 100_000].into());
        Record::Ended(end)
    };
    let puts = (1..=120).flat_map(|n| [job(n), large(n)]).map(Change::Put).collect();
    append(&mut journal, CommitNo { term, step: 1 }, puts);
    journal.close().unwrap();
    for n in 1..=120_u64 {
        let key = [&[1, 1, b'q', 1][..], &n.to_be_bytes()].concat();
        damage(&live, "history", &key, |value| flip_last(value));
    }
    journal.open().unwrap();
    let opened = fs::read(newest_log(&live)).unwrap().len();
    let (records, quarantined) = load_with_quarantine(&mut journal);
    assert_eq!((records.len(), quarantined.len()), (0, 120));
    let image = directory.path().join("image");
    copy(&live, &image);
    let log = fs::read(newest_log(&image)).unwrap();

    let mut moved = Vec::new();
    for length in (opened..=log.len()).step_by(1 << 20).chain([log.len()]) {
        let crashed = directory.path().join("crashed");
        copy(&image, &crashed);
        fs::write(newest_log(&crashed), &log[..length]).unwrap();
        let mut journal = RocksJournal::at(&crashed);
        journal.open().unwrap();
        moved.push(journal.quarantine(usize::MAX).unwrap().len());
        let (records, quarantined) = load_with_quarantine(&mut journal);
        assert_eq!(records, [], "cut at {length} of {}: {} damaged ends were left", log.len(), quarantined.len());
        assert_eq!(journal.quarantine(usize::MAX).unwrap().len(), 240, "cut at {length}");
        drop(journal);
        fs::remove_dir_all(&crashed).unwrap();
    }
    moved.dedup();
    assert!(moved.len() >= 4 && moved[0] == 0, "the crashes fell between several moves: {moved:?}");
}

#[test]
fn the_journals_own_damaged_records_are_refused() {
    for own in [1, 2] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = RocksJournal::at(directory.path());
        let term = journal.open().unwrap().term;
        append_history(&mut journal, term, 1, 1);
        journal.close().unwrap();
        damage(directory.path(), "default", &[0, own], |value| flip_last(value));
        let refusal = journal.open().unwrap_err();
        assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
    }
}

#[test]
fn thousands_of_damaged_records_are_moved_and_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    journal.open().unwrap();
    journal.close().unwrap();
    let path = directory.path().join("db");
    let db = DB::open_cf(&Options::default(), &path, ["default", "jobs", "history", "quarantine"]).unwrap();
    for n in 0..3_000_u32 {
        // Large enough that they take several moves.
        db.put_cf(db.cf_handle("jobs").unwrap(), n.to_be_bytes(), vec![7; 3_000]).unwrap();
    }
    drop(db);
    journal.open().unwrap();
    let (records, quarantined) = load_with_quarantine(&mut journal);
    assert_eq!((records.len(), quarantined.len()), (0, 3_000));
    let entries = journal.quarantine(usize::MAX).unwrap();
    assert_eq!(entries.len(), 3_000);
    assert!(entries.iter().all(|entry| entry.bytes == [7; 3_000]));
}
