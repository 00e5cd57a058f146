//! What the system is really asked to do: killing a process cannot tell a sync from none, only its calls can.
//!
//! The child runs under `strace`, which counts its syncs and can make one fail. Where there is no `strace`, or no
//! permission to trace, these tests say so and prove nothing.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use support::{append_history, child, child_directory, judge};
use windlass_storage::{Append, Batch, CommitNo, Journal, RocksJournal, StorageError};

fn strace_works() -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = traced.is_ok_and(|output| output.status.success());
    if !works {
        println!("there is no strace that may trace here: nothing was proved");
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
    if !strace_works() {
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
    for _ in 0..3 {
        let answer = journal.append(&Batch { commit_no: CommitNo { term, step: 500 }, changes: Vec::new() });
        assert!(matches!(answer, Append::Unknown(StorageError::Poisoned { .. })), "{answer:?}");
        assert!(matches!(journal.sync(), Err(StorageError::Poisoned { .. })));
    }
    assert!(matches!(journal.close(), Err(StorageError::Poisoned { .. })));
    journal.open().unwrap();
    println!("\nreopened {}", judge(&mut journal));
}

#[test]
fn a_sync_that_fails_once_poisons_the_journal_until_it_is_reopened() {
    if !strace_works() {
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
