//! What the attempts of one job do, one after the other, as a test says it.
//!
//! Owns the words, and which outcome an engine would be given for each. Never decides what comes of it.

use std::fmt;
use std::time::Duration;

use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::lease::StopReason;

use super::words::Time;
use crate::error::JobError;

/// What stands for an error where a script says no text.
const TEXT: &str = "as the script says";

/// How one attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Play {
    /// The handler succeeds.
    Succeed,
    /// The handler returns an error, and leaves the rest to the rules.
    Fail,
    /// As [`Fail`](Self::Fail), with this text: for a [`Job::retry`](crate::Job::retry) that reads it.
    FailWith(String),
    /// The handler panics.
    Panic,
    /// Its time is over.
    TimeOut,
    /// The handler says [`JobError::permanent`](crate::JobError::permanent).
    Permanent,
    /// The handler says [`JobError::retry_after`](crate::JobError::retry_after).
    RetryAfter(Duration),
    /// The handler says [`JobError::snooze`](crate::JobError::snooze).
    Snooze(Duration),
    /// The handler says [`JobError::cancel`](crate::JobError::cancel).
    Cancel,
    /// The process dies under it, and is there again at once.
    Lost,
}

impl Play {
    /// Whether the policy counts it.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Fail | Self::FailWith(_) | Self::Panic | Self::TimeOut | Self::Permanent | Self::RetryAfter(_) => {
                true
            }
            Self::Succeed | Self::Snooze(_) | Self::Cancel | Self::Lost => false,
        }
    }

    /// What an attempt's guard would be handed, and who had asked for its end; `None` where no guard is left.
    pub(super) fn outcome(&self) -> Option<(Option<StopReason>, Outcome)> {
        let outcome = match self {
            Self::Succeed => Outcome::Done { output: Output::None, follow_ups: Vec::new() },
            Self::Fail => JobError::from(TEXT).into_outcome(),
            Self::FailWith(text) => JobError::from(text.as_str()).into_outcome(),
            Self::Panic => {
                let failure = Failure::new(FailureKind::Panic, TEXT.to_owned());
                Outcome::Failed { failure, retry: Retry::ByPolicy }
            }
            Self::TimeOut => return Some((Some(StopReason::TimedOut), Outcome::Released)),
            Self::Permanent => JobError::permanent(TEXT).into_outcome(),
            Self::RetryAfter(delay) => JobError::retry_after(*delay, TEXT).into_outcome(),
            Self::Snooze(delay) => JobError::snooze(*delay).into_outcome(),
            Self::Cancel => JobError::cancel(TEXT).into_outcome(),
            Self::Lost => return None,
        };
        Some((None, outcome))
    }
}

impl fmt::Display for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeed => f.write_str("success"),
            Self::Fail => f.write_str("error"),
            Self::FailWith(text) => write!(f, "error: {text}"),
            Self::Panic => f.write_str("panic"),
            Self::TimeOut => f.write_str("time-out"),
            Self::Permanent => f.write_str("permanent error"),
            Self::RetryAfter(delay) => write!(f, "retry after {}", Time(*delay)),
            Self::Snooze(delay) => write!(f, "snooze for {}", Time(*delay)),
            Self::Cancel => f.write_str("called off"),
            Self::Lost => f.write_str("lost with its process"),
        }
    }
}

/// What the attempts of one job do: first the plays in their order, then the same for ever.
///
/// ```
/// use windlass::testing::{Play, Script};
///
/// let twice = Script::from(2); // two errors, then a success
/// assert_eq!(twice, Script::from([Play::Fail, Play::Fail]));
/// let down = Script::from([Play::TimeOut]).then(Play::Fail); // never comes back
/// assert_eq!((down.play(0), down.play(99)), (&Play::TimeOut, &Play::Fail));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    plays: Vec<Play>,
    then: Play,
}

impl Script {
    /// Every attempt goes so.
    #[must_use]
    pub const fn always(play: Play) -> Self {
        Self { plays: Vec::new(), then: play }
    }

    /// What all attempts do that come after the script's own; a success unless said.
    #[must_use]
    pub fn then(mut self, play: Play) -> Self {
        self.then = play;
        self
    }

    /// How the attempt goes before which there were so many.
    #[must_use]
    pub fn play(&self, attempts_before: usize) -> &Play {
        self.plays.get(attempts_before).unwrap_or(&self.then)
    }

    /// The plays before those that go on for ever.
    #[must_use]
    pub fn plays(&self) -> &[Play] {
        &self.plays
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for play in &self.plays {
            write!(f, "{play}, ")?;
        }
        write!(f, "{} ever after", self.then)
    }
}

impl From<Vec<Play>> for Script {
    fn from(plays: Vec<Play>) -> Self {
        Self { plays, then: Play::Succeed }
    }
}

impl From<&[Play]> for Script {
    fn from(plays: &[Play]) -> Self {
        plays.to_vec().into()
    }
}

impl<const N: usize> From<[Play; N]> for Script {
    fn from(plays: [Play; N]) -> Self {
        Vec::from(plays).into()
    }
}

impl From<u32> for Script {
    /// So many errors, then a success.
    fn from(failures: u32) -> Self {
        vec![Play::Fail; failures as usize].into()
    }
}

impl From<&Self> for Script {
    fn from(script: &Self) -> Self {
        script.clone()
    }
}
