//! Limits of what may run: how many attempts at once, and how many starts in a time; of a queue, of several together, and of each key.
//!
//! Owns the words. A job over a limit steps aside: nobody waits behind it, and it comes back the moment it may.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

use crate::breaker::{Breaker, Circuit};
use crate::job::Name;
use crate::rate::Rate;

/// What a job says about limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose job it is: keys of one queue take turns, and may have limits of their own. 1 to [`Self::KEY_BYTES_MAX`] bytes.
    pub key: Option<Arc<str>>,
    /// How many starts each of its starts counts for in a rate. 1 to [`Self::WEIGHT_MAX`].
    pub weight: u32,
}

impl Share {
    /// The longest key in bytes: it stands in memory with every job that has it.
    pub const KEY_BYTES_MAX: usize = 128;
    /// The heaviest job: a thousand of a rate's starts.
    pub const WEIGHT_MAX: u32 = 1_000;
    /// Of a job that says nothing.
    pub const NONE: Self = Self { key: None, weight: 1 };
}

impl Default for Share {
    fn default() -> Self {
        Self::NONE
    }
}

/// How many attempts may run at once, how many may start in a time, and when none may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Attempts at once; `None`: any number. 0 holds up everything.
    pub slots: Option<u32>,
    /// Starts in a time; `None`: any number.
    pub rate: Option<Rate>,
    /// When nothing more may start, since most attempts fail; `None`: never.
    pub breaker: Option<Breaker>,
}

impl Limit {
    /// None at all.
    pub const NONE: Self = Self { slots: None, rate: None, breaker: None };

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.slots.is_none() && self.rate.is_none() && self.breaker.is_none()
    }
}

/// The limits of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Of every key that has none of its own.
    pub each: Limit,
    /// Of these.
    pub of: BTreeMap<Box<str>, Limit>,
}

impl KeyLimits {
    /// Of this key.
    #[must_use]
    pub fn of(&self, key: &str) -> Limit {
        self.of.get(key).copied().unwrap_or(self.each)
    }
}

/// Whose turn it is, of queues that share a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Draw {
    /// Each has as many starts in its turn as its weight says.
    #[default]
    Weighted,
    /// The one that was configured first, as long as it has something that may go.
    Strict,
}

/// A limit of several queues together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimit {
    /// Its name.
    pub name: Name,
    /// Of all their jobs.
    pub all: Limit,
    /// Of those of one key, in all of them.
    pub keys: KeyLimits,
    /// Whose turn it is where it is the limit that decides.
    pub draw: Draw,
}

/// What a limit is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitOf {
    /// All of a queue.
    Queue(Name),
    /// Each key in a queue that has none of its own.
    EachKey(Name),
    /// One key in a queue.
    Key(Name, Box<str>),
    /// All of the queues that share a limit.
    Shared(Name),
    /// Each key in them that has none of its own.
    SharedEachKey(Name),
    /// One key in them.
    SharedKey(Name, Box<str>),
}

impl LimitOf {
    /// All of a queue.
    #[must_use]
    pub fn queue(queue: &str) -> Self {
        Self::Queue(Name::from(queue))
    }

    /// Each key in a queue that has none of its own.
    #[must_use]
    pub fn each_key(queue: &str) -> Self {
        Self::EachKey(Name::from(queue))
    }

    /// One key in a queue.
    #[must_use]
    pub fn key(queue: &str, key: &str) -> Self {
        Self::Key(Name::from(queue), key.into())
    }

    /// All of the queues that share this limit.
    #[must_use]
    pub fn shared(limit: &str) -> Self {
        Self::Shared(Name::from(limit))
    }

    /// Each key in them that has none of its own.
    #[must_use]
    pub fn shared_each_key(limit: &str) -> Self {
        Self::SharedEachKey(Name::from(limit))
    }

    /// One key in them.
    #[must_use]
    pub fn shared_key(limit: &str, key: &str) -> Self {
        Self::SharedKey(Name::from(limit), key.into())
    }
}

impl fmt::Display for LimitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue `{queue}`"),
            Self::EachKey(queue) => write!(f, "each key of queue `{queue}`"),
            Self::Key(queue, key) => write!(f, "key `{key}` of queue `{queue}`"),
            Self::Shared(limit) => write!(f, "shared limit `{limit}`"),
            Self::SharedEachKey(limit) => write!(f, "each key of shared limit `{limit}`"),
            Self::SharedKey(limit, key) => write!(f, "key `{key}` of shared limit `{limit}`"),
        }
    }
}

/// What an operator set over what the code says; what is `None` stays the code's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Attempts at once.
    pub slots: Option<u32>,
    /// Starts in a time.
    pub rate: Option<Rate>,
    /// Starts in one turn: of a key in its queue, or of a queue among those that it shares a limit with.
    pub weight: Option<u32>,
}

impl Override {
    /// A limit with this over it.
    #[must_use]
    pub fn over(&self, limit: Limit) -> Limit {
        Limit { slots: self.slots.or(limit.slots), rate: self.rate.or(limit.rate), ..limit }
    }
}

/// A limit as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// Of what.
    pub of: LimitOf,
    /// What the code says.
    pub configured: Override,
    /// What an operator set over it.
    pub overridden: Option<Override>,
    /// Attempts of it that run; of each key: of all that have no limit of their own, none.
    pub running: u64,
    /// Where its breaker stands, if it has one.
    pub circuit: Option<Circuit>,
}
