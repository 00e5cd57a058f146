//! When a failed job runs again, as a user says it.
//!
//! Owns the words; the arithmetic is the core's, so that a replay gives the same delays.

use std::time::Duration;

use windlass_scheduler::retry::{Backoff, RetryPolicy as CorePolicy};

use super::ms;
use crate::error::{ConfigError, OutOfRange};
use crate::range::{ATTEMPTS, DELAY, DELAYS, JITTER, Range, in_range};

/// No delay is longer, unless said: 2 h.
pub(super) const CAP_MS: u64 = 7_200_000;

/// Whether, and after which delay, a failed job runs again.
///
/// Numbers out of their range are refused where the policy is used: at the start, or when its job is enqueued.
///
/// The default retries after about 2 s, doubles up to 2 h, and gives up after 20 failures: about 16 hours. Every delay is
/// varied by up to 10 % by a hash of job and failure, so that jobs that failed together do not come back together, and
/// a replay gives the same delays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    core: CorePolicy,
}

impl RetryPolicy {
    /// `first`, twice that, four times and so on: cap it with [`cap`](Self::cap) (2 h unless said, and not below `first`).
    #[must_use]
    pub fn exponential(first: Duration) -> Self {
        Self::with(Backoff::Exponential { first_ms: ms(first), cap_ms: CAP_MS })
    }

    /// `first`, then `step` more after every failure: cap it with [`cap`](Self::cap) (2 h unless said, and not below
    /// `first`).
    #[must_use]
    pub fn linear(first: Duration, step: Duration) -> Self {
        Self::with(Backoff::Linear { first_ms: ms(first), step_ms: ms(step), cap_ms: CAP_MS })
    }

    /// The same delay after every failure.
    #[must_use]
    pub fn fixed(delay: Duration) -> Self {
        Self::with(Backoff::Fixed { delay_ms: ms(delay) })
    }

    /// One delay a failure, and dead after the failure that has none left: three delays mean four attempts. Up to 1,000. With
    /// more [`attempts`](Self::attempts) the last one repeats.
    #[must_use]
    pub fn list(delays: &[Duration]) -> Self {
        let delays_ms = delays.iter().map(|delay| ms(*delay)).collect();
        let attempts_max = u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { core: CorePolicy { attempts_max, ..Self::with(Backoff::List { delays_ms }).core } }
    }

    /// No retry: the first failure is the last.
    #[must_use]
    pub fn never() -> Self {
        Self::fixed(Duration::ZERO).attempts(1)
    }

    fn with(backoff: Backoff) -> Self {
        Self { core: CorePolicy { backoff, ..CorePolicy::default() } }
    }

    /// No delay is longer. Only exponential and linear delays grow; the others stay as they are.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        match &mut self.core.backoff {
            Backoff::Exponential { cap_ms, .. } | Backoff::Linear { cap_ms, .. } => *cap_ms = ms(cap),
            Backoff::Fixed { .. } | Backoff::List { .. } => {}
        }
        self
    }

    /// Dead after this many failures, at least 1.
    #[must_use]
    pub const fn attempts(mut self, attempts_max: u32) -> Self {
        self.core.attempts_max = attempts_max;
        self
    }

    /// Vary every delay by up to this share, in percent, 0 to 100.
    #[must_use]
    pub const fn jitter_percent(mut self, percent: u8) -> Self {
        self.core.jitter_percent = percent;
        self
    }

    /// The delay after the failure with this number (from 1) of this job, or `None` where the job is dead.
    #[must_use]
    pub fn delay(&self, failures: u32, id: windlass_scheduler::job::JobId) -> Option<Duration> {
        self.core.delay_ms(failures, id).map(Duration::from_millis)
    }

    #[cfg(any(feature = "config-file", feature = "testing"))]
    pub(crate) const fn core(&self) -> &CorePolicy {
        &self.core
    }

    #[cfg(feature = "testing")]
    pub(crate) const fn from_core(core: CorePolicy) -> Self {
        Self { core }
    }

    pub(crate) fn into_core(self) -> CorePolicy {
        self.core
    }
}

/// What a kind's own rule says of a failed attempt: see [`Job::retry`](crate::Job::retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// What the job's or its queue's policy says.
    ByPolicy,
    /// After this time, unless the policy's attempts are used up.
    After(Duration),
    /// Nothing: the job is dead.
    Never,
}

/// The first delay and the cap, where the cap would never let it happen.
pub(super) const fn first_over_cap(policy: &CorePolicy) -> Option<(u64, u64)> {
    match policy.backoff {
        Backoff::Exponential { first_ms, cap_ms } | Backoff::Linear { first_ms, cap_ms, .. } if first_ms > cap_ms => {
            Some((first_ms, cap_ms))
        }
        _ => None,
    }
}

/// What a policy says, each with how far it may go.
fn values(policy: &CorePolicy) -> Vec<(Range, u64)> {
    let mut values = vec![(ATTEMPTS, u64::from(policy.attempts_max)), (JITTER, u64::from(policy.jitter_percent))];
    let delays: &[u64] = match &policy.backoff {
        Backoff::Fixed { delay_ms } => &[*delay_ms],
        Backoff::Linear { first_ms, step_ms, cap_ms } => &[*first_ms, *step_ms, *cap_ms],
        Backoff::Exponential { first_ms, cap_ms } => &[*first_ms, *cap_ms],
        Backoff::List { delays_ms } => {
            values.push((DELAYS, delays_ms.len() as u64));
            delays_ms
        }
    };
    values.extend(delays.iter().map(|delay| (DELAY, *delay)));
    values
}

/// Whether a policy of this queue or kind can be.
pub(super) fn check(what: &'static str, name: &str, policy: &CorePolicy) -> Result<(), ConfigError> {
    in_range(what, name, &values(policy))?;
    match first_over_cap(policy) {
        Some((first_ms, cap_ms)) => Err(ConfigError::FirstOverCap { what, name: name.to_owned(), first_ms, cap_ms }),
        None => Ok(()),
    }
}

/// Whether a policy that a job brings can be.
pub(crate) fn check_of_job(policy: &CorePolicy) -> Result<(), OutOfRange> {
    values(policy).iter().try_for_each(|(range, value)| range.check(*value))?;
    match first_over_cap(policy) {
        Some((value, max)) => Err(OutOfRange { what: "first retry delay in ms, up to its cap", value, min: 0, max }),
        None => Ok(()),
    }
}
