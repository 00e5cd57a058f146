//! The suite that every journal runs, third-party ones too: the half of the contract that a type cannot state.
//!
//! Owns the checks and the sample records. Knows nothing of any journal: it sees what the engine sees. A check that
//! fails panics with the must that was broken. What needs a crash, a full disk or a flipped bit is each journal's own
//! affair.

// A suite is a test that lives in a library: it may fail loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use std::collections::BTreeMap;

use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::state::EndState;

use crate::error::{LoadError, OpenError, StorageError};
use crate::journal::{Append, Batch, CommitNo, Journal, Loaded, Quarantined, Resolution};

mod copies;
pub mod flows;
pub mod samples;
mod unsure;

pub use copies::exercise_backup;
pub use unsure::{Fate, Unsure};

use samples::{job, job_id, name};

/// Everything that one handle can show. `make` gives a fresh, empty, closed journal at every call.
///
/// # Panics
/// Where the journal breaks a must.
pub fn exercise<J: Journal>(mut make: impl FnMut() -> J) {
    a_journal_starts_closed(&mut make());
    terms_rise_with_every_opening(&mut make());
    an_open_handle_is_not_opened_twice(&mut make());
    every_kind_of_record_comes_back(&mut make());
    records_are_streamed_in_the_promised_order(&mut make());
    a_job_comes_with_its_latest_head(&mut make());
    the_changes_of_a_batch_apply_in_order(&mut make());
    a_commit_number_must_rise(&mut make());
    a_commit_is_resolved_after_later_terms(&mut make());
    an_unknown_commit_is_resolved_after_reopening(make());
    a_reader_reads_what_is_written_until_the_journal_closes(&mut make());
    ended_jobs_are_paged_latest_first(&mut make());
    a_misfit_is_moved_aside_with_all_that_belongs_to_it(&mut make());
    a_head_without_a_job_is_moved_aside(&mut make());
    a_retained_job_can_be_read_and_requeued(&mut make());
    closing_twice_and_syncing_nothing_are_no_errors(&mut make());
    copies::a_refused_copy_leaves_nothing(&mut make());
}

/// What two handles on one journal show, for journals that can have two at once: the later opening fences the earlier
/// one. `make` gives two closed handles on one fresh, empty journal at every call.
///
/// # Panics
/// Where the journal breaks a must.
pub fn exercise_two_handles<J: Journal>(mut make: impl FnMut() -> (J, J)) {
    let (mut first, mut second) = make();
    let one = first.open().expect("the first handle opens").term;
    append(&mut first, CommitNo { term: one, step: 1 }, vec![Change::Put(job(1))]);
    let reader = first.reader().unwrap();
    let opened = second.open().expect("the second handle opens");
    assert!(opened.term > one, "a later opening has a later term");
    assert_eq!(opened.recovered, CommitNo { term: one, step: 1 }, "the second owner knows the first one's last commit");

    let batch = Batch { commit_no: CommitNo { term: one, step: 2 }, changes: vec![Change::Put(job(2))] };
    let answer = first.append(&batch);
    assert!(matches!(answer, Append::Fenced { term } if term == opened.term), "must be fenced, was {answer:?}");
    let fenced = StorageError::Fenced { term: opened.term };
    assert_eq!(first.sync(), Err(fenced), "a fenced handle must not believe that it synced");
    assert!(matches!(first.load(&mut |_| None), Err(LoadError::Unreadable(_))), "a fenced handle must not load");
    assert!(load(&mut second).iter().all(|record| record.key() != Key::Job(job_id(2))), "fenced means not written");

    first.close().expect("closing a fenced handle is no error");
    assert_eq!(reader.get(&Key::Job(job_id(1))), Err(StorageError::Closed), "closing revokes readers");
    append(&mut second, CommitNo { term: opened.term, step: 1 }, vec![Change::Put(job(3))]);
    assert_eq!(second.resolve(batch.commit_no), Ok(Resolution::Absent));
}

/// Loads everything, and fails on anything that had to be moved aside.
pub fn load(journal: &mut dyn Journal) -> Vec<Record> {
    let (records, quarantined) = load_with_quarantine(journal);
    assert_eq!(quarantined, [], "nothing is damaged, yet records were moved aside");
    records
}

