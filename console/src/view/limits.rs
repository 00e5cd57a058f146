//! Limits: what may run, and what may start.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass::{Circuit, LimitOf, LimitValues, LimitView as CoreLimit};

use crate::api::change::maybe_object;

/// Whose limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "scope", deny_unknown_fields)]
pub(crate) enum LimitRef {
    /// All of a queue.
    Queue {
        /// The queue.
        name: String,
    },
    /// Each key in a queue that has none of its own.
    EachKey {
        /// The queue.
        name: String,
    },
    /// One key in a queue.
    Key {
        /// The queue.
        name: String,
        /// The key.
        key: String,
    },
    /// All of the queues that share a limit.
    Shared {
        /// The limit's name.
        name: String,
    },
    /// Each key in them that has none of its own.
    SharedEachKey {
        /// The limit's name.
        name: String,
    },
    /// One key in them.
    SharedKey {
        /// The limit's name.
        name: String,
        /// The key.
        key: String,
    },
}

impl From<&LimitOf> for LimitRef {
    fn from(of: &LimitOf) -> Self {
        match of {
            LimitOf::Queue(name) => Self::Queue { name: name.to_string() },
            LimitOf::EachKey(name) => Self::EachKey { name: name.to_string() },
            LimitOf::Key(name, key) => Self::Key { name: name.to_string(), key: key.to_string() },
            LimitOf::Shared(name) => Self::Shared { name: name.to_string() },
            LimitOf::SharedEachKey(name) => Self::SharedEachKey { name: name.to_string() },
            LimitOf::SharedKey(name, key) => Self::SharedKey { name: name.to_string(), key: key.to_string() },
        }
    }
}

impl LimitRef {
    pub(crate) fn to_core(&self) -> LimitOf {
        match self {
            Self::Queue { name } => LimitOf::queue(name),
            Self::EachKey { name } => LimitOf::EachKey(name.as_str().into()),
            Self::Key { name, key } => LimitOf::key(name, key),
            Self::Shared { name } => LimitOf::shared(name),
            Self::SharedEachKey { name } => LimitOf::SharedEachKey(name.as_str().into()),
            Self::SharedKey { name, key } => LimitOf::SharedKey(name.as_str().into(), key.as_str().into()),
        }
    }
}

/// What a limit says. What is absent, it does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitNumbers {
    /// Attempts that may run at once.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) slots: Option<u32>,
    /// Starts in a time.
    #[serde(default, deserialize_with = "maybe_object")]
    pub(crate) rate: Option<RateNumbers>,
    /// Starts in one turn.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) weight: Option<u32>,
}

/// Starts in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateNumbers {
    /// Starts.
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) jobs: u32,
    /// In so many milliseconds.
    pub(crate) period_ms: u64,
    /// At once, after a time with none; 1 unless said.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) burst: Option<u32>,
}

impl From<&LimitValues> for LimitNumbers {
    fn from(values: &LimitValues) -> Self {
        let rate =
            values.rate.map(|rate| RateNumbers { jobs: rate.jobs, period_ms: rate.period_ms, burst: Some(rate.burst) });
        Self { slots: values.slots, rate, weight: values.weight }
    }
}

/// A limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LimitView {
    /// Of what.
    pub(crate) of: LimitRef,
    /// The same as a text.
    pub(crate) name: String,
    /// What the code says.
    pub(crate) configured: LimitNumbers,
    /// What an operator set over it.
    pub(crate) overridden: Option<LimitNumbers>,
    /// Attempts of it that run.
    pub(crate) running: u64,
    /// Where its breaker stands, if it has one: `closed`, `half_open` or `open`.
    pub(crate) breaker: Option<&'static str>,
    /// An open breaker lets some try after so many milliseconds.
    pub(crate) breaker_left_ms: Option<u64>,
}

impl From<&CoreLimit> for LimitView {
    fn from(view: &CoreLimit) -> Self {
        Self {
            of: LimitRef::from(&view.of),
            name: view.of.to_string(),
            configured: LimitNumbers::from(&view.configured),
            overridden: view.overridden.as_ref().map(LimitNumbers::from),
            running: view.running,
            breaker: view.circuit.map(circuit_word),
            breaker_left_ms: if let Some(Circuit::Open { left_ms }) = view.circuit { Some(left_ms) } else { None },
        }
    }
}

pub(crate) const fn circuit_word(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed { .. } => "closed",
        Circuit::HalfOpen { .. } => "half_open",
        Circuit::Open { .. } => "open",
    }
}
