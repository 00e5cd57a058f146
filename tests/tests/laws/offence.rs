//! What a scanner finds, and how a law says it.

use std::fmt::Write as _;

/// One place that breaks a law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Offence {
    pub(crate) fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

/// Fails, with every offence and the way out, unless there is none.
#[track_caller]
pub(crate) fn uphold(law: &str, mut offences: Vec<Offence>, what_to_do: &str) {
    offences.sort();
    offences.dedup();
    if offences.is_empty() {
        return;
    }
    let mut report = format!("{} offence(s) against the law: {law}\n", offences.len());
    for Offence { file, line, what } in &offences {
        let _ = writeln!(report, "  {file}:{line}: {what}");
    }
    panic!("{report}What to do: {what_to_do}");
}

#[test]
#[should_panic(expected = "a/src/b.rs:7: too much")]
fn a_broken_law_names_file_and_line() {
    uphold("less is more", vec![Offence::new("a/src/b.rs", 7, "too much")], "take something away.");
}