/// Loads everything, with the reports of what was moved aside.
pub fn load_with_quarantine(journal: &mut dyn Journal) -> (Vec<Record>, Vec<Quarantined>) {
    let (mut records, mut quarantined) = (Vec::new(), Vec::new());
    let mut sink = |loaded| {
        match loaded {
            Loaded::Record(record) => records.push(record),
            Loaded::Quarantined(report) => quarantined.push(report),
        }
        None
    };
    journal.load(&mut sink).expect("an open journal loads");
    (records, quarantined)
}

/// Appends, and fails on any answer but Ok.
pub fn append(journal: &mut dyn Journal, commit_no: CommitNo, changes: Vec<Change>) {
    let answer = journal.append(&Batch { commit_no, changes });
    assert!(matches!(answer, Append::Ok), "commit {commit_no} must be written, the answer was {answer:?}");
}

/// Opens, and gives a function that numbers the commits of this opening.
fn open(journal: &mut dyn Journal) -> impl FnMut() -> CommitNo + use<> {
    let term = journal.open().expect("the journal opens").term;
    let mut step = 0;
    move || {
        step += 1;
        CommitNo { term, step }
    }
}

fn reopen(journal: &mut dyn Journal) {
    journal.close().expect("an open journal closes");
    journal.open().expect("a closed journal opens again");
}

fn puts(records: impl IntoIterator<Item = Record>) -> Vec<Change> {
    records.into_iter().map(Change::Put).collect()
}

fn a_journal_starts_closed(journal: &mut dyn Journal) {
    let capabilities = journal.capabilities();
    assert!(!journal.describe().is_empty());
    assert_eq!(journal.load(&mut |_| None), Err(LoadError::Closed));
    assert!(matches!(journal.append(&Batch::default()), Append::Refused(StorageError::Closed)));
    assert_eq!(journal.sync(), Err(StorageError::Closed));
    assert_eq!(journal.resolve(CommitNo::default()), Err(StorageError::Closed));
    assert!(matches!(journal.reader(), Err(StorageError::Closed)));
    assert_eq!(journal.close(), Ok(()), "closing a closed journal does nothing");
    let opened = journal.open().expect("a fresh journal opens");
    assert_eq!(opened.recovered, CommitNo::default(), "a fresh journal has no commit");
    assert_eq!(load(journal), [], "a fresh journal is empty");
    assert_eq!(journal.capabilities(), capabilities, "capabilities never change");
}

fn terms_rise_with_every_opening(journal: &mut dyn Journal) {
    let mut last = CommitNo::default();
    let mut term = 0;
    for round in 0..4 {
        let opened = journal.open().expect("a closed journal opens again");
        assert!(opened.term > term, "term {} does not follow {term}", opened.term);
        assert_eq!(opened.recovered, last, "an opening tells the last commit of earlier terms");
        term = opened.term;
        // A term without commits must not hide the commits before it.
        if round % 2 == 0 {
            last = CommitNo { term, step: 10 };
            append(journal, last, vec![Change::Put(job(round))]);
        }
        journal.close().expect("an open journal closes");
    }
}

fn an_open_handle_is_not_opened_twice(journal: &mut dyn Journal) {
    let mut no = open(journal);
    assert!(matches!(journal.open(), Err(OpenError::AlreadyOpen { .. })));
    append(journal, no(), vec![Change::Put(job(1))]);
}

fn every_kind_of_record_comes_back(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let all = samples::one_of_each();
    append(journal, no(), puts(all.clone()));
    for reopened in [false, true] {
        if reopened {
            reopen(journal);
        }
        let reader = journal.reader().unwrap();
        for record in &all {
            assert_eq!(reader.get(&record.key()).unwrap().as_ref(), Some(record), "reopened: {reopened}");
        }
    }
    journal.close().unwrap();
    let mut no = open(journal);
    append(journal, no(), all.iter().map(|record| Change::Delete(record.key())).collect());
    assert_eq!(load(journal), [], "what is deleted is gone");
    let reader = journal.reader().unwrap();
    assert!(all.iter().all(|record| reader.get(&record.key()) == Ok(None)));
}

