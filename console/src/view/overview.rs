//! An engine at a glance, and its queues.

use serde::Serialize;
use utoipa::ToSchema;
use windlass::{Health, JobState, Memory, QueueStats};

use super::When;
use super::limits::circuit_word;
use super::pace::{JournalView, KindView, PaceView};

/// An engine at a glance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// What this is the console of, as the service calls it.
    pub(crate) environment: Option<String>,
    /// How the engine is.
    pub(crate) health: HealthView,
    /// All queues together.
    pub(crate) all: Numbers,
    /// Its queues.
    pub(crate) queues: Vec<QueueView>,
    /// How fast it goes, by queue and kind.
    pub(crate) kinds: Vec<KindView>,
    /// What its memory is used for; absent while it cannot say.
    pub(crate) memory: Option<MemoryView>,
    /// How its journal is; absent while it cannot say.
    pub(crate) journal: Option<JournalView>,
}

/// How an engine is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct HealthView {
    /// A sentence.
    pub(crate) state: String,
    /// Whether jobs are handed out and calls are answered.
    pub(crate) is_serving: bool,
    /// Whether new jobs are accepted.
    pub(crate) accepts_jobs: bool,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: When,
    /// What to do about it.
    pub(crate) what_to_do: String,
    /// What wants looking at besides.
    pub(crate) warnings: Vec<WarningView>,
}

/// Something that wants looking at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct WarningView {
    /// A sentence.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) what_to_do: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: When,
}

impl From<&Health> for HealthView {
    fn from(health: &Health) -> Self {
        let warnings = health.warnings.iter().map(|warning| WarningView {
            text: warning.to_string(),
            what_to_do: warning.what_to_do().to_owned(),
            since: warning.since().into(),
        });
        Self {
            state: health.state.to_string(),
            is_serving: health.is_serving(),
            accepts_jobs: health.accepts_jobs(),
            since: health.since.into(),
            what_to_do: health.state.what_to_do().to_owned(),
            warnings: warnings.collect(),
        }
    }
}

/// The numbers of a queue, or of all of them. All are counters: no job is counted for them.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Numbers {
    /// Jobs that wait for others to let go of their keys, or for steps before them.
    pub(crate) waiting: u64,
    /// Jobs that wait for their time.
    pub(crate) delayed: u64,
    /// Jobs that wait for a worker.
    pub(crate) ready: u64,
    /// Jobs that run.
    pub(crate) running: u64,
    /// Jobs that wait for a build with their handler or queue.
    pub(crate) parked: u64,
    /// Retained successes.
    pub(crate) done: u64,
    /// Retained dead letters.
    pub(crate) dead: u64,
    /// Retained cancelled jobs.
    pub(crate) cancelled: u64,
    /// Retained expired jobs.
    pub(crate) expired: u64,
    /// Attempts that may run at once.
    pub(crate) slots: u64,
    /// For how long the oldest ready job has been ready, in milliseconds.
    pub(crate) oldest_ready_ms: u64,
    /// Jobs that succeeded in the last 60 seconds.
    pub(crate) done_last_minute: u64,
    /// Attempts that failed in the last 60 seconds.
    pub(crate) failed_last_minute: u64,
    /// Callers that wait for room.
    pub(crate) waiting_callers: u64,
    /// Jobs ever enqueued.
    pub(crate) enqueued_total: u64,
    /// Attempts ever started.
    pub(crate) attempts_total: u64,
    /// Jobs that ever succeeded.
    pub(crate) done_total: u64,
    /// Attempts that ever failed.
    pub(crate) failures_total: u64,
    /// Failures after which another attempt followed.
    pub(crate) retries_total: u64,
    /// Jobs that ever became dead letters.
    pub(crate) dead_total: u64,
    /// Attempts whose process died.
    pub(crate) lost_total: u64,
}

impl Numbers {
    /// Jobs in a state, those that are retained among them.
    pub(crate) const fn in_state(&self, state: JobState) -> u64 {
        match state {
            JobState::Waiting => self.waiting,
            JobState::Delayed => self.delayed,
            JobState::Ready => self.ready,
            JobState::Running => self.running,
            JobState::Parked => self.parked,
            JobState::Done => self.done,
            JobState::Dead => self.dead,
            JobState::Cancelled => self.cancelled,
            JobState::Expired => self.expired,
        }
    }

