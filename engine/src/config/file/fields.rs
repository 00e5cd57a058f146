//! A field with its path: reads itself as what is expected of it, or says what is wrong.
//!
//! Owns the sorts of values (numbers in a range, durations, words). Never knows which fields there are: that is `read`.

use windlass_scheduler::job::Name;

use super::document::{Document, Entry, Node, Value};
use super::error::{ConfigFileError, ConfigProblem};
use super::words;
use crate::config::ConfigPlace;
use crate::range::{Range, Unit};

pub(super) type Read<T> = Result<T, ConfigFileError>;

/// A value with its place and its path.
pub(super) struct Field<'d> {
    document: &'d Document<'d>,
    path: String,
    at: usize,
    node: &'d Node,
    /// The last part of its path.
    pub(super) name: &'d str,
}

/// The fields of a table, none of them unknown.
pub(super) struct Fields<'d> {
    pub(super) of: Field<'d>,
    entries: &'d [Entry],
}

impl<'d> Field<'d> {
    pub(super) fn root(document: &'d Document<'d>) -> Self {
        Self { document, path: String::new(), at: 0, node: &document.root, name: "" }
    }

    fn child(&self, entry: &'d Entry) -> Self {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_bare = !entry.name.is_empty() && entry.name.chars().all(is_bare);
        let name = if is_bare { entry.name.clone() } else { format!("{:?}", entry.name) };
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{name}", self.path);
        Self { document: self.document, path, at: entry.at, node: &entry.node, name: &entry.name }
    }

    pub(super) fn place(&self) -> ConfigPlace {
        self.document.place_of(self.at)
    }

    pub(super) fn wrong(&self, problem: ConfigProblem) -> ConfigFileError {
        ConfigFileError::new(self.place(), self.path.clone(), problem)
    }

    fn given(&self) -> String {
        self.document.quote(self.node)
    }

    pub(super) fn other_type(&self, expected: &'static str) -> ConfigFileError {
        self.wrong(ConfigProblem::Type { given: self.given(), expected })
    }

    /// A number of things, or a duration or size in words, within its range.
    pub(super) fn number<T: TryFrom<u64>>(&self, range: &Range) -> Read<T> {
        let value = match (range.unit, &self.node.value) {
            (Unit::Count, Value::Whole(number)) => u64::try_from(*number).ok(),
            (Unit::Count, _) => return Err(self.other_type("a whole number")),
            (unit, Value::Whole(_)) => return Err(self.bare(unit)),
            (Unit::Ms, Value::Text(text)) => {
                let ms = words::duration_ms(text);
                Some(ms.map_err(|reason| self.wrong(ConfigProblem::Duration { given: self.given(), reason }))?)
            }
            (Unit::Bytes, Value::Text(text)) => {
                let bytes = words::size_bytes(text);
                Some(bytes.map_err(|reason| self.wrong(ConfigProblem::Size { given: self.given(), reason }))?)
            }
            (Unit::Ms, _) => return Err(self.other_type("a duration such as \"30s\" or \"2h 30m\"")),
            (Unit::Bytes, _) => return Err(self.other_type("a size such as \"256 KiB\"")),
        };
        let value = value.filter(|value| range.has(*value)).and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| self.out_of(range, self.given()))
    }

    fn out_of(&self, range: &Range, given: String) -> ConfigFileError {
        let [min, max] = [range.min, range.max].map(|limit| words::say(range.unit, limit));
        self.wrong(ConfigProblem::Range { given, min, max })
    }

    fn bare(&self, unit: Unit) -> ConfigFileError {
        let given = self.given();
        let units = if unit == Unit::Ms { ["s", "ms"] } else { [" B", " KiB"] };
        let examples = units.map(|unit| format!("{given}{unit}"));
        self.wrong(ConfigProblem::BareNumber { given, examples })
    }

    pub(super) fn flag(&self) -> Read<bool> {
        match self.node.value {
            Value::Flag(flag) => Ok(flag),
            _ => Err(self.other_type("true or false")),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.node.value, Value::Whole(_))
    }

    pub(super) fn text(&self, expected: &'static str) -> Read<&'d str> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.other_type(expected)),
        }
    }

    /// One of these words. `more` is what else there may be, for the error.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)], more: &[&'static str]) -> Read<T> {
        let given = self.text("a word")?;
        words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let allowed = words.iter().map(|(word, _)| *word).chain(more.iter().copied()).collect();
            self.wrong(ConfigProblem::Word { given: self.given(), allowed })
        })
    }

    /// A list of so many.
    pub(super) fn list(&self, expected: &'static str, range: &Range) -> Read<Vec<Self>> {
        let Value::List(nodes) = &self.node.value else { return Err(self.other_type(expected)) };
        let count = nodes.len();
        if !range.has(count as u64) {
            return Err(self.out_of(range, format!("a list of {count}")));
        }
        let item = |(no, node): (usize, &'d Node)| Self {
            document: self.document,
            path: format!("{}[{no}]", self.path),
            at: node.span.start,
            node,
            name: self.name,
        };
        Ok(nodes.iter().enumerate().map(item).collect())
    }

    /// A table whose keys are texts of so many bytes.
    pub(super) fn keyed(&self, expected: &'static str, range: &Range) -> Read<Vec<Self>> {
        let fields = self.children(expected)?;
        match fields.iter().find(|field| !range.has(field.name.len() as u64)) {
            None => Ok(fields),
            Some(field) => Err(field.out_of(range, words::say(Unit::Bytes, field.name.len() as u64))),
        }
    }

    fn children(&self, expected: &'static str) -> Read<Vec<Self>> {
        let Value::Table(entries) = &self.node.value else { return Err(self.other_type(expected)) };
        Ok(entries.iter().map(|entry| self.child(entry)).collect())
    }

    /// A table whose keys are names of things.
    pub(super) fn named(&self, expected: &'static str) -> Read<Vec<Self>> {
        let fields = self.children(expected)?;
        match fields.iter().find(|field| !Name::is_valid(field.name)) {
            None => Ok(fields),
            Some(field) => {
                let given = format!("{:?}", field.name);
                Err(field.wrong(ConfigProblem::Name { given, bytes_max: Name::BYTES_MAX }))
            }
        }
    }

    /// A table of these fields and no others.
    pub(super) fn table(self, allowed: &'static [&'static str], expected: &'static str) -> Read<Fields<'d>> {
        let Value::Table(entries) = &self.node.value else { return Err(self.other_type(expected)) };
        match entries.iter().find(|entry| !allowed.contains(&entry.name.as_str())) {
            None => Ok(Fields { of: self, entries }),
            Some(entry) => Err(self.child(entry).wrong(ConfigProblem::UnknownField { allowed })),
        }
    }
}

impl<'d> Fields<'d> {
    pub(super) fn get(&self, name: &str) -> Option<Field<'d>> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| self.of.child(entry))
    }

    /// A number that is there, in its range.
    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str, range: &Range) -> Read<Option<T>> {
        self.get(name).map(|field| field.number(range)).transpose()
    }

    /// The first field that is not one of these.
    pub(super) fn other_than(&self, names: &[&str]) -> Option<Field<'d>> {
        self.entries.iter().find(|entry| !names.contains(&entry.name.as_str())).map(|entry| self.of.child(entry))
    }
}
