//! What the system is really asked to do: killing a process cannot tell a sync from none, only its calls can.
//!
//! A child runs under `strace`, which counts its syncs and can make one fail. Where there is no `strace`, or no
//! permission to trace, those tests say so and prove nothing. That a failed sync poisons the journal is proved without
//! it too, by a log that cannot be synced.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;

use support::{append_history, child, child_directory, judge, newest_log, small};
use windlass_storage::{Append, Batch, CommitNo, Journal, RocksJournal, StorageError};

/// Whether there is a `strace` that may trace; otherwise says that `test` is skipped.
fn strace_works(test: &str) -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = traced.is_ok_and(|output| output.status.success());
    if !works {
        // Past the harness, which swallows what a green test prints.
        let line = format!("SKIPPED {test}: there is no strace that may trace here, so it proves nothing\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    works
}

/// Runs a child of this program under `strace`, and gives its lines and the calls that were traced.
fn traced(test: &str, directory: &Path, rules: &str) -> (Vec<String>, String) {
    let trace = directory.join("trace.txt");
    let shell = format!("exec strace -f {rules} -o '{}' \"$0\" \"$@\"", trace.display());
    let mut child = child(test, &directory.join("journal"), Some(&shell));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    (lines, std::fs::read_to_string(trace).unwrap())
}

fn syncing_child(times: u64) {
    let Some(directory) = child_directory() else { return };
    let mut journal = RocksJournal::at(directory);
    let term = journal.open().unwrap().term;
    for n in 1..=times {
        append_history(&mut journal, term, n, n);
        journal.sync().unwrap();
    }
    append_history(&mut journal, term, times + 1, times + 50);
    journal.close().unwrap();
}

#[test]
fn child_syncs_ten_times() {
    syncing_child(10);
}

#[test]
fn child_syncs_sixty_times() {
    syncing_child(60);
}

#[test]
fn every_sync_reaches_the_disk_and_no_append_does() {
    if !strace_works("every_sync_reaches_the_disk_and_no_append_does") {
        return;
    }
    let syncs = |test: &str| {
        let directory = tempfile::tempdir().unwrap();
        let (_, calls) = traced(test, directory.path(), "-e trace=fdatasync");
        calls.lines().filter(|line| line.contains("fdatasync(")).count()
    };
    let (few, many) = (syncs("child_syncs_ten_times"), syncs("child_syncs_sixty_times"));
    assert_eq!(many - few, 50, "each of 50 further syncs is one call, 50 appends without sync are none: {few}, {many}");
}

fn assert_poisoned(journal: &mut RocksJournal, term: u64) {
    for _ in 0..3 {
        let answer = journal.append(&Batch { commit_no: CommitNo { term, step: 50_000 }, changes: Vec::new() });
        assert!(matches!(answer, Append::Unknown(StorageError::Poisoned { .. })), "{answer:?}");
        assert!(matches!(journal.sync(), Err(StorageError::Poisoned { .. })));
    }
    assert!(matches!(journal.close(), Err(StorageError::Poisoned { .. })));
}

#[test]
fn child_syncs_until_one_fails() {
    let Some(directory) = child_directory() else { return };
    let mut journal = RocksJournal::at(directory);
    let term = journal.open().unwrap().term;
    for n in 1..=100 {
        append_history(&mut journal, term, n, n);
        match journal.sync() {
            Ok(()) => println!("\nsynced {n}"),
            Err(StorageError::Io { .. }) => {
                println!("\nfailed {n}");
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    // The next sync of the system would succeed: it must not be believed.
    assert_poisoned(&mut journal, term);
    journal.open().unwrap();
    println!("\nreopened {}", judge(&mut journal));
}

#[test]
fn a_sync_that_fails_once_poisons_the_journal_until_it_is_reopened() {
    if !strace_works("a_sync_that_fails_once_poisons_the_journal_until_it_is_reopened") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (lines, calls) = traced(
        "child_syncs_until_one_fails",
        directory.path(),
        "-e trace=fdatasync -e inject=fdatasync:error=EIO:when=30",
    );
    let number = |word: &str| {
        let numbers = lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse::<u64>().ok());
        numbers.max().unwrap_or_else(|| panic!("no line says {word}: {lines:?}\n{calls}"))
    };
    let (synced, failed, reopened) = (number("synced"), number("failed"), number("reopened"));
    assert_eq!(failed, synced + 1);
    assert!((synced..=failed).contains(&reopened), "synced {synced}, there are {reopened}");
}

/// The next log files are `/dev/null` in disguise: it takes every write and refuses to be synced.
#[test]
fn a_sync_that_fails_poisons_the_journal_and_what_was_synced_before_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = small(directory.path());
    let term = journal.open().unwrap().term;
    let log = newest_log(directory.path());
    let number: u64 = log.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    // One number may go to a log, the others to tables.
    for next in number + 1..number + 50 {
        std::os::unix::fs::symlink("/dev/null", log.with_file_name(format!("{next:06}.log"))).unwrap();
    }
    let failed = (1..=10_000).find(|&n| {
        append_history(&mut journal, term, n, n);
        match journal.sync() {
            Ok(()) => false,
            Err(StorageError::Io { doing, .. }) => {
                assert_eq!(doing, "syncing the log");
                true
            }
            Err(error) => panic!("{error}"),
        }
    });
    let failed = failed.unwrap();
    assert!(failed > 100, "the log that could be synced came first: {failed}");
    assert_poisoned(&mut journal, term);
    journal.open().unwrap();
    let there = judge(&mut journal);
    assert!((failed - 1..=failed).contains(&there), "synced {}, there are {there}", failed - 1);
}