fn records_are_streamed_in_the_promised_order(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let mut all = samples::one_of_each();
    all.extend([job(901), job(900), samples::ended("b", EndState::Dead, 2, 902), samples::paused("a")]);
    all.reverse();
    append(journal, no(), puts(all.clone()));
    let place = |record: &Record| match record {
        Record::Setting(_) => 0,
        Record::Policy(..) => 1,
        Record::Counters(_) => 2,
        Record::Ended(_) => 3,
        Record::Job(_) => 4,
        Record::Claims(_) => 5,
        Record::Order(_) => 6,
        Record::Schedule(_) => 7,
        Record::Unique(_) => 8,
        Record::Flow(_) => 9,
        Record::Step(_) => 10,
        Record::Batch(_) => 11,
        Record::Head(..)
        | Record::Attempt(_)
        | Record::Result(..)
        | Record::Checkpoint(..)
        | Record::StepOutput(..)
        | Record::Member(_) => panic!("must not be streamed: {record:?}"),
    };
    let loaded = load(journal);
    assert!(loaded.iter().map(place).is_sorted(), "out of order: {loaded:?}");
    let ids: Vec<_> =
        loaded.iter().filter_map(|r| if let Record::Job(job) = r { Some(job.id) } else { None }).collect();
    assert!(ids.contains(&job_id(900)) && ids.contains(&job_id(901)));
    let is_streamed = |record: &&Record| {
        let is_left_out = matches!(record, Record::Head(..) | Record::Attempt(_) | Record::StepOutput(..));
        !is_left_out && !matches!(record, Record::Result(..) | Record::Checkpoint(..) | Record::Member(_))
    };
    let expected = all.iter().filter(is_streamed);
    let streamed: BTreeMap<Key, &Record> = loaded.iter().map(|record| (record.key(), record)).collect();
    assert_eq!(streamed.len(), loaded.len(), "a record was streamed twice");
    for record in expected {
        assert_eq!(streamed.get(&record.key()), Some(&record));
    }
}

fn a_job_comes_with_its_latest_head(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let first = job(1);
    append(journal, no(), vec![Change::Put(first.clone())]);
    for failures in 1..4 {
        append(journal, no(), vec![Change::Put(samples::head(1, failures))]);
    }
    append(journal, no(), vec![Change::Put(job(2))]);
    let latest = samples::joined(&first, &samples::head(1, 3));
    assert_eq!(load(journal), [latest.clone(), job(2)]);
    assert_eq!(journal.reader().unwrap().get(&Key::Job(job_id(1))), Ok(Some(latest)));
    append(journal, no(), vec![Change::Delete(Key::Head(job_id(1)))]);
    assert_eq!(load(journal), [first, job(2)], "without a later head the first one counts");
}

fn the_changes_of_a_batch_apply_in_order(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let key = Key::Setting(samples::suspects(1).setting_key());
    let suspects = |n| Change::Put(samples::suspects(n).record());
    append(journal, no(), vec![suspects(1), suspects(2), Change::Delete(key.clone()), suspects(3)]);
    assert_eq!(load(journal), [samples::suspects(3).record()]);
    append(journal, no(), vec![suspects(4), Change::Delete(key.clone()), Change::Delete(key)]);
    assert_eq!(load(journal), [], "deleting what is not there is no error");
    append(journal, no(), vec![]);
}

fn a_commit_number_must_rise(journal: &mut dyn Journal) {
    journal.open().unwrap();
    journal.close().unwrap();
    let term = journal.open().unwrap().term;
    append(journal, CommitNo { term, step: 5 }, vec![Change::Put(job(1))]);
    for (term, step) in [(term, 5), (term, 4), (term - 1, 9), (0, 0)] {
        let batch = Batch { commit_no: CommitNo { term, step }, changes: vec![Change::Put(job(2))] };
        let answer = journal.append(&batch);
        assert!(
            matches!(answer, Append::Refused(StorageError::NotRising { .. })),
            "commit {term}.{step} must be refused, the answer was {answer:?}"
        );
    }
    append(journal, CommitNo { term, step: 7 }, vec![Change::Put(job(3))]);
    assert_eq!(load(journal), [job(1), job(3)], "refused means not written, and the journal goes on");
}

