//! Texts that jobs bring along, made harmless.
//!
//! Owns the promise that nothing that comes from a job steers the terminal, or hides what stands beside it: an error's text with an
//! escape in it is shown with the escape written out.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What a terminal may take for an order, and what turns the direction of what follows.
fn is_steering(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text on one line: ends of lines and tabs are blanks, and all else that steers is written out.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\t' => plain.push(' '),
            char if is_steering(char) => drop(write!(plain, "{}", char.escape_unicode())),
            char => plain.push(char),
        }
    }
    Cow::Owned(plain)
}

/// The same JSON: what may steer stands in its strings only, and is written there as JSON writes it.
pub(crate) fn as_json(text: &str) -> Cow<'_, str> {
    let has_to_go = |char: char| is_steering(char) && !matches!(char, '\n' | '\r' | '\t');
    if !text.chars().any(has_to_go) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if has_to_go(char) {
            // All of them are in the first plane.
            let _ = write!(plain, "\\u{:04x}", u32::from(char));
        } else {
            plain.push(char);
        }
    }
    Cow::Owned(plain)
}

/// So many characters of it at most.
pub(crate) fn short(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        for (text, plain) in [
            ("plain ü 語", "plain ü 語"),
            ("a\nb\r\nc\td", "a b c d"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("bell\u{7} del\u{7f} cr\r", "bell\\u{7} del\\u{7f} cr\\u{d}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(one_line(text), plain);
        }
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let value = serde_json::json!({ "m": "\u{9b}2J \u{7f} \u{202e} \u{1b} \n ü" });
        let text = value.to_string();
        let plain = as_json(&text);
        assert!(!plain.chars().any(is_steering), "{plain}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).ok(), Some(value));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("über".to_owned(), 2), "üb…");
        assert_eq!(short("üb".to_owned(), 2), "üb");
    }
}
