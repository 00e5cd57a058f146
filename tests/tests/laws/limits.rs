//! Every row of the guide's page on limits names a test, and the test is there.
//!
//! The page is `engine/docs/limits.md`. Whether a test tests what its row says is left to readers.

use std::collections::BTreeSet;

use crate::house::house;

const PAGE: &str = include_str!("../../../engine/docs/limits.md");

/// What is wrong with a page: a row without a test, or with one that is not among `tests`.
fn offences(page: &str, tests: &BTreeSet<&str>) -> Vec<(usize, String)> {
    let rows = page.lines().enumerate().filter(|(_, line)| line.starts_with("| ") && !line.ends_with("| test |"));
    let wrong = |(at, row): (usize, &str)| {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        let name = last.strip_prefix('`').and_then(|last| last.strip_suffix('`'));
        match name {
            Some(name) if tests.contains(name) => None,
            _ => Some((at + 1, format!("no test of the name {last}"))),
        }
    };
    rows.filter_map(wrong).collect()
}

/// The names of all functions in these texts.
pub(crate) fn functions<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let name = |line: &'a str| {
        let (_, rest) = line.trim_start().split_once("fn ").filter(|(before, _)| !before.contains("//"))?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    };
    texts.flat_map(|text| text.lines().filter_map(name)).collect()
}

#[test]
fn every_limit_has_a_test() {
    let tests = functions(house().sources.iter().map(|source| source.text.as_str()));
    let offences = offences(PAGE, &tests);
    assert!(
        offences.is_empty(),
        "engine/docs/limits.md: {offences:#?}\nWhat to do: name the test that takes what is just allowed and refuses what is just not, or \
         write it."
    );
}

#[test]
fn a_row_without_a_test_or_with_an_invented_one_is_an_offence() {
    let tests = functions(["    async fn a_test() {\n// fn no_test()\nfn another<T>()"].into_iter());
    assert_eq!(tests, BTreeSet::from(["a_test", "another"]));
    let page = "| input | test |\n|---|---|\n| a | `a_test` |\n| b | `no_test` |\ntext\n| c | |\n| d | another |\n";
    assert_eq!(offences(page, &tests).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 6, 7]);
}
