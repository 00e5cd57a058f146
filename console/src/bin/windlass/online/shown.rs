//! What the API said, as people read it.
//!
//! Owns the only way from an answer to what is printed: every text that leaves here is harmless.

use std::fmt::Display;

use jiff::Timestamp;
use serde_json::Value;

use super::plain::{one_line, short};

/// Characters of a message in a table.
const MESSAGE_CHARS: usize = 100;

/// A part of an answer. What is not there is empty, or 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(&'a Value);

impl<'a> Shown<'a> {
    pub(crate) const fn of(value: &'a Value) -> Self {
        Self(value)
    }

    pub(crate) fn at(self, name: &str) -> Self {
        Self(&self.0[name])
    }

    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        self.0.as_array().into_iter().flatten().map(Self)
    }

    pub(crate) fn is_there(self) -> bool {
        !self.0.is_null()
    }

    pub(crate) fn is(self) -> bool {
        self.0 == &Value::Bool(true)
    }

    pub(crate) fn number(self) -> u64 {
        self.0.as_u64().unwrap_or_default()
    }

    /// Harmless, and on one line.
    pub(crate) fn text(self) -> String {
        match self.0 {
            Value::Null => String::new(),
            Value::String(text) => one_line(text).into_owned(),
            value => one_line(&value.to_string()).into_owned(),
        }
    }

    /// The same, cut to what fits into a table.
    pub(crate) fn message(self) -> String {
        short(self.text(), MESSAGE_CHARS)
    }

    /// As it came, to be asked for again: never to be printed.
    pub(crate) fn raw(self) -> Option<&'a str> {
        self.0.as_str()
    }

    /// The texts of a list, with commas between.
    pub(crate) fn list(self) -> String {
        self.each().map(Self::text).collect::<Vec<_>>().join(", ")
    }

    /// Harmless lines of it: of JSON as people read it, or of a text that has several.
    pub(crate) fn lines(self) -> Vec<String> {
        let pretty = match self.0 {
            Value::String(text) if text.contains('\n') => text.clone(),
            value => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        pretty.lines().map(|line| one_line(line).into_owned()).collect()
    }

    fn moment(self) -> Option<Timestamp> {
        self.0.as_str()?.parse().ok()
    }

    /// `3 min ago`, or `in 2 h`; empty where there is no time.
    pub(crate) fn relative(self) -> String {
        let Some(moment) = self.moment() else { return self.text() };
        let ms = moment.as_millisecond() - Timestamp::now().as_millisecond();
        let words = span(ms.unsigned_abs());
        if ms > 0 { format!("in {words}") } else { format!("{words} ago") }
    }

    /// The time and how far it is from now.
    pub(crate) fn when(self) -> String {
        if self.moment().is_some() { format!("{} ({})", self.text(), self.relative()) } else { self.text() }
    }

    /// How an attempt failed, in a line.
    pub(crate) fn failure(self) -> String {
        if self.is_there() {
            format!("{}: {}", self.at("kind").text(), self.at("message").text())
        } else {
            String::new()
        }
    }
}

/// A duration in its largest unit.
pub(crate) fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = UNITS.into_iter().find(|(unit, _)| ms >= *unit);
    unit.map_or_else(|| format!("{ms} ms"), |(unit, word)| format!("{} {word}", ms / unit))
}

/// The text, or nothing where it says nothing: a table full of zeros hides what is there.
pub(crate) fn unless_zero(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// Lines of names and what they are, in two columns; what is empty is left out.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines = pairs.into_iter().filter(|(_, text)| !text.is_empty());
    lines.map(|(name, text)| format!("{name:<14}{text}")).collect::<Vec<_>>().join("\n")
}

/// `1 job`, `2 jobs`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> impl Display {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_unit_that_fits() {
        for (ms, words) in [(0, "0 ms"), (999, "999 ms"), (1_000, "1 s"), (119_000, "1 min"), (90_000_000, "1 d")] {
            assert_eq!(span(ms), words);
        }
    }

    #[test]
    fn what_is_told_is_harmless_whatever_it_is() {
        let value = serde_json::json!({ "m": "\u{1b}[2J\nx", "list": ["\u{7}"], "json": { "\u{9b}": "\u{1b}" } });
        let shown = Shown::of(&value);
        let told = [shown.at("m").text(), shown.at("m").when(), shown.at("list").list(), shown.at("json").text()];
        let lines = [shown.at("m").lines(), shown.at("json").lines()].concat();
        for text in told.iter().chain(&lines) {
            assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
        }
        assert_eq!(shown.at("nothing").text(), "");
    }
}
