//! `inspect` and `verify` of directories that are whole.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{copy, copy_in_tables, files, program, ran, windlass, world};

fn queue(report: &Value, name: &str) -> BTreeMap<String, u64> {
    let queues = report["queues"].as_array().unwrap();
    let queue = queues.iter().find(|queue| queue["queue"] == name).unwrap().as_object().unwrap();
    queue.iter().filter_map(|(key, value)| Some((key.clone(), value.as_u64().filter(|count| *count > 0)?))).collect()
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(state, count)| (state.to_owned(), count)).into()
}

#[test]
fn inspect_counts_jobs_by_queue_and_state_and_all_else_that_is_there() {
    for (_folder, dir) in [copy(), copy_in_tables()] {
        let ran = windlass("inspect", &dir, &["--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let report = ran.json();
        let open = counts([("running", 1), ("waiting", 1), ("delayed", 1), ("done", 1), ("dead", 1)]);
        assert_eq!(queue(&report, "open"), open);
        let shut = counts([("ready", 42), ("waiting", 1), ("cancelled", 1), ("expired", 1)]);
        assert_eq!(queue(&report, "shut"), shut);
        let is_paused = |at: usize| report["queues"][at]["is_paused"].as_bool().unwrap();
        assert_eq!([is_paused(0), is_paused(1)], [false, true]);
        for (name, count) in [
            ("live", 46),
            ("retained", 4),
            ("flows", 1),
            ("flows_open", 1),
            ("schedules", 1),
            ("unique_keys", 1),
            ("format", 1),
        ] {
            assert_eq!(report[name], count, "{name}: {report}");
        }
        assert_eq!((&report["quarantined"], &report["unreadable"]), (&0.into(), &0.into()));
        assert!(report["last_open_ms"].as_u64().unwrap() > 1_700_000_000_000);
        assert!(report["tables_bytes"].as_u64().unwrap() + report["log_bytes"].as_u64().unwrap() > 100_000);
        assert!(report["refusals"].as_array().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn a_sound_directory_is_told_to_be_sound_with_the_cores_audit() {
    for (_folder, dir) in [copy(), copy_in_tables()] {
        let ran = windlass("verify", &dir, &["--json"]);
        let report = ran.json();
        assert_eq!(
            (ran.code, &report["is_sound"], &report["is_core_checked"]),
            (0, &true.into(), &true.into()),
            "{report}"
        );
        let ran = windlass("verify", &dir, &[]);
        assert!(ran.code == 0 && ran.out.contains("sound"), "{ran:?}");
    }
}

#[test]
fn nothing_is_changed_by_looking() {
    let (folder, dir) = copy_in_tables();
    let before = files(&dir);
    for command in ["inspect", "verify", "export"] {
        assert_eq!(windlass(command, &dir, &[]).code, 0, "{command}");
        assert!(files(&dir) == before, "{command} changed a file");
    }
    let new = folder.path().join("new");
    assert_eq!(windlass("salvage", &dir, &["--into", new.to_str().unwrap()]).code, 0);
    assert!(files(&dir) == before, "salvage changed a file of the old one");
}

#[test]
fn people_get_a_table_without_colours_where_no_terminal_is_and_the_quiet_get_nothing() {
    let ran = windlass("inspect", &world().dir, &[]);
    assert!(ran.out.contains("waiting") && ran.out.contains("shut"), "{ran:?}");
    assert!(!ran.out.contains('\u{1b}') && ran.err.is_empty(), "{ran:?}");
    for command in ["inspect", "verify"] {
        let ran = windlass(command, &world().dir, &["--quiet"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{command}");
    }
}

#[test]
fn shells_get_their_completions() {
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef windlass"), ("fish", "complete -c windlass")] {
        let ran = ran(&program().args(["completions", shell]).output().unwrap());
        assert!(ran.code == 0 && ran.out.contains(words) && ran.out.contains("salvage"), "{shell}: {}", ran.err);
    }
}
