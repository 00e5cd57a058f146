//! Dead letters by what they died of, and what to do with each group.

use askama::Template;

use super::jobs::{Filled, query_of};
use super::shell::Shell;
use super::submitted::{Ask, Fields};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::look;
use crate::view::dead::{DeadGroup, DeadGroups};

/// Less of a message than this tells nothing apart.
const PIECE_CHARS_MIN: usize = 4;

#[derive(Template)]
#[template(path = "dead.html")]
struct Dead {
    shell: Shell,
    groups: DeadGroups,
    filled: Filled,
    queues: Vec<String>,
}

pub(super) async fn list(ask: Ask) -> Answer {
    let groups = look::dead_groups(&ask.console, &query_of(&ask.fields)).await?;
    page(&Dead {
        groups,
        filled: Filled::new(&ask.fields),
        queues: look::queues(&ask.console).await?.into_iter().map(|queue| queue.name).collect(),
        shell: ask.shell("/dead", "Dead letters"),
    })
}

impl DeadGroup {
    /// The filter that means its jobs, as nearly as a filter can: their kind, and the longest piece of the message that they have in common.
    pub(super) fn filter(&self) -> Filled {
        let error = piece(&self.sample);
        Filled::new(&Fields::from([("state", Some("dead")), ("kind", Some(self.kind.as_str())), ("error", error)]))
    }
}

/// The longest piece of a message in which there is nothing that differs from job to job: no word with a number, nothing in quotes.
fn piece(message: &str) -> Option<&str> {
    let shown = message.char_indices().nth(200).map_or(message, |(at, _)| &message[..at]);
    // Where the piece began, and where its last word did.
    let (mut begin, mut word, mut quote, mut pieces) = (Some(0), 0, None, Vec::new());
    for (at, char) in shown.char_indices() {
        let next = at + char.len_utf8();
        if let Some(end) = quote {
            if end == char {
                (begin, word, quote) = (Some(next), next, None);
            }
        } else if char.is_alphanumeric() || matches!(char, '-' | '_') {
            if char.is_ascii_digit() {
                pieces.extend(begin.take().map(|begin| &shown[begin..word]));
            }
        } else if matches!(char, '"' | '`') || (char == '\'' && word == at) {
            pieces.extend(begin.take().map(|begin| &shown[begin..at]));
            quote = Some(char);
        } else {
            (begin, word) = (begin.or(Some(next)), next);
        }
    }
    pieces.extend(begin.map(|begin| &shown[begin..]));
    let piece = pieces.into_iter().map(str::trim).max_by_key(|piece| piece.len())?;
    (piece.chars().count() >= PIECE_CHARS_MIN).then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_piece_of_a_message_is_what_all_of_a_group_say() {
        for (message, expected) in [
            ("connection refused", Some("connection refused")),
            ("order 17 is gone for good", Some("is gone for good")),
            ("no user `ada` in the list", Some("in the list")),
            ("can't find 0190f3c4-aaaa: gone", Some("can't find")),
            ("timeout after 30.5s to 10.0.0.1:80", Some("timeout after")),
            ("`unclosed quotes of something long", None),
            ("say 'x' é", None),
            ("4711", None),
            ("", None),
        ] {
            assert_eq!(piece(message), expected, "{message}");
        }
    }

    #[test]
    fn a_piece_is_a_part_of_the_message() {
        for message in ["a1b2c3 dddd", "ü9ü ßßßßß '", "\"\"\"\"''``", "x`y`1`z`long tail here", "9 'a' 9"] {
            assert!(piece(message).is_none_or(|piece| message.contains(piece)), "{message}");
        }
    }
}
