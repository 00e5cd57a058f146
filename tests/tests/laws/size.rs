//! Files and functions keep to a size that one can hold in one's head.

use crate::{
    house::{Source, house},
    leaves::{closing, leaves},
    offence::{Offence, uphold},
};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

fn long_file(source: &Source) -> Option<Offence> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| Offence::new(&source.path, lines, format!("{lines} lines")))
}

/// Functions from `fn` to the closing brace, also those inside macros such as `proptest!`.
fn long_functions(source: &Source) -> Vec<Offence> {
    let run = leaves(&source.text);
    let mut offences = Vec::new();
    for (place, leaf) in run.iter().enumerate() {
        let Some(name) = run.get(place + 1).filter(|next| leaf.text == "fn" && next.text != "(") else { continue };
        let Some(end) = body_end(&run, place) else { continue };
        let lines = run[end].line - leaf.line + 1;
        if lines > FUNCTION_LINES_MAX {
            offences.push(Offence::new(&source.path, leaf.line, format!("fn {} has {lines} lines", name.text)));
        }
    }
    offences
}

/// Where the body of the function at `place` ends; nothing if it has none.
fn body_end(run: &[crate::leaves::Leaf], mut place: usize) -> Option<usize> {
    loop {
        match run.get(place)?.text.as_str() {
            "{" => return closing(run, place),
            ";" | "}" | ")" => return None,
            "(" | "[" => place = closing(run, place)? + 1,
            _ => place += 1,
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    uphold(
        "no file is longer than 500 lines",
        house().sources.iter().filter_map(long_file).collect(),
        "the file asks for a room of its own: give a part that has a name its own module.",
    );
}

#[test]
fn no_function_is_longer_than_70_lines() {
    uphold(
        "no function is longer than 70 lines",
        house().sources.iter().flat_map(long_functions).collect(),
        "give each step of the function a name of its own.",
    );
}

#[test]
fn every_rust_file_can_be_read() {
    let unreadable = |source: &Source| {
        let error = syn::parse_file(&source.text).err()?;
        Some(Offence::new(&source.path, error.span().start().line, format!("does not parse: {error}")))
    };
    uphold(
        "every Rust file can be read",
        house().sources.iter().filter_map(unreadable).collect(),
        "correct the syntax, or take the file away; the other laws cannot see into it.",
    );
}

#[test]
fn a_file_of_501_lines_is_seen() {
    assert_eq!(long_file(&Source::new("a.rs", &"//\n".repeat(500))), None);
    let offence = long_file(&Source::new("a.rs", &"//\n".repeat(501)));
    assert_eq!(offence, Some(Offence::new("a.rs", 501, "501 lines")));
}

#[test]
fn a_function_of_71_lines_is_seen_also_in_an_impl_and_in_a_macro() {
    let function = |lines: usize| {
        format!("fn f<const N: usize>(a: [u8; 2], b: fn(u8) -> u8) {{\n{}}}\n", "//\n".repeat(lines - 2))
    };
    let seen = |text: String| long_functions(&Source::new("a.rs", &text)).len();
    assert_eq!(seen(function(70)), 0);
    assert_eq!(seen(function(71)), 1);
    assert_eq!(seen(format!("impl A {{ {} }}", function(71))), 1);
    assert_eq!(seen(format!("proptest! {{ {} }}", function(71))), 1);
    assert_eq!(seen(format!("trait T {{ fn g(&self);\n }} {}", "//\n".repeat(99))), 0);
}
