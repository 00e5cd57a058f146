//! A rate, as a user says it.
//!
//! Owns what makes one sound. How starts are counted is the core's: see [`windlass_scheduler::rate`].

use std::time::Duration;

use windlass_scheduler::rate::Rate;

use super::ms;
use crate::range::{self, Range};

/// So many starts of attempts in a time, retries among them. Beyond it jobs stay in line, nobody is refused, and slots stay free.
///
/// One after the other at even distances, unless a [`burst`](Self::burst) may come at once: `RateLimit::new(50, SEC)` is a start each 20 ms.
/// In any such time there are at most `jobs + burst - 1` starts, and one more on its edge.
///
/// A process begins with nothing in hand, as if a whole burst had just been started: what an earlier one has started before it died,
/// nobody has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub(crate) core: Rate,
}

impl RateLimit {
    /// So many starts in this time, in whole milliseconds.
    #[must_use]
    pub fn new(jobs: u32, per: Duration) -> Self {
        Self { core: Rate { jobs, period_ms: ms(per), burst: 1 } }
    }

    /// So many of them may come at once after a time with none; 1 unless said.
    #[must_use]
    pub const fn burst(mut self, jobs: u32) -> Self {
        self.core.burst = jobs;
        self
    }
}

/// What there is to check.
pub(super) fn values(rate: Option<Rate>) -> [(Range, u64); 3] {
    let rate = rate.unwrap_or(Rate { jobs: 1, period_ms: 1, burst: 1 });
    [
        (range::RATE_JOBS, u64::from(rate.jobs)),
        (range::RATE_PERIOD, rate.period_ms),
        (range::RATE_BURST, u64::from(rate.burst)),
    ]
}
