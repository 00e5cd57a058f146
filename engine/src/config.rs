//! What a user sets: queues, retries, retention. Every limit has its unit in its name, a default that is safe, and a reason.
//!
//! Owns the checks: what leaves here as settings of the core is sound. Never reads files (that is a later release's).

mod kind;
mod queue;
mod range;
mod retention;
mod retry;

use std::time::Duration;

pub use kind::KindConfig;
pub use queue::QueueConfig;
pub use retention::Retention;
pub use retry::{RetryDecision, RetryPolicy};

/// One second, for durations that read well: `SEC * 2`.
pub const SEC: Duration = Duration::from_secs(1);
/// One minute.
pub const MIN: Duration = Duration::from_secs(60);
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Milliseconds of a duration; what is longer than the clock is as long as the clock.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
