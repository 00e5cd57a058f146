//! What can be seen of jobs and queues from outside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;
use windlass_scheduler::attempt::Failure;
use windlass_scheduler::change::{AttemptRecord, EndedRecord};
use windlass_scheduler::job::{JobId, Priority};
use windlass_scheduler::state::State;
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::view::{JobView, Why};

/// One job, live or retained. It may show what is not yet durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: State,
    /// How urgent it is.
    pub priority: Priority,
    /// Attempts started so far.
    pub attempts: u32,
    /// Failures that count for its retry policy.
    pub failures: u32,
    /// Attempts whose process died, since the last that ended.
    pub lost: u32,
    /// When it was accepted.
    pub created: SystemTime,
    /// Until when it is delayed.
    pub due: Option<SystemTime>,
    /// From when on it is no longer started.
    pub expires: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// Why it is dead, or how its last attempt ended before it was cancelled.
    pub failure: Option<Failure>,
    /// What its running attempt said last of how far it is.
    pub progress: Option<Value>,
    /// Whether someone asked its running attempt to end.
    pub cancel_requested: bool,
    /// Why it is not running, where it is live.
    pub why: Option<Why>,
}

/// A dead letter in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Attempts started.
    pub attempts: u32,
    /// When it was accepted.
    pub created: SystemTime,
    /// When it died.
    pub died: SystemTime,
    /// What it died of.
    pub failure: Option<Failure>,
    /// Its place in the list: pass it on as the cursor for what comes after.
    pub cursor: u64,
}

/// A dead letter with everything that is kept of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetterDetail {
    /// The dead letter.
    pub letter: DeadLetter,
    /// Its payload as it was enqueued.
    pub payload: Bytes,
    /// Its payload's schema version.
    pub version: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// How its attempts ended: the first and the last 20.
    pub attempts: Vec<AttemptEnd>,
}

/// How one attempt ended without success.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttemptEnd {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it was started.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Why it failed.
    pub failure: Failure,
}

/// A moment of the core as one of the system.
pub(crate) fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(at.0)).unwrap_or(UNIX_EPOCH)
}

impl JobStatus {
    pub(crate) fn live(view: &JobView, progress: Option<Value>) -> Self {
        Self {
            id: view.id,
            kind: view.kind.to_string(),
            queue: view.queue.to_string(),
            state: view.state,
            priority: view.priority,
            attempts: view.attempts,
            failures: view.failures,
            lost: view.lost,
            created: time(view.created),
            due: view.due.map(time),
            expires: view.expires.map(time),
            ended: None,
            failure: None,
            progress,
            cancel_requested: view.cancel_requested,
            why: Some(view.why),
        }
    }

    pub(crate) fn ended(record: EndedRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind.to_string(),
            queue: record.key.queue.to_string(),
            state: record.key.state.into(),
            priority: record.head.priority,
            attempts: record.head.attempts_ended,
            failures: record.head.failures,
            lost: record.head.lost,
            created: time(record.head.created),
            due: None,
            expires: record.head.expires.map(time),
            ended: Some(time(record.at)),
            failure: record.failure,
            progress: None,
            cancel_requested: record.head.cancel_requested,
            why: None,
        }
    }
}

impl From<EndedRecord> for DeadLetter {
    fn from(record: EndedRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind.to_string(),
            queue: record.key.queue.to_string(),
            attempts: record.head.attempts_ended,
            created: time(record.head.created),
            died: time(record.at),
            failure: record.failure,
            cursor: record.key.end_no,
        }
    }
}

impl From<AttemptRecord> for AttemptEnd {
    fn from(record: AttemptRecord) -> Self {
        Self {
            attempt: record.attempt,
            started: time(record.started),
            ended: time(record.ended),
            failure: record.failure,
        }
    }
}