    /// Jobs that have not ended.
    #[must_use]
    pub(crate) const fn live(&self) -> u64 {
        self.waiting + self.delayed + self.ready + self.running + self.parked
    }

    /// What tells a moment from the next.
    pub(crate) const fn told(&self) -> [u64; 16] {
        [
            self.waiting,
            self.delayed,
            self.ready,
            self.running,
            self.parked,
            self.done,
            self.dead,
            self.cancelled,
            self.expired,
            self.slots,
            self.done_last_minute,
            self.failed_last_minute,
            self.waiting_callers,
            self.enqueued_total,
            self.attempts_total,
            self.failures_total,
        ]
    }

    fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.delayed += other.delayed;
        self.ready += other.ready;
        self.running += other.running;
        self.parked += other.parked;
        self.done += other.done;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.slots += other.slots;
        self.oldest_ready_ms = self.oldest_ready_ms.max(other.oldest_ready_ms);
        self.done_last_minute += other.done_last_minute;
        self.failed_last_minute += other.failed_last_minute;
        self.waiting_callers += other.waiting_callers;
        self.enqueued_total += other.enqueued_total;
        self.attempts_total += other.attempts_total;
        self.done_total += other.done_total;
        self.failures_total += other.failures_total;
        self.retries_total += other.retries_total;
        self.dead_total += other.dead_total;
        self.lost_total += other.lost_total;
    }

    /// Of all of them.
    #[must_use]
    pub(crate) fn sum(queues: &[QueueView]) -> Self {
        let mut sum = Self::default();
        for queue in queues {
            sum.add(&queue.numbers);
        }
        sum
    }
}

/// A queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Its name.
    pub(crate) name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub(crate) numbers: Numbers,
    /// Whether it is paused.
    pub(crate) is_paused: bool,
    /// How long a ready job may wait, in milliseconds, as the queue promises.
    pub(crate) start_within_ms: Option<u64>,
    /// Whether one has waited longer.
    pub(crate) is_late: bool,
    /// Jobs that may wait.
    pub(crate) depth_max: u64,
    /// Where its breaker stands, if it has one: `closed`, `half_open` or `open`.
    pub(crate) breaker: Option<&'static str>,
    /// How fast it goes; absent where nothing has started since the console looked first.
    pub(crate) pace: Option<PaceView>,
}

impl From<&QueueStats> for QueueView {
    fn from(stats: &QueueStats) -> Self {
        let totals = &stats.totals;
        let numbers = Numbers {
            waiting: stats.waiting,
            delayed: stats.delayed,
            ready: stats.ready,
            running: stats.running,
            parked: stats.parked,
            done: stats.done,
            dead: stats.dead,
            cancelled: stats.cancelled,
            expired: stats.expired,
            slots: stats.slots.into(),
            oldest_ready_ms: stats.oldest_ready_ms.unwrap_or_default(),
            done_last_minute: stats.done_last_minute,
            failed_last_minute: stats.failed_last_minute,
            waiting_callers: stats.waiting_callers as u64,
            enqueued_total: totals.enqueued,
            attempts_total: totals.attempts,
            done_total: totals.done_total,
            failures_total: totals.failures,
            retries_total: totals.retries,
            dead_total: totals.dead_total,
            lost_total: totals.lost,
        };
        Self {
            name: stats.queue.to_string(),
            numbers,
            is_paused: stats.paused,
            start_within_ms: stats.start_within_ms,
            is_late: stats.is_late,
            depth_max: stats.depth_max,
            breaker: stats.circuit.map(circuit_word),
            pace: None,
        }
    }
}

/// What an engine's memory is used for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MemoryView {
    /// Bytes in use.
    pub(crate) used_bytes: u64,
    /// Bytes that all of it may take.
    pub(crate) bytes_max: u64,
    /// Jobs whose payloads are on disk only.
    pub(crate) paged_out: u64,
    /// Bytes of what the journal caches.
    pub(crate) journal_cache_bytes: u64,
    /// Bytes of what the journal buffers.
    pub(crate) journal_buffers_bytes: u64,
}

impl From<&Memory> for MemoryView {
    fn from(memory: &Memory) -> Self {
        Self {
            used_bytes: memory.used_bytes(),
            bytes_max: memory.bytes_max,
            paged_out: memory.paged_out,
            journal_cache_bytes: memory.journal_cache_bytes,
            journal_buffers_bytes: memory.journal_buffers_bytes,
        }
    }
}
