//! Killing: a process that dies at any moment, again and again in one directory, and one whose disk refuses a write.
//!
//! The child tells what it did through a pipe to the parent, who survives: a child's own files would prove nothing.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader};

use support::{append_history, child, child_directory, judge, load, small};
use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::job::Body;
use windlass_storage::conformance::samples::{job, job_id};
use windlass_storage::{Append, Batch, CommitNo, Journal, Resolution, RocksJournal, StorageError};

const KILLS: u64 = 40;

/// A small generator (`SplitMix64`), so that a run can be repeated from its printed seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The child: goes on with the history for ever, and says so.
#[test]
fn child_lives_until_it_is_killed() {
    let Some(directory) = child_directory() else { return };
    let mut journal = small(&directory);
    let term = journal.open().unwrap().term;
    println!("\nopened {term}");
    let mut n = judge(&mut journal);
    let mut chance = Chance(term);
    loop {
        let first = n + 1;
        n += 1 + chance.below(5);
        append_history(&mut journal, term, first, n);
        println!("written {term} {n}");
        if chance.below(3) == 0 {
            journal.sync().unwrap();
            println!("synced {term} {n}");
        }
        if chance.below(20) == 0 {
            journal.watermark().unwrap();
        }
    }
}

#[test]
fn whatever_was_reported_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let seed = std::env::var("WINDLASS_SEED").map_or(20_261_123, |seed| seed.parse().unwrap());
    let mut chance = Chance(seed);
    let (mut there, mut term, mut synced_total, mut loaded) = (0, 0, 0, 0);
    for kill in 0..KILLS {
        let mut child = child("child_lives_until_it_is_killed", directory.path(), None);
        // Some die while they open; most somewhere in their work.
        let mut left = if chance.below(6) == 0 { 0 } else { 1 + chance.below(600) };
        let (mut written, mut synced) = (None, None);
        let pipe = BufReader::new(child.stdout.take().unwrap());
        if left == 0 {
            child.kill().unwrap();
        }
        for line in pipe.lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "written" if words.len() == 3 => written = Some(CommitNo { term: number(1), step: number(2) }),
                "synced" if words.len() == 3 => synced = Some(CommitNo { term: number(1), step: number(2) }),
                _ => continue,
            }
            // Lines that were in the pipe already when it died count as well.
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let mut journal = small(directory.path());
        let opened = journal.open().unwrap_or_else(|refusal| panic!("seed {seed}, kill {kill}: {refusal}"));
        let n = judge(&mut journal);
        assert!(opened.term > term && n >= there, "seed {seed}, kill {kill}: term {} commit {n}", opened.term);
        if let Some(written) = written {
            assert!(n >= written.step, "seed {seed}, kill {kill}: {written} was written, {n} is there");
            assert_eq!(journal.resolve(written), Ok(Resolution::Committed), "seed {seed}, kill {kill}");
            let next = CommitNo { step: n + 1, ..written };
            assert_eq!(journal.resolve(next), Ok(Resolution::Absent), "seed {seed}, kill {kill}");
        }
        synced_total += u64::from(synced.is_some());
        loaded += u64::from(n > there);
        (there, term) = (n, opened.term);
    }
    assert!(synced_total > KILLS / 2 && loaded > KILLS / 2, "too few kills hit work: {synced_total}, {loaded}");
    println!("seed {seed}: {KILLS} kills, {there} commits, {synced_total} lives with a sync");
}

fn large(n: u64) -> Record {
    let Record::Job(mut job) = job(n) else { panic!("a job is a job") };
    job.body = Body { payload: vec![1; 10_000].into(), ..Body::clone(&job.body) }.into();
    Record::Job(job)
}

/// The child of the next test: it may not write files beyond a size.
#[test]
fn child_writes_until_it_is_refused() {
    let Some(directory) = child_directory() else { return };
    let mut journal = RocksJournal::at(&directory);
    let term = journal.open().unwrap().term;
    for step in 1..1_000 {
        let commit_no = CommitNo { term, step };
        match journal.append(&Batch { commit_no, changes: vec![Change::Put(large(step))] }) {
            Append::Ok => println!("\nwritten {term} {step}"),
            Append::Unknown(StorageError::Io { .. }) => {
                println!("\nunknown {term} {step}");
                break;
            }
            answer => panic!("{answer:?}"),
        }
    }
    // Poisoned: nothing but that, however often one asks.
    let commit_no = CommitNo { term, step: 2_000 };
    for _ in 0..3 {
        let answer = journal.append(&Batch { commit_no, changes: vec![Change::Put(large(2_000))] });
        assert!(matches!(answer, Append::Unknown(StorageError::Poisoned { .. })), "{answer:?}");
        assert!(matches!(journal.sync(), Err(StorageError::Poisoned { .. })));
        assert!(matches!(journal.watermark(), Err(StorageError::Poisoned { .. })));
    }
    assert!(journal.reader().unwrap().get(&Key::Job(job_id(1))).unwrap().is_some(), "reading goes on");
    assert!(matches!(journal.close(), Err(StorageError::Poisoned { .. })));
    println!("\nclosed");
}

#[test]
fn a_write_that_the_disk_refuses_is_unknown_poisons_the_journal_and_is_resolved_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = RocksJournal::at(directory.path());
    journal.open().unwrap();
    journal.close().unwrap();
    // The signal is ignored, so that the write fails instead of the process.
    let mut child = child("child_writes_until_it_is_refused", directory.path(), Some("trap '' XFSZ; ulimit -f 400"));
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(lines.iter().any(|line| line == "closed"), "a poisoned journal can be closed: {lines:?}");
    let commits = |word: &str| -> Vec<CommitNo> {
        let words = lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().split_once(' '));
        words.map(|(term, step)| CommitNo { term: term.parse().unwrap(), step: step.parse().unwrap() }).collect()
    };
    let (written, unknown) = (commits("written"), commits("unknown"));
    assert!(written.len() > 3 && unknown.len() == 1, "{lines:?}");

    journal.open().unwrap();
    let records = load(&mut journal);
    for commit in &written {
        assert_eq!(journal.resolve(*commit), Ok(Resolution::Committed));
        assert!(records.contains_key(&Key::Job(job_id(commit.step))), "{commit} was written");
    }
    let there = records.contains_key(&Key::Job(job_id(unknown[0].step)));
    let resolution = if there { Resolution::Committed } else { Resolution::Absent };
    assert_eq!(journal.resolve(unknown[0]), Ok(resolution), "what is resolved is what is loaded");
}
