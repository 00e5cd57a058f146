//! A circuit breaker, as a user says it.
//!
//! Owns what makes one sound. When it opens and closes is the core's: see [`windlass_scheduler::breaker`].

use std::time::Duration;

use windlass_scheduler::breaker::Breaker;

use super::ms;
use crate::range::{self, Range};

/// When most attempts fail nothing more is started, for a while; then a few attempts may try, and if they succeed, all is as before.
/// Of a [queue](crate::QueueConfig::circuit_breaker), of [each key](crate::Limit::circuit_breaker) in it, or of
/// [several queues together](crate::SharedLimit::circuit_breaker). Meanwhile jobs stay in line: no attempt of theirs is used up, nobody is
/// refused.
///
/// It opens once so many of the last attempts failed: with an error, a panic or a timeout. What says nothing about the world outside does not
/// count: a permanent failure, a payload that cannot be decoded, a snooze, a cancellation.
///
/// ```
/// # use windlass::{CircuitBreaker, MIN, QueueConfig, SEC};
/// // Ten of the last twenty failed: nothing for 30 s, then three may try. If one of them fails: nothing for a minute, and so on up to ten.
/// let breaker = CircuitBreaker::new(10, 20).pause(SEC * 30).pause_max(MIN * 10).probes(3);
/// let calls = QueueConfig::new("partner").circuit_breaker(breaker);
/// ```
///
/// A process begins with closed breakers. What failed is forgotten when a breaker has heard nothing for its longest pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    pub(crate) core: Breaker,
}

impl CircuitBreaker {
    /// Opens once so many (1 to 1,000) of so many last attempts (as many to 1,000) failed; those that there were not yet count as successes.
    /// Then it is open for 30 s, up to 10 min where it opens again and again, and one attempt tries.
    #[must_use]
    pub const fn new(failures: u32, of_attempts: u32) -> Self {
        let (pause_ms, pause_ms_max) = (30_000, 600_000);
        Self { core: Breaker { failures, attempts: of_attempts, pause_ms, pause_ms_max, probes: 1 } }
    }

    /// For how long it is open before some may try; 30 s unless said, in whole milliseconds.
    #[must_use]
    pub fn pause(mut self, time: Duration) -> Self {
        self.core.pause_ms = ms(time);
        self.core.pause_ms_max = self.core.pause_ms_max.max(self.core.pause_ms);
        self
    }

    /// Each time that one of those who try fails, it is open for twice as long as before, up to this; 10 min unless said, and not less than
    /// [`pause`](Self::pause).
    #[must_use]
    pub fn pause_max(mut self, time: Duration) -> Self {
        self.core.pause_ms_max = ms(time);
        self
    }

    /// So many may try, and have to succeed; 1 unless said, up to 1,000.
    #[must_use]
    pub const fn probes(mut self, attempts: u32) -> Self {
        self.core.probes = attempts;
        self
    }
}

/// What there is to check.
pub(super) fn values(breaker: Option<Breaker>) -> [(Range, u64); 5] {
    let one = Breaker { failures: 1, attempts: 1, pause_ms: 1, pause_ms_max: 1, probes: 1 };
    let Breaker { failures, attempts, pause_ms, pause_ms_max, probes } = breaker.unwrap_or(one);
    [
        (range::BREAKER_FAILURES, u64::from(failures)),
        (Range { min: u64::from(failures), ..range::BREAKER_ATTEMPTS }, u64::from(attempts)),
        (range::BREAKER_PAUSE, pause_ms),
        (Range { min: pause_ms, ..range::BREAKER_PAUSE_MAX }, pause_ms_max),
        (range::BREAKER_PROBES, u64::from(probes)),
    ]
}
