//! What is kept of jobs that ended, as a user says it.
//!
//! Owns the words; what is thrown away, and when, is the core's to decide.

use std::time::Duration;

use windlass_scheduler::settings::{Keep, KeepDone, Retention as CoreRetention};

use super::ms;
use crate::range::{KEEP_DEAD, KEEP_DONE, KEEP_DROPPED, Range};

/// What a queue retains of the jobs that ended. Whichever limit is met first counts; nothing grows for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    pub(super) core: CoreRetention,
}

impl Retention {
    /// Which successes are kept: all (the default), those with an output, or none.
    #[must_use]
    pub const fn keep_done(mut self, keep: KeepDone) -> Self {
        self.core.keep_done = keep;
        self
    }

    /// Limits for successes; a day, 10,000 and 64 MiB unless said.
    #[must_use]
    pub fn done(mut self, age: Duration, count_max: u64, bytes_max: u64) -> Self {
        self.core.done = Keep { age_ms: ms(age), count_max, bytes_max };
        self
    }

    /// Limits for dead letters; 30 days, 100,000 and 256 MiB unless said.
    #[must_use]
    pub fn dead(mut self, age: Duration, count_max: u64, bytes_max: u64) -> Self {
        self.core.dead = Keep { age_ms: ms(age), count_max, bytes_max };
        self
    }

    /// Limits for cancelled and for expired jobs, each; a day, 10,000 and 64 MiB unless said.
    #[must_use]
    pub fn dropped(mut self, age: Duration, count_max: u64, bytes_max: u64) -> Self {
        self.core.dropped = Keep { age_ms: ms(age), count_max, bytes_max };
        self
    }
}

/// What is set, each with how far it may go.
pub(super) fn values(retention: &CoreRetention) -> [(Range, u64); 9] {
    let CoreRetention { done, dead, dropped, .. } = retention;
    [
        (KEEP_DONE.age, done.age_ms),
        (KEEP_DONE.count, done.count_max),
        (KEEP_DONE.bytes, done.bytes_max),
        (KEEP_DEAD.age, dead.age_ms),
        (KEEP_DEAD.count, dead.count_max),
        (KEEP_DEAD.bytes, dead.bytes_max),
        (KEEP_DROPPED.age, dropped.age_ms),
        (KEEP_DROPPED.count, dropped.count_max),
        (KEEP_DROPPED.bytes, dropped.bytes_max),
    ]
}
