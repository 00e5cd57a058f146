//! The list of faults: each number of the catalogue once, and every test that it names is there.
//!
//! The page is `tests/FAULTS.md`. Whether a test tests what its row says is left to readers.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::house;
use crate::limits::functions;

const PAGE: &str = include_str!("../../FAULTS.md");
const README: &str = include_str!("../../../README.md");
/// Faults of the catalogue.
const FAULTS: u32 = 84;
/// What a row may say of itself, before a colon.
const STATES: [&str; 3] = ["tested", "not applicable", "open"];

/// What is wrong with a row: its state, its reason, or a test that is not there.
fn wrong(row: &str, tests: &BTreeSet<&str>) -> Option<String> {
    let last = row.trim_end().trim_end_matches('|').rsplit(" | ").next().unwrap_or_default().trim();
    let (state, rest) = last.split_once(": ").unwrap_or((last, ""));
    let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let unknown: Vec<&str> = names.iter().copied().filter(|name| !tests.contains(name)).collect();
    if !STATES.contains(&state) || rest.is_empty() {
        Some(format!("`{last}` is none of {STATES:?} with a reason"))
    } else if state == "tested" && names.is_empty() {
        Some("it is called tested and names no test".to_owned())
    } else if !unknown.is_empty() {
        Some(format!("no tests of the names {unknown:?}"))
    } else {
        None
    }
}

/// What is wrong with a page, by fault: numbers that are missing or there twice, and rows that are wrong.
fn offences(page: &str, faults: u32, tests: &BTreeSet<&str>) -> Vec<(u32, String)> {
    let mut rows: BTreeMap<u32, Vec<&str>> = (1..=faults).map(|no| (no, Vec::new())).collect();
    for row in page.lines() {
        let no = row.strip_prefix("| ").and_then(|rest| rest.split_once(" |")?.0.parse().ok());
        if let Some(no) = no {
            rows.entry(no).or_default().push(row);
        }
    }
    let judged = rows.into_iter().filter_map(|(no, rows)| match rows.as_slice() {
        _ if no > faults => Some((no, "there is no such fault".to_owned())),
        [row] => Some((no, wrong(row, tests)?)),
        rows => Some((no, format!("it has {} rows", rows.len()))),
    });
    judged.collect()
}

#[test]
fn every_fault_is_listed_once_with_tests_that_exist_or_a_reason() {
    let tests = functions(house().sources.iter().map(|source| source.text.as_str()));
    let offences = offences(PAGE, FAULTS, &tests);
    assert!(
        offences.is_empty(),
        "tests/FAULTS.md: {offences:#?}\nWhat to do: give each fault one row, and name the tests that hold it, or say why there are none."
    );
}

/// The README says what an event costs, and by which tests that is known.
#[test]
fn every_test_that_the_readme_names_exists() {
    let tests = functions(house().sources.iter().map(|source| source.text.as_str()));
    let words = README.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| word.matches('_').count() > 3 && word.chars().all(|c| c == '_' || c.is_alphanumeric());
    let names: Vec<&str> = words.filter(is_name).collect();
    let unknown: Vec<&&str> = names.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(unknown.is_empty() && names.len() > 8, "README.md names no such tests: {unknown:?} of {names:?}");
}

#[test]
fn a_fault_that_is_missing_or_twice_or_names_an_invented_test_is_an_offence() {
    let tests = BTreeSet::from(["a_test"]);
    let page = "| 1 | a | b | tested: `a_test` |\n| 2 | a | b | tested: `a_test`, `no_test` |\n| 3 | a | b | tested: by hand |\n\
                | 4 | a | b | open |\n| 5 | a | b | open: why |\n| 5 | a | b | open: why |\n| 7 | a | b | fine: `a_test` |\n\
                | 8 | a | b | not applicable: since `a_test` |\n| 9 | a | b | open: why |\n";
    let numbers: Vec<u32> = offences(page, 8, &tests).into_iter().map(|(no, _)| no).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 9]);
}
