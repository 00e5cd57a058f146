//! The bank of known bugs and the code agree: each bug bites somewhere, and only in the build that is made for it.

use std::collections::BTreeMap;

use windlass_tests::bugs::Bug;

use crate::{
    house::{Source, house},
    leaves::leaves,
    offence::{Offence, uphold},
};

const CRATES: [&str; 3] = ["windlass-scheduler", "windlass-storage", "windlass"];

/// Where the condition itself stands: the macro is chosen there, and asks for the variable.
const KNOWS_THE_CONDITION: [&str; 2] = ["scheduler/src/lib.rs", "scheduler/src/bugs.rs"];

/// Fewer would say little.
const BUGS_MIN: usize = 15;

/// Every `bug!(Name)` of a file.
fn hooks(source: &Source) -> Vec<(String, usize)> {
    let run = leaves(&source.text);
    let hook = |at: usize| {
        let texts: Vec<_> = run.get(at..at + 5)?.iter().map(|leaf| leaf.text.as_str()).collect();
        matches!(texts[..], ["bug", "!", "(", _, ")"]).then(|| (texts[3].to_owned(), run[at].line))
    };
    (0..run.len()).filter_map(hook).collect()
}

/// What is wrong between these sources and a bank of these bugs.
fn broken(sources: &[&Source], bugs: &[&str]) -> Vec<Offence> {
    let mut found: BTreeMap<&str, usize> = bugs.iter().map(|bug| (*bug, 0)).collect();
    let mut offences = Vec::new();
    for source in sources {
        for (bug, line) in hooks(source) {
            match found.get_mut(bug.as_str()) {
                Some(times) => *times += 1,
                None => offences.push(Offence::new(&source.path, line, format!("there is no bug {bug}"))),
            }
        }
        let knows = KNOWS_THE_CONDITION.contains(&source.path.as_str());
        let line = source.text.lines().position(|line| line.contains("windlass_bugs")).filter(|_| !knows);
        offences.extend(line.map(|line| Offence::new(&source.path, line + 1, "names the condition itself".to_owned())));
    }
    let idle = found.into_iter().filter(|(_, times)| *times == 0).map(|(bug, _)| bug);
    offences.extend(idle.map(|bug| Offence::new(KNOWS_THE_CONDITION[1], 1, format!("{bug} bites nowhere"))));
    offences
}

#[test]
fn every_bug_of_the_bank_bites_somewhere() {
    let sources: Vec<_> = CRATES.iter().flat_map(|name| house().crate_sources(name)).collect();
    let names: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    assert!(names.len() >= BUGS_MIN, "{} bugs", names.len());
    uphold(
        "every known bug stands in the bank and in the line that it spoils, and nothing else knows of it",
        broken(&sources, &names),
        "add it to scheduler/src/bugs.rs, or `bug!(Name)` to the line: CONTRIBUTING.md tells how.",
    );
}

/// While it is compiled: nothing of the bank is left in the code of this build.
#[cfg(not(windlass_bugs))]
#[test]
fn a_build_without_the_condition_has_no_bug_of_the_bank() {
    const { assert!(!windlass_scheduler::bug!(AckBeforeSync)) }
}

#[test]
fn no_package_makes_a_feature_of_it() {
    let features = house().packages.iter().filter(|package| package.manifest.contains("windlass_bugs"));
    assert_eq!(features.map(|package| package.name.as_str()).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_bug_that_bites_nowhere_and_one_that_nobody_knows_are_seen() {
    let source = Source::new("engine/src/a.rs", "fn f() -> bool { bug!(One) || bug!(Unknown) }");
    assert_eq!(broken(&[&source], &["One"]).len(), 1);
    assert_eq!(broken(&[&source], &["One", "Unknown"]), []);
    assert_eq!(broken(&[&source], &["One", "Unknown", "Idle"]).len(), 1);
    let source = Source::new("engine/src/a.rs", "#[cfg(windlass_bugs)] fn f() {}");
    assert_eq!(broken(&[&source], &[]).len(), 1);
}
