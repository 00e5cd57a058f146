//! `verify` and `salvage` of damaged directories: everything is named, and what is saved goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::world::{
    Gate, Work, copy, copy_in_tables, database_files, flip_needle, runtime, start, stop, windlass, world,
};
use serde_json::Value;
use windlass::{Filter, JobState};

/// The words for what is wrong with it.
fn problems(dir: &Path) -> Vec<(String, String)> {
    let ran = windlass("verify", dir, &["--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["is_sound"], false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report["problems"].as_array().unwrap().iter().map(|one| (text(&one["what"]), text(&one["reason"]))).collect()
}

fn has(problems: &[(String, String)], what: &str) -> bool {
    problems.iter().any(|(found, _)| found == what)
}

/// Salvages it, and has the new one verified.
fn salvage(folder: &Path, dir: &Path) -> (Value, PathBuf) {
    let new = folder.join("new");
    let before = crate::world::files(dir);
    let ran = windlass("salvage", dir, &["--json", "--into", new.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "something is lost: {ran:?}");
    assert!(crate::world::files(dir) == before, "the damaged one stays as it is");
    let verified = windlass("verify", &new, &["--json"]);
    assert_eq!(verified.code, 0, "{verified:?}\n{ran:?}");
    (ran.json(), new)
}

/// Opens it with an engine, and runs a job that had been waiting.
fn runs(dir: &Path) {
    runtime().block_on(async {
        let gate = Arc::new(Gate::default());
        let engine = start(dir, &gate).await;
        assert!(engine.health().warnings.is_empty(), "{:?}", engine.health());
        let ready = engine.jobs(Filter::new().queue("shut").state(JobState::Ready)).await.unwrap().jobs;
        // One of them has a payload that no handler can read.
        let left = ready.iter().find(|job| job.id != world().jobs["ready"]).unwrap().id;
        engine.resume("shut").await.unwrap();
        engine.handle::<Work>(left).wait().await.unwrap();
        stop(&engine, &gate).await;
    });
}

#[test]
fn a_flipped_byte_in_a_table_costs_the_block_that_it_is_in() {
    let (folder, dir) = copy_in_tables();
    flip_needle(&dir, "sst");
    let found = problems(&dir);
    assert!(has(&found, "gap"), "{found:?}");
    let people = windlass("verify", &dir, &[]);
    assert!(people.out.contains("checksum") && people.out.contains("gap: jobs key"), "{people:?}");
    let (report, new) = salvage(folder.path(), &dir);
    assert_eq!(
        (report["problems"][0]["what"].as_str(), &report["is_rebuilt"]),
        (Some("gap"), &false.into()),
        "{report}"
    );
    // A block has 16 KiB: the small jobs around the needle, and the first filler or two.
    assert!((30..46).contains(&report["live"].as_u64().unwrap()), "{report}");
    assert!(report["mended"].to_string().contains("queue shut: 45 jobs came in"), "{report}");
    runs(&new);
}

#[test]
fn a_flipped_byte_in_the_log_costs_the_commit_that_it_is_in() {
    let (folder, dir) = copy();
    flip_needle(&dir, "log");
    let found = problems(&dir);
    assert!(has(&found, "opening"), "{found:?}");
    let (report, new) = salvage(folder.path(), &dir);
    assert!(report["live"].as_u64().unwrap() >= 3, "{report}");
    assert!(report["problems"][0]["reason"].as_str().unwrap().contains("damaged"), "{report}");
    runs(&new);
}

#[test]
fn a_log_that_was_cut_costs_what_stood_behind_the_cut() {
    let (folder, dir) = copy();
    let log = database_files(&dir, "log").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 100_000).unwrap();
    let found = problems(&dir);
    assert!(found.iter().any(|(what, reason)| what == "opening" && reason.contains("synced")), "{found:?}");
    let (report, new) = salvage(folder.path(), &dir);
    let live = report["live"].as_u64().unwrap();
    assert!((5..44).contains(&live), "{report}");
    runs(&new);
}

#[test]
fn without_its_manifest_a_database_is_made_anew_of_its_files() {
    for (folder, dir) in [copy(), copy_in_tables()] {
        fs::remove_file(dir.join("db/CURRENT")).unwrap();
        let found = problems(&dir);
        assert!(has(&found, "opening"), "{found:?}");
        let (report, new) = salvage(folder.path(), &dir);
        assert_eq!(
            (&report["live"], &report["retained"], &report["is_rebuilt"]),
            (&46.into(), &4.into(), &true.into())
        );
        assert!(report["lost"].as_array().unwrap().is_empty(), "{report}");
        runs(&new);
    }
}

#[test]
fn a_table_that_cannot_be_opened_is_left_out_and_the_others_are_saved() {
    let (folder, dir) = copy_in_tables();
    // The largest one has the jobs.
    let table = database_files(&dir, "sst").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, vec![0xEE; bytes.len()]).unwrap();
    let found = problems(&dir);
    assert!(has(&found, "gap") || has(&found, "opening"), "{found:?}");
    let (report, new) = salvage(folder.path(), &dir);
    assert_eq!((&report["live"], &report["is_rebuilt"]), (&0.into(), &true.into()), "{report}");
    let inspected = windlass("inspect", &new, &["--json"]).json();
    assert_eq!(inspected["schedules"], 1, "{inspected}");
}
