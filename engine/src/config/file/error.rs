//! What can be wrong with a configuration that was read. Each says where, which field, what stood there, what may, and what
//! to do.

use std::fmt::{self, Write};

use crate::config::ConfigPlace;

/// A configuration that was read and cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {}", .problem.sentence(.field))]
#[non_exhaustive]
pub struct ConfigFileError {
    /// Where.
    pub place: ConfigPlace,
    /// The path of the field, such as `queues.critical-email.concurrency`; empty where it is about the whole.
    pub field: String,
    /// What is wrong.
    #[source]
    pub problem: Box<ConfigProblem>,
}

/// What is wrong with a field, or with all of it. What was `given` stands as it was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The file is not there, or cannot be read.
    Read(std::io::Error),
    /// The file's name does not say what it is.
    Extension {
        /// What it ends with.
        given: String,
    },
    /// The file is too large to be a configuration.
    TooLarge {
        /// The most allowed, in bytes.
        bytes_max: u64,
    },
    /// The file is no text.
    NotUtf8,
    /// Nothing is said.
    Empty,
    /// Neither TOML nor JSON.
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A field that there is not.
    UnknownField {
        /// Those that there are.
        allowed: &'static [&'static str],
    },
    /// A value of another sort.
    Type {
        /// What stands there.
        given: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A word that there is not.
    Word {
        /// What stands there.
        given: String,
        /// Those that there are.
        allowed: Vec<&'static str>,
    },
    /// A number alone, where it has to say of what.
    BareNumber {
        /// What stands there.
        given: String,
        /// How it may be meant.
        examples: [String; 2],
    },
    /// No duration.
    Duration {
        /// What stands there.
        given: String,
        /// Why not.
        reason: String,
    },
    /// No size.
    Size {
        /// What stands there.
        given: String,
        /// Why not.
        reason: String,
    },
    /// A number out of its range.
    Range {
        /// What stands there.
        given: String,
        /// The least allowed, in words.
        min: String,
        /// The most allowed, in words.
        max: String,
    },
    /// A name that keys cannot carry.
    Name {
        /// What stands there.
        given: String,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
    /// A field that has to be there.
    Missing {
        /// Its name.
        field: &'static str,
        /// What asks for it.
        because: String,
    },
    /// A field that does not go with another.
    Unfit {
        /// With what.
        with: String,
        /// What goes with that.
        allowed: &'static [&'static str],
    },
    /// A first delay that its cap never lets happen.
    FirstOverCap {
        /// The first delay.
        first: String,
        /// The cap.
        cap: String,
    },
}

/// The sentence without the field, for those who print causes: the whole stands in [`ConfigFileError`].
impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence("it"))
    }
}

impl std::error::Error for ConfigProblem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            _ => None,
        }
    }
}

impl ConfigFileError {
    pub(super) fn new(place: ConfigPlace, field: String, problem: ConfigProblem) -> Self {
        Self { place, field, problem: Box::new(problem) }
    }
}

impl ConfigProblem {
    fn sentence(&self, field: &str) -> String {
        match self {
            Self::Read(error) => format!("it cannot be read ({error}): correct the path, or the file's permissions"),
            Self::Extension { given } => {
                format!("its name ends with `{given}`: `toml` and `json` are known; name the file by what is in it")
            }
            Self::TooLarge { bytes_max } => format!("it has more than {bytes_max} bytes: this is another file"),
            Self::NotUtf8 => "it is not UTF-8: store it as UTF-8 text".to_owned(),
            Self::Empty => "it says nothing: add at least one queue, such as `queues.mail`, or give no file".to_owned(),
            Self::Syntax { message } => format!("it cannot be parsed: {message}"),
            Self::UnknownField { allowed } => {
                format!("there is no field `{field}`: correct the name, or take it out; allowed are {}", list(allowed))
            }
            Self::Type { given, expected } => format!("`{field}` is {given}: {expected} is expected"),
            Self::Word { given, allowed } => format!("`{field}` is {given}: allowed are {}", list(allowed)),
            Self::BareNumber { given, examples: [one, other] } => {
                format!("`{field}` is {given}, and a number does not say of what: write \"{one}\" or \"{other}\"")
            }
            Self::Duration { given, reason } => {
                format!("`{field}` is {given}, no duration ({reason}): write it like \"500ms\", \"30s\" or \"2h 30m\"")
            }
            Self::Size { given, reason } => {
                format!("`{field}` is {given}, no size ({reason}): write it like \"512 B\", \"256 KiB\" or \"1 GiB\"")
            }
            Self::Range { given, min, max } => format!("`{field}` is {given}: allowed are {min} to {max}"),
            Self::Name { given, bytes_max } => {
                format!("`{field}` is named {given}: 1 to {bytes_max} letters, digits and `-_.:/` are allowed")
            }
            Self::Missing { field: missing, because } => {
                format!("`{field}` lacks `{missing}`, which {because} needs: add it")
            }
            Self::Unfit { with, allowed } => {
                format!("`{field}` does not go with {with}: take it out; what goes with that is {}", list(allowed))
            }
            Self::FirstOverCap { first, cap } => {
                format!("`{field}` begins with {first}, over its cap of {cap}: lower `first`, or raise `cap`")
            }
        }
    }
}

fn list(words: &[&str]) -> String {
    words.iter().fold(String::new(), |mut list, word| {
        let _ = write!(list, "{}{word}", if list.is_empty() { "" } else { ", " });
        list
    })
}
