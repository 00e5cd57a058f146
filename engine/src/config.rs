//! What a user sets: queues, kinds, retries, retention. Every limit has its unit in its name, a default that is safe, and a
//! reason.
//!
//! Owns the checks: what leaves here as settings of the core is sound, whether it came from code or from a file. Never acts
//! on it.
//!
//! # In code
//!
//! ```
//! use windlass::{Engine, MIN, Priority, QueueConfig, RetryPolicy, SEC};
//!
//! let mails = QueueConfig::new("critical-email").priority(Priority::URGENT).start_within(SEC * 30);
//! let config = Engine::builder()
//!     .queue(mails.retry(RetryPolicy::exponential(SEC).cap(MIN).attempts(8)))
//!     .effective_config()?;
//! assert_eq!(config.queue_names().collect::<Vec<_>>(), ["critical-email"]);
//! # Ok::<(), windlass::ConfigError>(())
//! ```

mod breaker;
#[cfg(feature = "config-file")]
pub(crate) mod file;
mod kind;
mod limit;
mod queue;
mod rate;
mod retention;
mod retry;
mod whole;

use std::time::Duration;

pub use breaker::CircuitBreaker;
pub use kind::KindConfig;
pub use limit::{Limit, SharedLimit};
pub use queue::QueueConfig;
pub use rate::RateLimit;
pub use retention::Retention;
pub(crate) use retry::check_of_job;
pub use retry::{RetryDecision, RetryPolicy};
pub(crate) use whole::Plan;
pub use whole::{ConfigPlace, EngineConfig};

/// One second, for durations that read well: `SEC * 2`.
pub const SEC: Duration = Duration::from_secs(1);
/// One minute.
pub const MIN: Duration = Duration::from_secs(60);
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Milliseconds of a duration, begun ones as whole ones: nothing is over too soon. What is longer than the clock is as long
/// as the clock.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
