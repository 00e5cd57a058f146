//! Every invariant of the design is quoted by a test that guards it.
//!
//! The laws themselves do not count: they speak of all of them and guard none.

use std::collections::BTreeSet;

use crate::{
    comments::comments,
    house::{Source, house},
    leaves::leaves,
    reach::Reach,
    uses::test_lines,
};

const INVARIANTS: std::ops::RangeInclusive<u8> = 1..=11;

/// The invariants that the tests of this file quote: `I7` as a word in a comment, in a file that has tests.
fn quoted(source: &Source, only_for_tests: bool) -> BTreeSet<u8> {
    if !has_tests(&source.text) {
        return BTreeSet::new();
    }
    let lines = if only_for_tests { vec![1..=usize::MAX] } else { test_lines(source) };
    let text = comments(&source.text);
    let text = text.lines().enumerate().filter(|(at, _)| lines.iter().any(|lines| lines.contains(&(at + 1))));
    let words = text.flat_map(|(_, line)| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter_map(|word| word.strip_prefix('I')?.parse().ok()).filter(|n| INVARIANTS.contains(n)).collect()
}

/// `#[test]`, `#[tokio::test]`, also inside a macro.
fn has_tests(text: &str) -> bool {
    let run = leaves(text);
    let opens = |from: usize| run[from].text == "#" && run.get(from + 1).is_some_and(|leaf| leaf.text == "[");
    (0..run.len()).any(|from| {
        let attribute = run[from..].iter().skip(2).take_while(|leaf| leaf.is_word || leaf.text == "::");
        opens(from) && attribute.last().is_some_and(|leaf| leaf.text == "test")
    })
}

#[test]
fn every_invariant_is_quoted_by_a_test() {
    let reach = Reach::of(house());
    let tests = house().sources.iter().filter(|source| !source.is_in("tests/tests/laws"));
    let found: BTreeSet<u8> = tests
        .flat_map(|source| {
            let is_test = source.path.contains("/tests/") || reach.only_for_tests(&source.path);
            quoted(source, is_test)
        })
        .collect();
    let missing: Vec<String> = INVARIANTS.filter(|n| !found.contains(n)).map(|n| format!("I{n}")).collect();
    assert!(
        missing.is_empty(),
        "no test quotes {}.\nWhat to do: write the test whose failure shows that the invariant is broken, under a tests \
         folder or in a #[cfg(test)] module, and name the invariant in its comment, as in `/// I7: lose it, and ...`.",
        missing.join(", ")
    );
}

#[test]
fn a_quote_is_a_word_in_a_comment_of_a_test() {
    let of = |text: &str| quoted(&Source::new("a/tests/b.rs", text), true).into_iter().collect::<Vec<_>>();
    assert_eq!(of("/// I7: the actor is lost.\n#[tokio::test]\nasync fn t() {} // and I10"), [7, 10]);
    assert_eq!(of("#[test]\nfn t() { let _ = \"I7\"; struct I8; } // MI9, I7b, I12, I"), [0_u8; 0]);
    assert_eq!(of("/// I7, but nothing is tested.\nfn t() {}"), [0_u8; 0]);
}

#[test]
fn a_quote_outside_the_test_module_does_not_count() {
    let text = "// I1\nfn f() {}\n#[cfg(test)]\nmod tests {\n// I2\n#[test]\nfn t() {}\n}\n// I3\n";
    assert!(quoted(&Source::new("a/src/b.rs", text), false).iter().eq(&[2]));
}
