//! A text as a tree of values that know where they stand, the same for TOML and JSON.
//!
//! Owns the two parsers. Never knows a field: what may stand where is asked in `read`.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{ConfigFileError, ConfigProblem};
use crate::config::ConfigPlace;

/// What is nested deeper is no configuration, and would only use up the stack.
const DEPTH_MAX: usize = 16;
/// As much of a value is quoted in an error, in characters.
const QUOTED_MAX: usize = 60;

/// A value, and where it stands in the text.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Flag(bool),
    /// Larger ones are as large as it gets, and out of every range.
    Whole(i128),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text.
    Table(Vec<Entry>),
    /// Sorts that no field takes: fractions, dates, nothing.
    Other,
}

/// A field of a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its name stands, or where that is not known, its value.
    pub(super) at: usize,
    pub(super) node: Node,
}

/// A text and its tree.
#[derive(Debug)]
pub(super) struct Document<'a> {
    path: Option<PathBuf>,
    text: &'a str,
    pub(super) root: Node,
}

impl<'a> Document<'a> {
    pub(super) fn toml(path: Option<&Path>, text: &'a str) -> Result<Self, ConfigFileError> {
        let mut document = Self::unread(path, text);
        let parsed = DeTable::parse(document.text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            document.syntax(line, error.message().to_owned())
        })?;
        let span = parsed.span();
        document.root = Node { span, value: of_toml_table(parsed.into_inner()) };
        document.read()
    }

    pub(super) fn json(path: Option<&Path>, text: &'a str) -> Result<Self, ConfigFileError> {
        let mut document = Self::unread(path, text);
        if text.trim().is_empty() {
            return document.read();
        }
        let parsed = serde_json::from_str::<&RawValue>(text)
            .map_err(|error| document.syntax(Some(error.line()), without_place(&error)))?;
        document.root = of_json(text, parsed, DEPTH_MAX).map_err(|(at, message)| {
            let line = line_of(text, at);
            document.syntax(Some(line), message)
        })?;
        document.read()
    }

    fn unread(path: Option<&Path>, text: &'a str) -> Self {
        let root = Node { span: 0..0, value: Value::Table(Vec::new()) };
        Self { path: path.map(Path::to_owned), text, root }
    }

    /// A text that says something.
    fn read(self) -> Result<Self, ConfigFileError> {
        match &self.root.value {
            Value::Table(entries) if entries.is_empty() => {
                Err(ConfigFileError::new(self.place(None), String::new(), ConfigProblem::Empty))
            }
            _ => Ok(self),
        }
    }

    fn syntax(&self, line: Option<usize>, message: String) -> ConfigFileError {
        ConfigFileError::new(self.place(line), String::new(), ConfigProblem::Syntax { message })
    }

    fn place(&self, line: Option<usize>) -> ConfigPlace {
        match &self.path {
            Some(path) => ConfigPlace::File { path: path.clone(), line },
            None => ConfigPlace::Text { line },
        }
    }

    /// The place of what begins at this byte.
    pub(super) fn place_of(&self, at: usize) -> ConfigPlace {
        self.place(Some(line_of(self.text, at)))
    }

    /// A value as it was written, cut where it is long.
    pub(super) fn quote(&self, node: &Node) -> String {
        match &node.value {
            Value::Table(_) => "a table".to_owned(),
            Value::List(_) => "a list".to_owned(),
            _ => {
                let written = self.text.get(node.span.clone()).unwrap_or_default();
                let mut quoted: String = written.chars().take(QUOTED_MAX).collect();
                if quoted.len() < written.len() {
                    quoted.push_str("...");
                }
                quoted
            }
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    line_after(&text.as_bytes()[..at.min(text.len())])
}

/// The line, from 1, of what follows on these bytes.
pub(super) fn line_after(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count()
}

fn of_toml_table(table: DeTable<'_>) -> Value {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(name, value)| {
            let (at, span) = (name.span().start, value.span());
            let node = Node { span, value: of_toml(value.into_inner()) };
            Entry { name: name.into_inner().into_owned(), at, node }
        })
        .collect();
    // The crate sorts them by name.
    entries.sort_by_key(|entry| entry.at);
    Value::Table(entries)
}

/// Its depth is bounded by the parser.
fn of_toml(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Integer(number) => Value::Whole(whole(&number)),
        DeValue::Array(list) => {
            let node =
                |value: toml::Spanned<DeValue<'_>>| Node { span: value.span(), value: of_toml(value.into_inner()) };
            Value::List(list.into_iter().map(node).collect())
        }
        DeValue::Table(table) => of_toml_table(table),
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
    }
}

fn whole(number: &DeInteger<'_>) -> i128 {
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX)
}

/// What a JSON text says, and where; or what is wrong with it, and where.
fn of_json(text: &str, raw: &RawValue, depth_left: usize) -> Result<Node, (usize, String)> {
    let written = raw.get();
    let at = written.as_ptr().addr() - text.as_ptr().addr();
    let wrong = |error: serde_json::Error| (at, without_place(&error));
    let depth_left = depth_left.checked_sub(1).ok_or_else(|| (at, "nested too deep".to_owned()))?;
    let value = match written.as_bytes().first() {
        Some(b'{') => {
            let fields = serde_json::from_str::<Fields<'_>>(written).map_err(wrong)?;
            let entry = |(name, raw): (String, &RawValue)| {
                let node = of_json(text, raw, depth_left)?;
                Ok(Entry { name, at: node.span.start, node })
            };
            Value::Table(fields.0.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let items = serde_json::from_str::<Vec<&RawValue>>(written).map_err(wrong)?;
            Value::List(items.into_iter().map(|raw| of_json(text, raw, depth_left)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(written).map_err(wrong)?),
        Some(b't' | b'f') => Value::Flag(written == "true"),
        Some(b'-' | b'0'..=b'9') if !written.contains(['.', 'e', 'E']) => {
            Value::Whole(written.parse().unwrap_or(i128::MAX))
        }
        _ => Value::Other,
    };
    Ok(Node { span: at..at + written.len(), value })
}

/// The fields of an object, none of them twice.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(serde::de::Error::custom(format_args!("the field `{name}` stands there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// What the parser says, without the line and column of the snippet that it saw.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}
