//! Code as a flat run of tokens, for laws that must also see inside macros, where a syntax tree has only a blur.

use std::{ops::Range, str::FromStr};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

/// A token. `::` is one; brackets are tokens like any other.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
    /// Where it stands in the text. (The tokens that a doc comment turns into all stand where the comment does.)
    pub(crate) bytes: Range<usize>,
    pub(crate) is_word: bool,
}

/// The tokens of a file, none if it cannot be read as Rust.
pub(crate) fn leaves(text: &str) -> Vec<Leaf> {
    let mut run = Vec::new();
    flatten(TokenStream::from_str(text).unwrap_or_default(), &mut run);
    run
}

fn flatten(stream: TokenStream, run: &mut Vec<Leaf>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                run.push(leaf(open, group.span_open(), false));
                flatten(group.stream(), run);
                run.push(leaf(close, group.span_close(), false));
            }
            TokenTree::Punct(punct) => {
                let colon = punct.as_char() == ':';
                match run.last_mut() {
                    Some(last) if colon && last.text == ":" && last.bytes.end == punct.span().byte_range().start => {
                        last.text.push(':');
                        last.bytes.end = punct.span().byte_range().end;
                    }
                    _ => run.push(leaf(&punct.to_string(), punct.span(), false)),
                }
            }
            TokenTree::Ident(ident) => run.push(leaf(&ident.to_string(), ident.span(), true)),
            TokenTree::Literal(literal) => run.push(leaf(&literal.to_string(), literal.span(), false)),
        }
    }
}

fn leaf(text: &str, span: Span, is_word: bool) -> Leaf {
    Leaf { text: text.to_owned(), line: span.start().line, bytes: span.byte_range(), is_word }
}

/// The place of the bracket that closes the one at `open`.
pub(crate) fn closing(run: &[Leaf], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, leaf) in run.iter().enumerate().skip(open) {
        match leaf.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(place);
        }
    }
    None
}

/// Whether the word at `place` begins a path (`word::…`, also after a leading `::`) instead of continuing one.
pub(crate) fn begins_path(run: &[Leaf], place: usize) -> bool {
    let before = |steps: usize| place.checked_sub(steps).and_then(|place| run.get(place));
    let continues = before(1).is_some_and(|leaf| leaf.text == "::")
        && before(2).is_some_and(|leaf| leaf.text == ">" || (leaf.is_word && leaf.text != "use"));
    !continues && run.get(place + 1).is_some_and(|leaf| leaf.text == "::")
}

#[test]
fn paths_are_told_from_their_middles() {
    let run = leaves("use ::std::fmt; crate::std::x(); macro_of! { std :: y }");
    let roots: Vec<usize> =
        (0..run.len()).filter(|place| run[*place].text == "std" && begins_path(&run, *place)).collect();
    assert_eq!(roots.len(), 2, "{run:?}");
}
