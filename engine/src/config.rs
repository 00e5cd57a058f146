//! What a user sets: queues, retries, retention. Every limit has its unit in its name, a default that is safe, and a reason.
//!
//! Owns the checks: what leaves here as settings of the core is sound. Never reads files (that is a later release's).

use std::time::Duration;

use windlass_scheduler::job::{Name, Priority};
use windlass_scheduler::retry::{Backoff, RetryPolicy as CorePolicy};
use windlass_scheduler::settings::{
    Keep, KeepDone, KindSettings, Level, QueueSettings, Retention as CoreRetention, WhenFull,
};

use crate::error::ConfigError;

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
    /// `first`, twice that, four times and so on: cap it with [`cap`](Self::cap) (2 h unless said).
    #[must_use]
    pub fn exponential(first: Duration) -> Self {
        Self::with(Backoff::Exponential { first_ms: ms(first), cap_ms: 7_200_000 })
    }

    /// `first`, then `step` more after every failure: cap it with [`cap`](Self::cap) (2 h unless said).
    #[must_use]
    pub fn linear(first: Duration, step: Duration) -> Self {
        Self::with(Backoff::Linear { first_ms: ms(first), step_ms: ms(step), cap_ms: 7_200_000 })
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

/// What a queue retains of the jobs that ended. Whichever limit is met first counts; nothing grows for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    core: CoreRetention,
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

/// One queue: a workload with its own concurrency, urgency, patience and durability.
#[derive(Clone, Debug)]
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

    /// The priority of jobs that state none.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.settings.priority = priority;
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

    /// How long after its cancellation an async attempt is dropped; 10 s unless said. Blocking code cannot be dropped: it
    /// keeps its slot until it ends.
    #[must_use]
    pub const fn abort_after(mut self, grace: Duration) -> Self {
        self.abort_after = grace;
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

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !Name::is_valid(&self.name) {
            return Err(ConfigError::Name { what: "queue", name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        let settings = &self.settings;
        let ranges = [
            ("concurrency", u64::from(settings.slots), 1, CONCURRENCY_MAX),
            ("depth_max", settings.depth_max, 1, u64::from(u32::MAX)),
            ("payload_bytes_max", settings.payload_bytes_max as u64, 1, 16 << 20),
            ("result_bytes_max", settings.result_bytes_max as u64, 0, 16 << 20),
            ("attempt_timeout in ms", settings.timeout_ms.unwrap_or(1), 1, TIMEOUT_MS_MAX),
        ];
        in_range("queue", &self.name, &ranges)
    }
}

/// What the jobs of one kind go by instead of what their queue says, in whichever queue they are: before the queue's settings,
/// and after what the job itself was given.
#[derive(Clone, Debug)]
pub struct KindConfig {
    pub(crate) settings: KindSettings,
    pub(crate) queue: Option<String>,
    name: String,
}

impl KindConfig {
    /// A kind that goes by its queue's settings so far.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { settings: KindSettings::new(Name::from(kind)), queue: None, name: kind.to_owned() }
    }

    /// How many attempts of the kind may run at once, over all queues; unset: as many as their queues let. What has to wait
    /// for it is in nobody's way.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.settings.slots = Some(attempts);
        self
    }

    /// The queue that its jobs go to unless they are told otherwise, instead of [`Job::QUEUE`](crate::Job::QUEUE).
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// The retry policy of its jobs that bring none, looked up at each failure.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = Some(policy.into_core());
        self
    }

    /// How long an attempt may run before it is cancelled.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_ms = Some(ms(timeout));
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !Name::is_valid(&self.name) {
            return Err(ConfigError::Name { what: "kind", name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        let ranges = [
            ("concurrency", u64::from(self.settings.slots.unwrap_or(1)), 1, CONCURRENCY_MAX),
            ("attempt_timeout in ms", self.settings.timeout_ms.unwrap_or(1), 1, TIMEOUT_MS_MAX),
        ];
        in_range("kind", &self.name, &ranges)
    }
}

/// More attempts at once than a process has any use for.
const CONCURRENCY_MAX: u64 = 100_000;
/// So far that no clock overflows.
const TIMEOUT_MS_MAX: u64 = u64::MAX / 4;

/// Checks settings: the field, its value, the least and the most allowed.
fn in_range(what: &'static str, name: &str, ranges: &[(&'static str, u64, u64, u64)]) -> Result<(), ConfigError> {
    match ranges.iter().find(|(_, value, min, max)| value < min || value > max) {
        None => Ok(()),
        Some(&(field, value, min, max)) => {
            Err(ConfigError::Range { what, name: name.to_owned(), field, value, min, max })
        }
    }
}
