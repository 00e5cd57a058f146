//! A disk that fails while an engine writes to it: once at each kind of call and file, or for good.

use std::path::Path;
use std::time::Instant;

use crate::control::{Control, EIO, EMFILE, ENOSPC, EROFS, OPEN, OPEN_TO_WRITE, RENAME, Rule, SYNC, WRITE};
use crate::process::{Life, PATIENCE};
use crate::say;
use crate::serve::Oracle;

/// Jobs that are accepted before, and again afterwards.
const JOBS: usize = 30;

/// Faults that come once and are over.
const ONCE: [(&str, Rule); 12] = [
    ("a sync of the log", Rule::new(SYNC, ".log", EIO)),
    ("a later sync of the log", Rule::new(SYNC, ".log", EIO).after(7)),
    ("a write to the log", Rule::new(WRITE, ".log", EIO)),
    ("a write to the log, half of which arrives", Rule::new(WRITE, ".log", EIO).after(3).torn()),
    ("a write to the log, on a full disk", Rule::new(WRITE, ".log", ENOSPC).after(2)),
    ("a write to the log, half of which fits", Rule::new(WRITE, ".log", ENOSPC).after(5).torn()),
    ("a sync of a table", Rule::new(SYNC, ".sst", EIO)),
    ("a write to a table, on a full disk", Rule::new(WRITE, ".sst", ENOSPC)),
    ("a sync of the manifest", Rule::new(SYNC, "MANIFEST", EIO)),
    ("a write to the manifest", Rule::new(WRITE, "MANIFEST", EIO)),
    ("the opening of a table", Rule::new(OPEN, ".sst", EMFILE)),
    ("the watermark's taking its place", Rule::new(RENAME, "WATERMARK", EIO)),
];

fn hear(life: &Life, oracle: &mut Oracle, what: &str) -> String {
    let line = life.hear(Instant::now() + PATIENCE);
    let line = line.unwrap_or_else(|| panic!("{what}: the child says nothing more; it broke {:?}", oracle.breaks));
    oracle.hear(&line);
    line
}

fn accepts(life: &Life, oracle: &mut Oracle, what: &str, jobs: usize) {
    let wanted = oracle.accepted.len() + jobs;
    while oracle.accepted.len() < wanted {
        hear(life, oracle, what);
    }
}

fn stop(mut life: Life, oracle: &mut Oracle, what: &str) {
    life.say("stop");
    let (lines, status) = life.bury();
    for line in &lines {
        oracle.hear(line);
    }
    assert!(status.success() && lines.last().is_some_and(|line| line == "bye"), "{what}: {status}, {lines:?}");
}

/// One child, one fault.
fn survives(control: &Control, folder: &Path, what: &str, rule: &Rule) {
    let directory = folder.join("journal");
    control.clear();
    let life = Life::begin("serve", &directory, &control.variables(&directory));
    let mut oracle = Oracle::default();
    accepts(&life, &mut oracle, what, JOBS);
    control.set(rule);
    while control.hits() == 0 {
        hear(&life, &mut oracle, what);
    }
    // Whoever runs into it is refused or not at all; then it is as good as before.
    while oracle.breaks.is_empty() || oracle.is_broken {
        hear(&life, &mut oracle, what);
    }
    accepts(&life, &mut oracle, what, JOBS);
    stop(life, &mut oracle, what);
    assert!(oracle.health.last().is_some_and(|health| health.starts_with("healthy")), "{what}: {:?}", oracle.health);
    oracle.judge(&directory);
    let call = oracle.breaks[0].split_once(':').map_or("", |(call, _)| call);
    say(&format!("{what}: met by the {call}; {} jobs, {} openings", oracle.accepted.len(), oracle.openings));
}

fn each_survives(faults: &[(&str, Rule)]) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let control = Control::in_folder(folder.path());
    for (what, rule) in faults {
        let place = tempfile::tempdir_in(folder.path()).expect("a temporary directory");
        survives(&control, place.path(), what, rule);
    }
}

/// I10: no Ok after a failure until the journal was opened anew, and what was accepted is there.
#[test]
fn a_log_that_fails_once_costs_an_opening_and_no_job_that_was_accepted() {
    each_survives(&ONCE[..6]);
}

/// I10
#[test]
fn a_table_a_manifest_or_a_watermark_that_fails_once_costs_no_job_that_was_accepted() {
    each_survives(&ONCE[6..]);
}

/// What stays broken until it is mended, and what has to be said of it.
const LASTING: [(&str, Rule, &str); 4] = [
    ("a full disk", Rule::new(WRITE, "/db/", ENOSPC).always(), "No space left"),
    ("a disk that does not sync", Rule::new(SYNC, "/db/", EIO).always(), "Input/output error"),
    ("a disk that may only be read", Rule::new(WRITE | OPEN_TO_WRITE | RENAME, "/", EROFS).always(), "Read-only"),
    ("no files any more", Rule::new(OPEN, "/", EMFILE).always(), "Too many open files"),
];

fn is_told_and_mended(what: &str, rule: &Rule, words: &str) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let control = Control::in_folder(folder.path());
    let directory = folder.path().join("journal");
    let mut life = Life::begin("serve", &directory, &control.variables(&directory));
    let mut oracle = Oracle::default();
    accepts(&life, &mut oracle, what, JOBS);
    control.set(rule);
    while !hear(&life, &mut oracle, what).starts_with("refused") {}
    // The process lives, gives no Ok, and says why and what to do.
    hear(&life, &mut oracle, what);
    let health = oracle.health.last().expect("it told its health");
    assert!(health.starts_with("unhealthy: ") && health.contains(words), "{what}: {health}");
    assert!(health.contains("mend the journal's disk"), "{what}: {health}");
    say(&format!("{what}: it says so, and what to do"));
    control.clear();
    life.say("shutdown");
    while !hear(&life, &mut oracle, what).starts_with("shut down") {}
    life.say("mended");
    while hear(&life, &mut oracle, what) != "started again" {}
    accepts(&life, &mut oracle, what, JOBS);
    stop(life, &mut oracle, what);
    oracle.judge(&directory);
}

/// I10: after five rebuilds that did not help it is unhealthy; mended, and started again, it has everything.
#[test]
fn a_disk_that_stays_broken_is_told_with_what_to_do_and_once_mended_everything_is_there() {
    std::thread::scope(|scope| {
        for (what, rule, words) in &LASTING {
            scope.spawn(move || is_told_and_mended(what, rule, words));
        }
    });
}
