//! Directories that cannot be looked into, and what is said of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::world::{Gate, Ran, copy, files, program, ran, runtime, start, stop, windlass};

/// What each command says of it: all have to refuse.
fn refused(dir: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let mut said = Vec::new();
    for command in ["inspect", "verify", "export", "salvage"] {
        let more: &[&str] = if command == "salvage" { &["--into", new.to_str().unwrap()] } else { &[] };
        let Ran { code, out, err } = windlass(command, dir, more);
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        assert!(err.starts_with("windlass: ") && err.contains(&dir.display().to_string()), "{command}: {err}");
        said.push(err);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left beside the place of a salvage");
    said
}

#[test]
fn an_empty_directory_and_one_that_is_none_are_refused_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for said in refused(folder.path()) {
        assert!(said.contains("not a journal"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    for said in refused(&folder.path().join("nowhere")) {
        assert!(said.contains("does not exist"), "{said}");
    }
    fs::write(folder.path().join("file"), "text").unwrap();
    refused(&folder.path().join("file"));
}

#[test]
fn a_directory_that_an_engine_holds_is_refused_by_name_of_the_process() {
    let (_folder, dir) = copy();
    runtime().block_on(async {
        let gate = Arc::new(Gate::default());
        let engine = start(&dir, &gate).await;
        let here = dir.clone();
        let said = tokio::task::spawn_blocking(move || refused(&here)).await.unwrap();
        for said in said {
            assert!(said.contains("an engine holds") && said.contains("stop that service"), "{said}");
            if cfg!(target_os = "linux") {
                assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
            }
        }
        stop(&engine, &gate).await;
    });
    assert_eq!(windlass("inspect", &dir, &[]).code, 0, "and is free again afterwards");
}

#[test]
fn a_newer_format_is_left_to_the_version_that_wrote_it() {
    let (_folder, dir) = copy();
    fs::write(dir.join("WINDLASS"), "windlass journal, format 2\n").unwrap();
    let before = files(&dir);
    for said in refused(&dir) {
        assert!(said.contains("format 2") && said.contains("run the version that wrote it"), "{said}");
    }
    assert!(files(&dir) == before);
}

#[test]
fn a_salvage_overwrites_nothing() {
    let (folder, dir) = copy();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("precious"), "x").unwrap();
    let ran = windlass("salvage", &dir, &["--into", place.to_str().unwrap()]);
    assert!(ran.code == 2 && ran.err.contains("is not empty"), "{ran:?}");
    let ran = windlass("salvage", &dir, &["--into", dir.join("inside").to_str().unwrap()]);
    assert!(ran.code == 2 && ran.err.contains("inside"), "{ran:?}");
    assert_eq!(files(&place).len(), 1);
}

#[test]
fn mistakes_in_the_command_line_say_what_there_is_and_the_help_tells_the_exit_codes() {
    let wrong = ran(&program().args(["inspct", "x"]).output().unwrap());
    assert!(wrong.code == 2 && wrong.err.contains("inspect"), "{wrong:?}");
    let help = ran(&program().arg("--help").output().unwrap());
    assert!(help.code == 0 && help.out.contains("Exit codes:"), "{help:?}");
}
