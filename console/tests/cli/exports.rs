//! `export`: what comes out is what went in.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::{program, windlass, world};

fn by_id(lines: &[Value]) -> BTreeMap<&str, &Value> {
    lines.iter().map(|line| (line["id"].as_str().unwrap(), line)).collect()
}

#[test]
fn every_job_comes_out_as_it_went_in() {
    let ran = windlass("export", &world().dir, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines = ran.lines();
    assert_eq!(lines.len(), 50);
    let by_id = by_id(&lines);
    let of = |state: &str| by_id[world().jobs[state].to_string().as_str()];
    for state in ["done", "dead", "expired", "cancelled", "delayed", "ready", "waiting"] {
        assert_eq!(
            (&of(state)["state"], &of(state)["type"], &of(state)["kind"]),
            (&state.into(), &"job".into(), &"work".into())
        );
    }
    let done = of("done");
    assert_eq!((&done["payload"], &done["output"]), (&json!({ "what": "done" }), &"done".into()));
    assert_eq!((&done["tags"], &done["correlation_id"]), (&json!(["tenant:1"]), &"story".into()));
    assert!(done["ended_ms"].as_u64() >= done["created_ms"].as_u64(), "{done}");
    let dead = of("dead");
    assert_eq!(
        (&dead["error"]["kind"], &dead["attempts"], &dead["failures"]),
        (&"permanent".into(), &1.into(), &1.into())
    );
    assert!(dead["error"]["message"].as_str().unwrap().contains("it was to fail"));
    assert!(dead["attempts_kept"][0]["error"]["message"].as_str().unwrap().contains("it was to fail"));
    let ready = of("ready");
    assert_eq!((&ready["payload_base64"], &ready["payload_version"]), (&"/3Jhdw==".into(), &3.into()));
    assert_eq!(ready["payload"], Value::Null);
    assert_eq!((&ready["unique_key"]["text"], &ready["limit_key"]), (&"k".into(), &"tenant".into()));
    assert!(of("delayed")["due_ms"].as_u64() > of("delayed")["created_ms"].as_u64());
    let running: Vec<_> = lines.iter().filter(|line| line["state"] == "running").collect();
    assert_eq!(running.len(), 1);
    assert_eq!((&running[0]["payload"]["what"], &running[0]["step"]["no"]), (&"hold".into(), &0.into()));
    assert!(running[0]["started_ms"].is_u64());
}

#[test]
fn filters_leave_what_fits_all_of_them() {
    let whats = |more: &[&str]| -> BTreeSet<String> {
        let lines = windlass("export", &world().dir, more).lines();
        lines
            .iter()
            .map(|line| format!("{} {}", line["queue"].as_str().unwrap(), line["state"].as_str().unwrap()))
            .collect()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(whats(&["--state", "dead,expired"]), set(&["open dead", "shut expired"]));
    assert_eq!(whats(&["--queue", "shut", "--state", "ready", "--state", "done"]), set(&["shut ready"]));
    assert_eq!(whats(&["--kind", "another"]), set(&[]));
    assert_eq!(whats(&["--kind", "work", "--queue", "open", "--jobs", "--state", "waiting"]), set(&["open waiting"]));
}

#[test]
fn all_has_the_other_things_too() {
    let lines = windlass("export", &world().dir, &["--all"]).lines();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    assert_eq!(of("job").len(), 50);
    assert_eq!(of("schedule")[0]["name"], "daily");
    assert_eq!(of("schedule")[0]["rule"], "every 86400000 ms");
    assert_eq!(of("flow")[0]["steps"][1]["needs"], json!([0]));
    assert_eq!(of("unique_key")[0]["holder"], world().jobs["ready"].to_string());
    assert_eq!(of("unique_key")[0]["next"], world().jobs["waiting"].to_string());
    assert_eq!(of("setting")[0]["about"], "shut");
    assert_eq!(of("counters").len(), 2);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    // More than a pipe holds, so that it has to write to one that is closed.
    assert!(windlass("export", &world().dir, &[]).out.len() > 1 << 17);
    let mut child =
        program().arg("export").arg(&world().dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}
