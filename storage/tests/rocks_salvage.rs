//! A look into journals that are closed, and what is saved of damaged ones, whatever byte it is that is wrong.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::{Records, append_history, copy, expected, files, judge, load, small};
use windlass_scheduler::change::{Change, Key, Record};
use windlass_storage::{Content, Entry, Family, Journal, Loaded, OpenError, RocksJournal, SalvageReport, Salvager};

/// Takes everything as it is.
#[derive(Default)]
struct Plain {
    entries: u64,
    quarantined: u64,
}

impl Salvager for Plain {
    fn entry(&mut self, entry: &Entry<'_>) {
        assert!(entry.kind().is_some(), "{entry:?}");
        self.entries += 1;
    }

    fn begins_anew(&mut self) {
        *self = Self::default();
    }

    fn loaded(&mut self, loaded: Loaded) -> Option<String> {
        self.quarantined += u64::from(matches!(loaded, Loaded::Quarantined(_)));
        None
    }

    fn settle(&mut self) -> Vec<Change> {
        Vec::new()
    }
}

/// A closed journal with this many commits of the history, in tables and in a log.
fn written(path: &Path, commits: u64) {
    let mut journal = small(path);
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, commits);
    journal.close().unwrap();
}

fn saved(from: &Path, to: &Path) -> (SalvageReport, Plain) {
    let mut plain = Plain::default();
    let report = RocksJournal::salvage(from, to, &mut plain).unwrap_or_else(|error| panic!("{error}"));
    (report, plain)
}

#[test]
fn a_look_shows_what_a_load_would_and_others_may_look_but_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    written(&path, 60);
    let before = files(&path);
    let look = RocksJournal::look(&path).unwrap();
    let another = RocksJournal::look(&path).unwrap();
    assert!(matches!(RocksJournal::at(&path).open(), Err(OpenError::InUse { .. })));
    let mut records = Records::new();
    another
        .load(&mut |loaded| match loaded {
            Loaded::Record(record) => drop(records.insert(record.key(), record)),
            Loaded::Quarantined(report) => panic!("nothing is damaged, yet {report:?}"),
        })
        .unwrap();
    assert_eq!(records, expected(60));
    let mut jobs = 0;
    let gaps = look.entries(Family::Jobs, &mut |entry| {
        jobs += u64::from(matches!(entry.content, Ok(Content::Record(Record::Job(_)))));
    });
    assert_eq!((gaps.unwrap(), jobs), (Vec::new(), 20));
    assert!(look.refusals().is_empty());
    assert_eq!((look.term(), look.commit_no().step), (1, 60));
    drop((look, another));
    assert!(files(&path) == before, "looking changed a file");
    let mut journal = RocksJournal::at(&path);
    journal.open().unwrap();
    assert!(matches!(RocksJournal::look(&path), Err(OpenError::InUse { .. })));
}

#[test]
fn what_is_sound_is_saved_whole_and_its_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("journal"), folder.path().join("saved"));
    written(&path, 300);
    let (report, plain) = saved(&path, &to);
    assert!(report.refusals.is_empty() && report.gaps.is_empty() && !report.is_rebuilt, "{report:?}");
    assert_eq!((report.copy.jobs, report.copy.unreadable, plain.quarantined), (20, 0, 0));
    let mut journal = RocksJournal::at(&to);
    let opened = journal.open().unwrap();
    assert!(opened.term > 1 && opened.recovered.step == 300, "{opened:?}");
    assert_eq!(judge(&mut journal), 300);
}

/// Each job of the history, as it was at any time.
fn all_that_was(commits: u64) -> BTreeMap<Key, Vec<Record>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for (key, record) in (1..=commits).flat_map(expected) {
        let known = all.entry(key).or_default();
        if !known.contains(&record) {
            known.push(record);
        }
    }
    all
}

#[test]
fn whatever_byte_is_wrong_nothing_is_believed_that_was_not_written() {
    const COMMITS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    written(&path, COMMITS);
    let is_data = |path: &Path| path.extension().is_some_and(|kind| kind == "sst" || kind == "log");
    let database: Vec<_> = files(&path.join("db")).into_keys().filter(|path| is_data(path)).collect();
    let (all, mut flips, mut gaps) = (all_that_was(COMMITS), 0, 0);
    for file in database {
        let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
        for part in 0..12 {
            let at = length * part / 12 + part * 7;
            let (spoilt, to) = (folder.path().join("spoilt"), folder.path().join("saved"));
            copy(&path, &spoilt);
            let file = spoilt.join("db").join(file.file_name().unwrap());
            let mut bytes = fs::read(&file).unwrap();
            let Some(byte) = bytes.get_mut(at) else { continue };
            *byte ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let before = files(&spoilt);
            let (report, plain) = saved(&spoilt, &to);
            assert!(files(&spoilt) == before, "byte {at} of {}: the damaged one was changed", file.display());
            assert_eq!(report.copy.unreadable, 0, "byte {at} of {}", file.display());
            let mut journal = RocksJournal::at(&to);
            journal.open().unwrap();
            for (key, record) in load(&mut journal) {
                assert!(all[&key].contains(&record), "byte {at} of {}: never written: {record:?}", file.display());
            }
            drop(journal);
            assert!(plain.entries > 0);
            (flips, gaps) = (flips + 1, gaps + report.gaps.len());
            fs::remove_dir_all(&spoilt).unwrap();
            fs::remove_dir_all(&to).unwrap();
        }
    }
    assert!(flips > 20 && gaps > 0, "{flips} flips, {gaps} gaps");
}
