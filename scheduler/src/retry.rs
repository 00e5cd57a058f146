//! When a failed job runs again: a pure function of (policy, failure number, job id).
//!
//! Owns the arithmetic of retries. Never draws a random number: jitter is a hash of job and failure, so that a replay
//! gives the same delays, and two jobs that failed together still part.

use alloc::sync::Arc;

use crate::attempt::{Outcome, Retry};
use crate::bug;
use crate::job::JobId;

/// How the delay grows from one failure to the next. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backoff {
    /// The same delay after every failure.
    Fixed {
        /// The delay.
        delay_ms: u64,
    },
    /// `first`, then `first + step`, `first + 2 * step` and so on, up to `cap`.
    Linear {
        /// The delay after the first failure.
        first_ms: u64,
        /// What every further failure adds.
        step_ms: u64,
        /// No delay is longer.
        cap_ms: u64,
    },
    /// `first`, then twice, four times and so on, up to `cap`.
    Exponential {
        /// The delay after the first failure.
        first_ms: u64,
        /// No delay is longer.
        cap_ms: u64,
    },
    /// One delay a failure; the last one repeats.
    List {
        /// The delays; an empty list means no delay.
        delays_ms: Arc<[u64]>,
    },
}

/// Whether, and after which delay, a failed job runs again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RetryPolicy {
    /// How the delay grows.
    pub backoff: Backoff,
    /// Failures after which the job is dead; at least 1. Lost, snoozed and released attempts do not count.
    pub attempts_max: u32,
    /// Up to this share of the delay (in percent, 0 to 100) is taken off or added, by hash.
    pub jitter_percent: u8,
}

impl Default for RetryPolicy {
    /// About 2 s after the first failure, doubling, at most 2 h apart, 20 attempts: about 16 hours.
    fn default() -> Self {
        Self {
            backoff: Backoff::Exponential { first_ms: 2_000, cap_ms: 7_200_000 },
            attempts_max: 20,
            jitter_percent: 10,
        }
    }
}

/// What the end of an attempt means for its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has succeeded.
    Done,
    /// It was called off.
    Cancelled,
    /// It has failed, and is not tried again.
    Dead,
    /// It has failed, and runs again after this many milliseconds.
    Retried {
        /// The delay.
        delay_ms: u64,
    },
    /// It runs again after this many milliseconds, and that was no failure.
    Snoozed {
        /// The delay.
        delay_ms: u64,
    },
    /// It goes back to its place in the line, and that was no failure.
    GivenBack,
}

impl RetryPolicy {
    /// What the end of an attempt means for its job, which had so many failures before. Where someone had cancelled the
    /// job, only a success still counts: that is for whoever knows of it.
    #[must_use]
    pub fn verdict(&self, outcome: &Outcome, failures_before: u32, id: JobId) -> Verdict {
        match outcome {
            Outcome::Done { .. } => Verdict::Done,
            Outcome::Failed { retry, .. } => {
                let by_policy = self.delay_ms(failures_before.saturating_add(1), id);
                match (retry, by_policy) {
                    (Retry::Never, _) | (_, None) => Verdict::Dead,
                    (Retry::ByPolicy, Some(delay_ms)) => Verdict::Retried { delay_ms },
                    (Retry::After(delay_ms), Some(_)) => Verdict::Retried { delay_ms: *delay_ms },
                }
            }
            Outcome::Snoozed { delay_ms } => Verdict::Snoozed { delay_ms: *delay_ms },
            Outcome::Cancelled { .. } => Verdict::Cancelled,
            Outcome::Released => Verdict::GivenBack,
        }
    }

    /// The delay in milliseconds after the failure with this number (from 1), or `None` where the job is dead.
    #[must_use]
    pub fn delay_ms(&self, failures: u32, id: JobId) -> Option<u64> {
        (failures < self.attempts_max || bug!(RetryForever))
            .then(|| self.jittered(self.backoff.delay_ms(failures), failures, id))
    }

    /// The shortest and the longest delay in milliseconds that any job gets after the failure with this number (from 1), or
    /// `None` where the job is dead.
    #[must_use]
    pub fn delay_bounds_ms(&self, failures: u32) -> Option<(u64, u64)> {
        (failures < self.attempts_max).then(|| {
            let delay_ms = u128::from(self.backoff.delay_ms(failures));
            let span = self.span(delay_ms);
            let of = |ms: u128| u64::try_from(ms).unwrap_or(u64::MAX);
            (of(delay_ms - span), of(delay_ms + span))
        })
    }

    /// How far jitter moves a delay, up and down. In 128 bits, so that the longest delay neither overflows nor loses its
    /// jitter.
    fn span(&self, delay_ms: u128) -> u128 {
        delay_ms * u128::from(self.jitter_percent.min(100)) / 100
    }

    fn jittered(&self, delay_ms: u64, failures: u32, id: JobId) -> u64 {
        let span = self.span(u128::from(delay_ms));
        if span == 0 {
            return delay_ms;
        }
        let span = if bug!(JitterUnbounded) { u128::from(delay_ms) } else { span };
        let offset = u128::from(mix(id, failures)) % (2 * span + 1);
        u64::try_from(u128::from(delay_ms) - span + offset).unwrap_or(u64::MAX)
    }
}