fn a_commit_is_resolved_after_later_terms(journal: &mut dyn Journal) {
    let mut ends = Vec::new();
    for round in 1..=3 {
        let term = journal.open().unwrap().term;
        let last = CommitNo { term, step: round };
        append(journal, last, vec![Change::Put(job(round))]);
        ends.push(last);
        journal.close().unwrap();
    }
    journal.open().unwrap();
    for last in ends {
        let next = CommitNo { step: last.step + 1, ..last };
        assert_eq!(journal.resolve(last), Ok(Resolution::Committed));
        assert_eq!(journal.resolve(next), Ok(Resolution::Absent), "{next} never was, later commits prove nothing");
    }
}

fn an_unknown_commit_is_resolved_after_reopening(journal: impl Journal) {
    let mut journal = Unsure::new(journal);
    for (round, (fate, resolution)) in
        [(Fate::Kept, Resolution::Committed), (Fate::Lost, Resolution::Absent)].into_iter().enumerate()
    {
        let mut no = open(&mut journal);
        let round = 10 * round as u64;
        append(&mut journal, no(), vec![Change::Put(job(round))]);
        let unknown = no();
        journal.next_append(fate);
        let batch = Batch { commit_no: unknown, changes: vec![Change::Put(job(round + 1))] };
        assert!(matches!(journal.append(&batch), Append::Unknown(_)));
        let batch = Batch { commit_no: no(), changes: vec![Change::Put(job(round + 2))] };
        assert!(matches!(journal.append(&batch), Append::Unknown(_)), "poisoned until reopened");
        assert!(matches!(journal.sync(), Err(StorageError::Poisoned { .. })));
        assert!(journal.close().is_err(), "closing must say that the last sync was not made");
        journal.open().unwrap();
        assert_eq!(journal.resolve(unknown), Ok(resolution));
        let there = load(&mut journal).contains(&job(round + 1));
        assert_eq!(there, resolution == Resolution::Committed, "what is resolved is what is loaded");
        journal.close().unwrap();
    }
}

fn a_reader_reads_what_is_written_until_the_journal_closes(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let reader = journal.reader().unwrap();
    assert_eq!(reader.get(&Key::Job(job_id(1))), Ok(None));
    append(journal, no(), vec![Change::Put(job(1))]);
    assert_eq!(reader.get(&Key::Job(job_id(1))), Ok(Some(job(1))), "written is readable, synced or not");
    let Record::Job(written) = job(1) else { unreachable!("a sample job is a job") };
    append(journal, no(), vec![Change::Put(samples::head(1, 1))]);
    assert_eq!(reader.body(job_id(1)), Ok(Some(written.body)), "a body is read without its head");
    assert_eq!(reader.body(job_id(2)), Ok(None));
    append(journal, no(), vec![Change::Delete(Key::Head(job_id(1)))]);
    let elsewhere = std::thread::spawn({
        let reader = reader.clone();
        move || reader.get(&Key::Job(job_id(1)))
    });
    assert_eq!(elsewhere.join().expect("a reader works on any thread"), Ok(Some(job(1))));
    journal.close().unwrap();
    assert_eq!(reader.get(&Key::Job(job_id(1))), Err(StorageError::Closed));
    assert_eq!(reader.body(job_id(1)), Err(StorageError::Closed));
    assert_eq!(reader.ended(&name("q"), EndState::Done, None, 1), Err(StorageError::Closed));
    journal.open().unwrap();
    assert_eq!(reader.get(&Key::Job(job_id(1))), Err(StorageError::Closed), "revoked means for ever");
}

fn ended_jobs_are_paged_latest_first(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let done = |n: u64| samples::ended("q", EndState::Done, n, n);
    // Neighbours on every side: other states, and queues whose names begin alike.
    let others = [("q", EndState::Dead), ("p", EndState::Done), ("q-", EndState::Done), ("qq", EndState::Done)];
    let others = others.into_iter().zip(500..).map(|((queue, state), n)| samples::ended(queue, state, n, n));
    append(journal, no(), puts((1..=300).map(done).chain(others)));
    let reader = journal.reader().unwrap();
    let page = |before, limit| {
        let page = reader.ended(&name("q"), EndState::Done, before, limit).expect("a page");
        page.into_iter().map(|end| Record::Ended(Box::new(end))).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3), [done(300), done(299), done(298)]);
    assert_eq!(page(Some(298), 2), [done(297), done(296)]);
    assert_eq!(page(Some(2), 10), [done(1)]);
    assert_eq!(page(Some(1), 10), []);
    assert_eq!(page(None, 0), []);
    assert_eq!(page(None, 1_000).len(), 300);
    append(journal, no(), vec![Change::Delete(done(299).key())]);
    assert_eq!(page(None, 2), [done(300), done(298)], "what is deleted is not shown");
}

