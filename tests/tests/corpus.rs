//! The stored corpus, replayed: what fuzzers once found interesting, and what they once broke, on every run of the tests.
//!
//! Each target of `make fuzz` has a folder in `fuzz/corpus`, and each file there is one input. `WINDLASS_WRITE_CORPUS=1` writes
//! the seeds anew that are made from the golden records; everything else was found, and comes in by hand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use windlass_tests::fuzz::TARGETS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

#[test]
fn no_input_of_the_corpus_breaks_a_promise() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            if catch_unwind(AssertUnwindSafe(|| (target.body)(&bytes))).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break what is said above: {broken:#?}");
}

/// A corpus that grows without end is replayed by nobody.
#[test]
fn the_corpus_is_small() {
    let bytes: u64 =
        TARGETS.iter().flat_map(|target| inputs(target.name)).map(|one| one.metadata().unwrap().len()).sum();
    assert!(bytes < 256 << 10, "{bytes} bytes: merge and minimise it (CONTRIBUTING.md tells how)");
}

#[test]
fn every_target_can_be_fuzzed_and_no_other_has_a_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "fuzz/Cargo.toml has no {}", target.name);
        let program = fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(program.contains(&format!("feed(\"{}\", data)", target.name)), "{} feeds another one", target.name);
    }
}

/// The records of the golden file, as the targets read them: family, length of the key, key, value.
#[test]
fn the_golden_records_are_in_the_corpus() {
    let golden = fs::read_to_string(root().join("storage/tests/golden/v1.txt")).unwrap();
    for (line, words) in golden.lines().map(|line| line.split(' ').collect::<Vec<_>>()).enumerate() {
        let [kind, family, key, value] = words[..] else { panic!("line {} of the golden file", line + 1) };
        let family = ["default", "jobs", "history", "quarantine"].iter().position(|name| *name == family).unwrap();
        let (family, key) = (u8::try_from(family).unwrap(), bytes_of(key));
        let whole = [&[family, u8::try_from(key.len()).unwrap()], &key[..], &bytes_of(value)].concat();
        let seeds = [
            ("record_decoding", whole.clone()),
            ("record_header", whole),
            ("journal_keys", [&[family], &key[..]].concat()),
        ];
        for (target, bytes) in seeds {
            let path = root().join(format!("fuzz/corpus/{target}/golden-{line:02}-{kind}"));
            if std::env::var_os("WINDLASS_WRITE_CORPUS").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            assert_eq!(fs::read(&path).ok(), Some(bytes), "{}: write it with WINDLASS_WRITE_CORPUS=1", path.display());
        }
    }
}

fn bytes_of(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
