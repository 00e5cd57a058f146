//! Imports point down only: the engine moves, storage remembers, the scheduler decides.

use crate::{
    house::{Package, Source, house},
    leaves::{begins_path, leaves},
    offence::{Offence, uphold},
    uses::test_lines,
};

/// What a crate must not know.
struct Rule {
    package: &'static str,
    never: &'static [&'static str],
}

const RULES: [Rule; 3] = [
    Rule {
        package: "windlass-scheduler",
        never: &["std", "tokio", "ractor", "rocksdb", "serde", "serde_json", "windlass", "windlass_storage"],
    },
    Rule { package: "windlass-storage", never: &["windlass", "tokio", "ractor"] },
    Rule { package: "windlass", never: &["rocksdb"] },
];

/// What stands above the three, and is imported by none of them.
const ABOVE: [&str; 4] = ["windlass_bench", "windlass_console", "windlass_examples", "windlass_tests"];

const WHAT_TO_DO: &str = "move the line to the crate whose verb it does (scheduler decides, storage remembers, engine \
    moves), or hand over a value instead of reaching for the thing.";

impl Rule {
    fn forbids(&self, name: &str) -> bool {
        self.never.contains(&name) || ABOVE.contains(&name)
    }

    /// Tests may use what the crate may not, except other crates of the house: that would be a circle.
    fn forbids_in_tests(&self, name: &str) -> bool {
        name.starts_with("windlass") && self.forbids(name)
    }

    fn broken_by_manifest(&self, package: &Package) -> Vec<Offence> {
        let file = format!("{}/Cargo.toml", package.folder);
        let mut offences = Vec::new();
        for dependency in &package.dependencies {
            let name = dependency.name.replace('-', "_");
            if if dependency.is_dev { self.forbids_in_tests(&name) } else { self.forbids(&name) } {
                let line = package.manifest.lines().position(|line| line.contains(&dependency.name)).unwrap_or(0) + 1;
                offences.push(Offence::new(&file, line, format!("{} depends on {}", self.package, dependency.name)));
            }
        }
        offences
    }

    fn broken_by_source(&self, source: &Source) -> Vec<Offence> {
        let run = leaves(&source.text);
        let for_tests = test_lines(source);
        let mut offences = Vec::new();
        for (place, leaf) in run.iter().enumerate().filter(|(_, leaf)| leaf.is_word) {
            let before = place.checked_sub(1).map_or("", |place| &run[place].text);
            if !begins_path(&run, place) && !matches!(before, "use" | "crate") {
                continue;
            }
            let in_tests = for_tests.iter().any(|lines| lines.contains(&leaf.line));
            if if in_tests { self.forbids_in_tests(&leaf.text) } else { self.forbids(&leaf.text) } {
                offences.push(Offence::new(&source.path, leaf.line, format!("{} names {}", self.package, leaf.text)));
            }
        }
        offences
    }
}

#[test]
fn manifests_point_down_only() {
    let broken = RULES.iter().flat_map(|rule| {
        let package = house().packages.iter().find(|package| package.name == rule.package);
        package.map(|package| rule.broken_by_manifest(package)).unwrap_or_default()
    });
    uphold("dependencies between crates point down only", broken.collect(), WHAT_TO_DO);
}

#[test]
fn sources_point_down_only() {
    let broken = RULES.iter().flat_map(|rule| {
        house().crate_sources(rule.package).into_iter().flat_map(|source| rule.broken_by_source(source))
    });
    uphold("imports between crates point down only", broken.collect(), WHAT_TO_DO);
}

#[test]
fn all_three_crates_are_there_to_be_judged() {
    for rule in &RULES {
        assert!(!house().crate_sources(rule.package).is_empty(), "no sources found for {}", rule.package);
    }
}

#[test]
fn the_scheduler_is_no_std() {
    let library = house().sources.iter().find(|source| source.path == "scheduler/src/lib.rs");
    let is_walled = library.is_some_and(|source| source.text.lines().any(|line| line.trim() == "#![no_std]"));
    assert!(is_walled, "scheduler/src/lib.rs must say #![no_std]: it is the wall that keeps clocks and disks out.");
}

#[test]
fn an_import_that_points_up_is_seen_however_it_is_written() {
    let rule = &RULES[0];
    let seen = |text: &str| rule.broken_by_source(&Source::new("scheduler/src/a.rs", text)).len();
    assert_eq!(seen("use std::time::Instant;"), 1);
    assert_eq!(seen("fn f() { let _ = ::std::mem::size_of::<u8>(); }"), 1);
    assert_eq!(seen("use {core::fmt, tokio::time};"), 1);
    assert_eq!(seen("extern crate std;"), 1);
    assert_eq!(seen("#[derive(serde::Serialize)] struct A;"), 1);
    assert_eq!(seen("some_macro! { windlass_storage::Batch }"), 1);
    assert_eq!(seen("#[cfg(test)] mod tests { use std::vec::Vec; use windlass::Engine; }"), 1);
    assert_eq!(seen("//! std::fs is not for us.\nuse alloc::vec::Vec; use crate::std::x; fn serde() {}"), 0);
}

#[test]
fn a_dependency_that_points_up_is_seen() {
    let dependency = |name: &str, is_dev| crate::house::Dependency { name: name.to_owned(), is_dev };
    let package = Package {
        name: "windlass-storage".to_owned(),
        folder: "storage".to_owned(),
        manifest: "[dependencies]\ntokio = \"1\"\n".to_owned(),
        dependencies: vec![dependency("tokio", false), dependency("tokio", true), dependency("windlass-tests", true)],
        roots: Vec::new(),
        is_member: true,
    };
    let offences = RULES[1].broken_by_manifest(&package);
    assert_eq!(offences.len(), 2, "{offences:?}");
    assert_eq!(offences[0].line, 2);
}
