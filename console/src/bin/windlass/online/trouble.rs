//! What can go wrong between this program and a console.
//!
//! Owns the words: what, where, and what to do. What a console says comes from jobs in part, and is made harmless.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::plain::one_line;

/// Why a console did not answer with what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// What was given is no address of a console.
    #[error("`{at}` is no address of a console: {why}. One looks like http://127.0.0.1:8090/console")]
    Address {
        /// What was given.
        at: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody is there.
    #[error(
        "no console can be reached at {at}: {why}. Is the service running, and is this its address? `--at` or WINDLASS_URL says another"
    )]
    Unreachable {
        /// Where.
        at: String,
        /// As the system says.
        why: String,
    },
    /// It takes too long.
    #[error(
        "{at} did not answer within {} s: `--timeout` allows more. What was asked for may have been done", within.as_secs()
    )]
    Late {
        /// Where.
        at: String,
        /// What it was given.
        within: Duration,
    },
    /// Something else is there.
    #[error(
        "what answers at {at} is no console: {what}. Give the address with the prefix under which the service mounts it, by `--at` or \
         WINDLASS_URL; one that `windlass console` serves has no prefix"
    )]
    Other {
        /// Where.
        at: String,
        /// What it answered.
        what: String,
    },
    /// The console says no.
    #[error("{0}")]
    Refused(Refusal),
}

/// What a console says when it does not do as asked: RFC 9457.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    title: String,
    detail: String,
    /// A token was given.
    #[serde(skip)]
    pub(crate) had_token: bool,
    /// Something was to be changed.
    #[serde(skip)]
    pub(crate) is_change: bool,
}

impl Refusal {
    /// What to do, where the console cannot know it.
    const fn advice(&self) -> Option<&'static str> {
        match (self.status, self.had_token, self.is_change) {
            (401, false, _) => Some(
                "put a reader's token into WINDLASS_TOKEN or a file for `--token-file`, an operator's to change something",
            ),
            (401, true, _) => Some(
                "the token that was given (WINDLASS_TOKEN, or the file of `--token-file`) is not one of this console's",
            ),
            (403, _, true) => Some("it takes the token of an operator who may do this"),
            (403, _, false) => Some("looking takes a reader of this console"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.title), one_line(&self.detail))?;
        match self.advice() {
            Some(advice) => write!(f, ". {advice}"),
            None => Ok(()),
        }
    }
}
