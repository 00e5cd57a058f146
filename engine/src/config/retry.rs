//! When a failed job runs again, as a user says it.
//!
//! Owns the words; the arithmetic is the core's, so that a replay gives the same delays.

use std::time::Duration;

use windlass_scheduler::retry::{Backoff, RetryPolicy as CorePolicy};

use super::ms;
use super::range::{ATTEMPTS, DELAY, JITTER, in_range};
use crate::error::ConfigError;

/// No delay is longer, unless said: 2 h.
pub(super) const CAP_MS: u64 = 7_200_000;

/// Whether, and after which delay, a failed job runs again.
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

    /// One delay a failure, and dead after the failure that has none left: three delays mean four attempts.
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

    /// Dead after this many failures; 0 counts as 1.
    #[must_use]
    pub const fn attempts(mut self, attempts_max: u32) -> Self {
        self.core.attempts_max = if attempts_max == 0 { 1 } else { attempts_max };
        self
    }

    /// Vary every delay by up to this share, in percent; more than 100 counts as 100.
    #[must_use]
    pub const fn jitter_percent(mut self, percent: u8) -> Self {
        self.core.jitter_percent = if percent > 100 { 100 } else { percent };
        self
    }

    /// The delay after the failure with this number (from 1) of this job, or `None` where the job is dead.
    #[must_use]
    pub fn delay(&self, failures: u32, id: windlass_scheduler::job::JobId) -> Option<Duration> {
        self.core.delay_ms(failures, id).map(Duration::from_millis)
    }

    #[cfg(feature = "config-file")]
    pub(super) const fn core(&self) -> &CorePolicy {
        &self.core
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

/// The first delay and the cap over it, where there is one.
pub(super) const fn first_and_cap(policy: &CorePolicy) -> Option<(u64, u64)> {
    match policy.backoff {
        Backoff::Exponential { first_ms, cap_ms } | Backoff::Linear { first_ms, cap_ms, .. } => {
            Some((first_ms, cap_ms))
        }
        Backoff::Fixed { .. } | Backoff::List { .. } => None,
    }
}

/// Whether a policy of this queue or kind can be.
pub(super) fn check(what: &'static str, name: &str, policy: &CorePolicy) -> Result<(), ConfigError> {
    let numbers = [(ATTEMPTS, u64::from(policy.attempts_max)), (JITTER, u64::from(policy.jitter_percent))];
    in_range(what, name, &numbers)?;
    let delays: &[u64] = match &policy.backoff {
        Backoff::Fixed { delay_ms } => &[*delay_ms],
        Backoff::Linear { first_ms, step_ms, cap_ms } => &[*first_ms, *step_ms, *cap_ms],
        Backoff::Exponential { first_ms, cap_ms } => &[*first_ms, *cap_ms],
        Backoff::List { delays_ms } => delays_ms,
    };
    for delay in delays {
        in_range(what, name, &[(DELAY, *delay)])?;
    }
    match first_and_cap(policy) {
        Some((first_ms, cap_ms)) if first_ms > cap_ms => {
            Err(ConfigError::FirstOverCap { what, name: name.to_owned(), first_ms, cap_ms })
        }
        _ => Ok(()),
    }
}
