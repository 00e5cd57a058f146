//! A journal that a later version wrote: refused, with every record where it was, so that the later version goes on.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use rocksdb::{DB, IteratorMode, Options};
use support::{damage, files, flip_last};
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, Record};
use windlass_scheduler::state::EndState;
use windlass_storage::codec::Encoder;
use windlass_storage::conformance::samples::{counters, ended, head, job, one_of_each, paused};
use windlass_storage::conformance::{append, load_with_quarantine};
use windlass_storage::keys::hex;
use windlass_storage::{CommitNo, Journal, LoadError, OpenError, RocksJournal};

const FAMILIES: [&str; 4] = ["default", "jobs", "history", "quarantine"];
/// Where this journal keeps its terms: they are written at every opening.
const TERMS: &[u8] = &[0, 2];

/// Every record of the database as it stands, but for the terms.
fn everything(path: &Path) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let db = DB::open_cf_for_read_only(&Options::default(), path.join("db"), FAMILIES, false).unwrap();
    let records = FAMILIES.into_iter().flat_map(|family| {
        let items = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
        items.map(move |item| item.map(|(key, value)| (family, key.into(), value.into())).unwrap())
    });
    records.filter(|(family, key, _): &(_, Vec<u8>, _)| (*family, &key[..]) != ("default", TERMS)).collect()
}

/// Gives a value the next record version, in a frame that holds.
fn raise(family: &str, key: &[u8], value: &mut Vec<u8>) {
    if value.is_empty() {
        // A record of a kind that is not there yet.
        value.extend([0xA1, 13, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    value[0] += 1;
    let no = FAMILIES.iter().position(|name| *name == family).and_then(|no| u8::try_from(no).ok()).unwrap();
    let crc = [&[no], key, &value[..6], &value[10..]].into_iter().fold(0, crc32c::crc32c_append);
    value[6..10].copy_from_slice(&crc.to_le_bytes());
}

fn claims() -> Record {
    one_of_each().into_iter().find(|record| matches!(record, Record::Claims(_))).unwrap()
}

/// The family and the key of a record.
fn place(record: &Record) -> (&'static str, Vec<u8>) {
    let mut encoder = Encoder::default();
    let encoded = encoder.put(record).unwrap();
    (encoded.family.name(), encoded.key.to_vec())
}

/// A closed journal with these records.
fn written(path: &Path, records: Vec<Record>) -> RocksJournal {
    let mut journal = RocksJournal::at(path);
    let term = journal.open().unwrap().term;
    append(&mut journal, CommitNo { term, step: 1 }, records.into_iter().map(Change::Put).collect());
    journal.close().unwrap();
    journal
}

/// Loads, and gives the refusal's kind, version and key.
fn refused(journal: &mut RocksJournal) -> (u8, u8, String) {
    journal.open().unwrap();
    let refusal = journal.load(&mut |_| None).unwrap_err();
    let words = refusal.to_string();
    assert!(words.contains("run the version that wrote it, or a later one"), "{words}");
    assert_eq!(journal.quarantine(10).unwrap(), []);
    journal.close().unwrap();
    match refusal {
        LoadError::NewerRecord { key, kind, found, known: 1 } => (kind, found, key),
        other => panic!("{other}"),
    }
}

#[test]
fn a_record_of_a_later_version_ends_the_load_wherever_it_stands_and_nothing_is_moved() {
    let retained = [ended("q", EndState::Done, 1, 1), job(1)];
    let all = || [paused("a"), counters("q"), job(2), head(2, 1), job(3), head(8, 1), claims()].into_iter();
    let unknown = [("jobs", b"no such key".to_vec()), ("default", vec![9, 9]), ("history", vec![1, 0xFF])];
    for (family, key) in all().chain(retained.clone()).map(|record| place(&record)).chain(unknown) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let damaged = [paused("0"), counters("0"), job(0)];
        let mut journal = written(path, all().chain(retained.clone()).chain(damaged.clone()).collect());
        for record in &damaged {
            let (family, key) = place(record);
            damage(path, family, &key, |value| flip_last(value));
        }
        let kind = damage(path, family, &key, |value| raise(family, &key, value))[1];
        let before = everything(path);
        let (found_kind, found, found_key) = refused(&mut journal);
        assert_eq!((found_kind, found, found_key), (kind, 2, hex(&key)), "{family} {key:?}");
        assert_eq!(everything(path), before, "{family} {key:?}");
    }
}

#[test]
fn much_damage_before_a_record_of_a_later_version_is_not_moved_either() {
    for newer in [claims(), job(500), ended("z", EndState::Done, 1, 501)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        // More than is kept until the end of a load.
        let large = |n| {
            let Record::Ended(mut end) = ended("q", EndState::Done, n, n) else { panic!("an end is an end") };
            end.output = Output::Bytes(vec![7; 1_000_000].into());
            Record::Ended(end)
        };
        let ends: Vec<Record> = (1..=9).map(large).collect();
        let records = (1..=9).map(job).chain(ends.clone()).chain([newer.clone()]).collect();
        let mut journal = written(path, records);
        for end in &ends {
            let (family, key) = place(end);
            damage(path, family, &key, |value| flip_last(value));
        }
        let (family, key) = place(&newer);
        let mut older = Vec::new();
        damage(path, family, &key, |value| {
            older.clone_from(value);
            raise(family, &key, value);
        });
        let before = everything(path);
        assert_eq!(refused(&mut journal).1, 2);
        assert_eq!(everything(path), before);

        damage(path, family, &key, |value| *value = older);
        journal.open().unwrap();
        let (records, quarantined) = load_with_quarantine(&mut journal);
        assert_eq!((records, quarantined.len()), (vec![newer], 9), "without it the damage is moved as ever");
        assert_eq!(journal.quarantine(100).unwrap().len(), 18);
    }
}

#[test]
fn a_damaged_version_is_no_later_version_and_goes_to_quarantine() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = written(directory.path(), (1..=6).map(job).collect());
    for n in 0..4_u8 {
        let (family, key) = place(&job(u64::from(n) + 1));
        damage(directory.path(), family, &key, |value| value[0] ^= 1 << n);
    }
    // A later one that was damaged after it was written.
    let (family, key) = place(&job(5));
    damage(directory.path(), family, &key, |value| {
        raise(family, &key, value);
        flip_last(value);
    });
    journal.open().unwrap();
    let (records, quarantined) = load_with_quarantine(&mut journal);
    assert_eq!((records, quarantined.len()), (vec![job(6)], 5));
    assert!(quarantined.iter().all(|report| report.reason.contains("checksum")), "{quarantined:?}");
    assert_eq!(journal.quarantine(100).unwrap().len(), 5);
}

#[test]
fn the_journals_own_records_of_a_later_version_are_refused_with_every_file_as_it_was() {
    for (own, kind) in [(1, 10), (2, 11)] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = written(directory.path(), vec![job(1)]);
        let key = [0, own];
        damage(directory.path(), "default", &key, |value| raise("default", &key, value));
        let before = files(directory.path());
        let refusal = journal.open().unwrap_err();
        let path = directory.path().to_owned();
        assert_eq!(refusal, OpenError::NewerRecord { path, kind, found: 2, known: 1 });
        assert_eq!(files(directory.path()), before);
    }
}
