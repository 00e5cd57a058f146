//! No file may be opened any more: the system's limit, in truth.

use std::time::Instant;

use windlass::storage::Journal;

use crate::limits;
use crate::process::{Life, Orders, PATIENCE, tell};
use crate::serve::{Oracle, small};

/// The child: opens its journal where no file may be opened, and again where they may.
pub(crate) fn open_without_files(orders: &Orders) {
    let mut journal = small(&orders.directory);
    for life in 0..2 {
        limits::obey("no more files");
        match journal.open() {
            Ok(_) => tell("wrong: it opened without files"),
            Err(refusal) => tell(&format!("refused: {refusal}")),
        }
        limits::obey("files again");
        match journal.open() {
            Ok(opened) => tell(&format!("opened {}", opened.term)),
            Err(error) => tell(&format!("wrong: {error}")),
        }
        journal.close().unwrap_or_else(|error| tell(&format!("wrong: life {life}: {error}")));
    }
}

#[test]
fn a_journal_that_may_open_no_file_is_refused_with_the_reason_and_opens_once_it_may() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let life = Life::begin("files", &directory.path().join("journal"), &[]);
    // New, and then with everything in it.
    for _ in 0..2 {
        let refusal = life.until("refused:");
        assert!(refusal.contains("Too many open files"), "{refusal}");
        life.until("opened");
    }
    let (lines, status) = life.bury();
    assert!(status.success(), "{lines:?}");
}

#[test]
fn an_engine_that_may_open_no_file_any_more_says_so_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = folder.path().join("journal");
    let mut life = Life::begin("serve", &directory, &[]);
    let mut oracle = Oracle::default();
    let mut hear = |life: &Life, word: &str| loop {
        let line = life.hear(Instant::now() + PATIENCE).unwrap_or_else(|| panic!("nothing more, nor {word}"));
        oracle.hear(&line);
        if line.starts_with(word) {
            return line;
        }
    };
    hear(&life, "accepted 20");
    life.say("no more files");
    hear(&life, "done no more files");
    // The log that is open still takes some; then a new one is needed.
    hear(&life, "refused");
    let health = hear(&life, "health");
    assert!(health.contains("unhealthy") && health.contains("Too many open files"), "{health}");
    life.say("files again");
    hear(&life, "done files again");
    life.say("shutdown");
    hear(&life, "shut down");
    life.say("mended");
    hear(&life, "started again");
    for _ in 0..20 {
        hear(&life, "accepted");
    }
    life.say("stop");
    hear(&life, "bye");
    drop(life);
    oracle.judge(&directory);
}