fn a_misfit_is_moved_aside_with_all_that_belongs_to_it(journal: &mut dyn Journal) {
    let mut no = open(journal);
    let end = samples::ended("q", EndState::Dead, 1, 3);
    let all = [job(1), samples::head(1, 1), job(2), job(3), end.clone(), samples::paused("q")];
    append(journal, no(), puts(all));
    let bad = [Key::Job(job_id(1)), end.key(), samples::paused("q").key()];
    let mut sink = |loaded| match loaded {
        Loaded::Record(record) => bad.contains(&record.key()).then(|| "makes no sense".to_owned()),
        Loaded::Quarantined(report) => panic!("the sink knows of its own misfits, yet was told: {report:?}"),
    };
    journal.load(&mut sink).unwrap();
    for reopened in [false, true] {
        if reopened {
            reopen(journal);
        }
        assert_eq!(load(journal), [job(2)], "reopened: {reopened}");
        let reader = journal.reader().unwrap();
        assert_eq!(reader.get(&Key::Head(job_id(1))), Ok(None), "a job takes its head with it");
        assert_eq!(reader.get(&Key::Job(job_id(3))), Ok(None), "an end takes its retained job with it");
    }
}

fn a_head_without_a_job_is_moved_aside(journal: &mut dyn Journal) {
    let mut no = open(journal);
    append(journal, no(), puts([job(1), samples::head(2, 1), job(3), samples::head(9, 1)]));
    let (records, quarantined) = load_with_quarantine(journal);
    assert_eq!(records, [job(1), job(3)]);
    assert_eq!(quarantined.len(), 2, "both heads must be reported: {quarantined:?}");
    assert_eq!(load(journal), [job(1), job(3)], "what was moved aside does not come again");
}

fn a_retained_job_can_be_read_and_requeued(journal: &mut dyn Journal) {
    let mut no = open(journal);
    append(journal, no(), vec![Change::Put(job(1)), Change::Put(samples::head(1, 1))]);
    let end = samples::ended("q", EndState::Dead, 1, 1);
    append(journal, no(), vec![Change::Put(end.clone()), Change::Delete(Key::Head(job_id(1)))]);
    let ends: Vec<_> = load(journal).into_iter().filter(|record| !matches!(record, Record::Job(_))).collect();
    assert_eq!(ends, std::slice::from_ref(&end));
    assert_eq!(journal.reader().unwrap().get(&Key::Job(job_id(1))), Ok(Some(job(1))));
    append(journal, no(), vec![Change::Delete(end.key()), Change::Put(samples::head(1, 0))]);
    assert_eq!(load(journal), [samples::joined(&job(1), &samples::head(1, 0))]);
}

fn closing_twice_and_syncing_nothing_are_no_errors(journal: &mut dyn Journal) {
    let mut no = open(journal);
    assert_eq!((journal.sync(), journal.watermark()), (Ok(()), Ok(())));
    append(journal, no(), vec![Change::Put(job(1))]);
    assert_eq!((journal.sync(), journal.sync(), journal.watermark()), (Ok(()), Ok(()), Ok(())));
    assert_eq!((journal.close(), journal.close()), (Ok(()), Ok(())));
    journal.open().unwrap();
    assert_eq!(load(journal), [job(1)]);
    assert_ne!(journal.free_bytes(), Some(0), "a journal that just wrote has room");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryJournal;

    #[test]
    fn the_memory_journal_keeps_the_contract() {
        exercise(MemoryJournal::new);
        exercise(MemoryJournal::simulated_disk);
    }

    #[test]
    fn two_handles_of_a_memory_journal_keep_the_contract() {
        exercise_two_handles(|| {
            let journal = MemoryJournal::new();
            let second = journal.second_handle();
            (journal, second)
        });
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn the_rocks_journal_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let mut count = 0;
        exercise(|| {
            count += 1;
            crate::RocksJournal::at(directory.path().join(count.to_string()))
        });
    }
}
