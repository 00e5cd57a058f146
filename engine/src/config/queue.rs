//! One queue, as a user says it.
//!
//! Owns what makes a queue's settings sound. Never looks at other queues: names that stand twice are seen where all come together.

use std::time::Duration;

use windlass_scheduler::job::{Name, Priority};
use windlass_scheduler::settings::{Level, QueueSettings, WhenFull};

use super::breaker::{self, CircuitBreaker};
use super::limit::{self, Limit};
use super::rate::{self, RateLimit};
use super::retention::{self, Retention};
use super::retry::{self, RetryPolicy};
use super::{SEC, ms};
use crate::error::ConfigError;
use crate::range::{self, in_range};

/// One queue: a workload with its own concurrency, urgency, patience and durability.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueConfig {
    pub(crate) settings: QueueSettings,
    pub(crate) abort_after: Duration,
    name: String,
}

impl QueueConfig {
    /// A queue with the defaults: 16 attempts at once, `Durable`, a million jobs deep, refusing when full, no attempt
    /// timeout, payloads up to 256 KiB, outputs up to 64 KiB.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { settings: QueueSettings::new(Name::from(name)), abort_after: SEC * 10, name: name.to_owned() }
    }

    /// How many attempts may run at once.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.settings.slots = attempts;
        self
    }

    /// How many attempts may be started in a time, over and above [`concurrency`](Self::concurrency). Unset: as many as there are.
    #[must_use]
    pub const fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.settings.rate = Some(limit.core);
        self
    }

    /// When most attempts fail, nothing more of this queue is started for a while. Unset: never.
    #[must_use]
    pub const fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.settings.breaker = Some(breaker.core);
        self
    }

    /// Of a hundred starts at most so many are retries, as long as there is a job that has not failed and may go: so that an outage does not
    /// hold up what comes in after it. Where there is none, retries have all slots. Unset: they stand in line with the others; 0 to 100.
    #[must_use]
    pub const fn retry_budget_percent(mut self, percent: u8) -> Self {
        self.settings.retry_budget_percent = Some(percent);
        self
    }

    /// The limit of each [key](crate::Enqueue::limit_key) in this queue. What is over it steps aside, and nobody waits behind it.
    #[must_use]
    pub const fn per_key(mut self, limit: Limit) -> Self {
        self.settings.keys.each = limit.core;
        self
    }

    /// The limit of this key, instead of that of each.
    #[must_use]
    pub fn key(mut self, key: &str, limit: Limit) -> Self {
        self.settings.keys.of.insert(key.into(), limit.core);
        self
    }

    /// How many jobs of this key start in each of its turns; 1 unless said, up to 1,000.
    #[must_use]
    pub fn key_weight(mut self, key: &str, starts: u32) -> Self {
        self.settings.key_weights.insert(key.into(), starts);
        self
    }

    /// A [limit](crate::SharedLimit) that it shares with other queues, by name; up to 8 of them.
    #[must_use]
    pub fn shares(mut self, limit: &str) -> Self {
        self.settings.shares.push(Name::from(limit));
        self
    }

    /// How many jobs start in each turn of this queue, where it shares a limit; 1 unless said.
    #[must_use]
    pub const fn share_weight(mut self, starts: u32) -> Self {
        self.settings.share_weight = starts;
        self
    }

    /// The priority of jobs that state none.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.settings.priority = priority;
        self
    }

    /// A ready job that has waited for so long goes before all that have not, whatever its priority and whoever's turn it is, and the one that
    /// has waited longest first: so that no priority waits for ever. Unset: never; 1 ms to 36,500 days.
    #[must_use]
    pub fn ages_after(mut self, time: Duration) -> Self {
        self.settings.ages_after_ms = Some(ms(time));
        self
    }

    /// The retry policy of jobs that bring none, looked up at each failure: a changed one counts for waiting jobs too.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = policy.into_core();
        self
    }

    /// How long an attempt may run before it is cancelled. Unset: for ever.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_ms = Some(ms(timeout));
        self
    }

    /// How long after its cancellation an async attempt is dropped, in whole milliseconds; 10 s unless said. Blocking code
    /// cannot be dropped: it keeps its slot until it ends.
    #[must_use]
    pub fn abort_after(mut self, grace: Duration) -> Self {
        self.abort_after = Duration::from_millis(ms(grace));
        self
    }

    /// How long a ready job may wait before the queue counts as late: a promise to those who look, told by
    /// [`QueueStats::is_late`](crate::QueueStats::is_late). It changes nothing in what runs when. Unset: nothing is promised.
    #[must_use]
    pub fn start_within(mut self, promise: Duration) -> Self {
        self.settings.start_within_ms = Some(ms(promise));
        self
    }

    /// What `Ok` means: named by what it loses.
    #[must_use]
    pub const fn durability(mut self, level: Level) -> Self {
        self.settings.level = level;
        self
    }

    /// How many jobs may wait before new ones are refused.
    #[must_use]
    pub const fn depth_max(mut self, jobs: u64) -> Self {
        self.settings.depth_max = jobs;
        self
    }

    /// Lets up to so many callers wait for room in the full queue, instead of refusing them.
    #[must_use]
    pub const fn wait_when_full(mut self, waiters_max: usize) -> Self {
        self.settings.when_full = WhenFull::Wait { waiters_max };
        self
    }

    /// The largest payload, tags and labels included, in bytes. A larger one is refused.
    #[must_use]
    pub const fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.payload_bytes_max = bytes;
        self
    }

    /// The largest output in bytes. A larger one is not kept; its job is done all the same.
    #[must_use]
    pub const fn result_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.result_bytes_max = bytes;
        self
    }

    /// What is retained of jobs that ended.
    #[must_use]
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.settings.retention = retention.core;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !Name::is_valid(&self.name) {
            return Err(ConfigError::Name { what: "queue", name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        let settings = &self.settings;
        let waiters_max = match settings.when_full {
            WhenFull::Refuse => range::WAITERS.min,
            WhenFull::Wait { waiters_max } => waiters_max as u64,
        };
        let values = [
            (range::CONCURRENCY, u64::from(settings.slots)),
            (range::DEPTH, settings.depth_max),
            (range::WAITERS, waiters_max),
            (range::PAYLOAD, settings.payload_bytes_max as u64),
            (range::RESULT, settings.result_bytes_max as u64),
            (range::TIMEOUT, settings.timeout_ms.unwrap_or(range::TIMEOUT.min)),
            (range::START_WITHIN, settings.start_within_ms.unwrap_or(range::START_WITHIN.min)),
            (range::AGES_AFTER, settings.ages_after_ms.unwrap_or(range::AGES_AFTER.min)),
            (range::ABORT_AFTER, ms(self.abort_after)),
            (range::SHARES, settings.shares.len() as u64),
            (range::SHARE_WEIGHT, u64::from(settings.share_weight)),
            (range::KEYS, settings.key_weights.len() as u64),
            (range::RETRY_BUDGET, u64::from(settings.retry_budget_percent.unwrap_or_default())),
        ];
        in_range("queue", &self.name, &values)?;
        in_range("queue", &self.name, &rate::values(settings.rate))?;
        in_range("queue", &self.name, &breaker::values(settings.breaker))?;
        limit::check_keys("queue", &self.name, &settings.keys)?;
        for (key, weight) in &settings.key_weights {
            let values = [(range::LIMIT_KEY, key.len() as u64), (range::KEY_WEIGHT, u64::from(*weight))];
            in_range("queue", &self.name, &values)?;
        }
        in_range("queue", &self.name, &retention::values(&settings.retention))?;
        retry::check("queue", &self.name, &settings.retry)
    }
}