/// Whether a job is what kills its process, if it is alone in being suspected: so many attempts in a row were lost, the
/// last one included, and so many are too many.
#[must_use]
pub const fn is_killer(lost: u32, lost_max: u32) -> bool {
    lost >= lost_max && is_suspect(lost.saturating_sub(1))
}

/// Whether a job that was lost so often in a row may be what kills the process.
pub(crate) const fn is_suspect(lost: u32) -> bool {
    lost >= 2
}

impl Backoff {
    /// The delay in milliseconds after the failure with this number (from 1), before jitter.
    #[must_use]
    pub fn delay_ms(&self, failures: u32) -> u64 {
        let earlier = failures.saturating_sub(1);
        match self {
            Self::Fixed { delay_ms } => *delay_ms,
            Self::Linear { first_ms, step_ms, cap_ms } => {
                first_ms.saturating_add(step_ms.saturating_mul(u64::from(earlier))).min(*cap_ms)
            }
            Self::Exponential { first_ms, cap_ms } => {
                let factor = 1_u64.checked_shl(earlier).unwrap_or(u64::MAX);
                first_ms.saturating_mul(factor).min(if bug!(BackoffUncapped) { u64::MAX } else { *cap_ms })
            }
            Self::List { delays_ms } => {
                let last = delays_ms.len().saturating_sub(1);
                delays_ms.get((earlier as usize).min(last)).copied().unwrap_or(0)
            }
        }
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014) over the id's halves and the failure's number.
fn mix(id: JobId, failures: u32) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    let mut z = high ^ low.rotate_left(32) ^ u64::from(failures).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ID: JobId = JobId(Uuid::from_u128(7));

    fn exact(backoff: Backoff) -> RetryPolicy {
        RetryPolicy { backoff, attempts_max: 100, jitter_percent: 0 }
    }

    #[test]
    fn exponential_doubles_up_to_its_cap_and_never_overflows() {
        let policy = exact(Backoff::Exponential { first_ms: 2_000, cap_ms: 7_200_000 });
        let delays = [1, 2, 3, 12, 13, 99].map(|n| policy.delay_ms(n, ID));
        assert_eq!(delays, [2_000, 4_000, 8_000, 4_096_000, 7_200_000, 7_200_000].map(Some));
        let policy = RetryPolicy { attempts_max: u32::MAX, ..policy };
        assert_eq!(policy.delay_ms(u32::MAX - 1, ID), Some(7_200_000));
    }

    #[test]
    fn a_list_repeats_its_last_delay_and_an_empty_one_has_none() {
        let policy = exact(Backoff::List { delays_ms: Arc::from([30, 120]) });
        assert_eq!([1, 2, 3].map(|n| policy.delay_ms(n, ID)), [Some(30), Some(120), Some(120)]);
        assert_eq!(exact(Backoff::List { delays_ms: Arc::from([]) }).delay_ms(1, ID), Some(0));
    }

    #[test]
    fn the_failure_that_uses_up_the_attempts_has_no_delay() {
        let policy = RetryPolicy { attempts_max: 3, ..exact(Backoff::Fixed { delay_ms: 5 }) };
        assert_eq!([1, 2, 3, 4].map(|n| policy.delay_ms(n, ID)), [Some(5), Some(5), None, None]);
    }

    #[test]
    fn jitter_stays_within_its_share_replays_and_parts_jobs() {
        let policy = RetryPolicy { jitter_percent: 10, ..exact(Backoff::Fixed { delay_ms: 1_000 }) };
        let delays: alloc::vec::Vec<_> =
            (0..100).map(|n| policy.delay_ms(1, JobId(Uuid::from_u128(n))).unwrap_or(0)).collect();
        assert!(delays.iter().all(|d| (900..=1_100).contains(d)), "{delays:?}");
        assert!(delays.iter().any(|d| d != &delays[0]), "all jobs got the same delay");
        assert_eq!(policy.delay_ms(1, ID), policy.delay_ms(1, ID));
    }

    #[test]
    fn the_bounds_of_a_delay_are_met_and_never_left() {
        for (delay_ms, percent) in [(0, 10), (5, 100), (9, 10), (37, 33), (u64::MAX, 100)] {
            let policy = RetryPolicy { jitter_percent: percent, ..exact(Backoff::Fixed { delay_ms }) };
            let (min, max) = policy.delay_bounds_ms(1).unwrap_or_default();
            let delays: alloc::vec::Vec<_> =
                (0..2_000).filter_map(|n| policy.delay_ms(1, JobId(Uuid::from_u128(n)))).collect();
            assert!(delays.iter().all(|delay| (min..=max).contains(delay)), "{delay_ms} ms, {percent} %");
            if delay_ms < 100 {
                let met = (delays.iter().min().copied(), delays.iter().max().copied());
                assert_eq!(met, (Some(min), Some(max)), "{delay_ms} ms, {percent} %");
            }
        }
        assert_eq!(exact(Backoff::Fixed { delay_ms: 5 }).delay_bounds_ms(100), None);
    }

    #[test]
    fn the_default_takes_about_a_day() {
        let policy = RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() };
        let total_h: u64 = (1..20).filter_map(|n| policy.delay_ms(n, ID)).sum::<u64>() / 3_600_000;
        assert!((14..=26).contains(&total_h), "{total_h} h");
    }
}
