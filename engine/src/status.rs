//! What can be seen of jobs and queues from outside.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;
use windlass_scheduler::attempt::{AttemptLog, AttemptResult, Failure, Output};
use windlass_scheduler::change::{AttemptRecord, EndedRecord};
use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::{Body, InstantOf, JobId, Labels, Priority};
use windlass_scheduler::state::State;
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::view::{JobView, Why};

use crate::filter::Cursor;

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
    /// From when on no attempt of it goes on.
    pub deadline: Option<SystemTime>,
    /// When its running attempt started.
    pub started: Option<SystemTime>,
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

/// A part of a list of jobs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobStatus>,
    /// Where to go on: `None` at the end.
    pub next: Option<Cursor>,
}

/// A job with all that is kept of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobDetail {
    /// What a list shows.
    pub status: JobStatus,
    /// Its payload as it was enqueued, or edited since.
    pub payload: Bytes,
    /// Its payload's schema version.
    pub version: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its W3C trace context.
    pub trace_context: Option<String>,
    /// The instant of a schedule that it is there for.
    pub scheduled_for: Option<ScheduledFor>,
    /// The flow that it is of.
    pub part_of: Option<PartOfFlow>,
    /// The text of the key under which it is, or was, [unique](crate::Unique).
    pub unique_key: Option<String>,
    /// Whose job it is: its [limit key](crate::Enqueue::limit_key).
    pub limit_key: Option<String>,
    /// How many starts each of its starts counts for in a rate.
    pub weight: u32,
    /// How its attempts ended that failed or left a log: the first and the last 20.
    pub attempts: Vec<AttemptEnd>,
    /// What the attempt that runs has logged so far, where a layer keeps that (`AttemptLogLayer`).
    pub running_log: Option<Arc<AttemptLog>>,
    /// What its success left, as JSON.
    pub output: Option<Bytes>,
}

impl JobDetail {
    pub(crate) fn new(status: JobStatus, body: &Body, attempts: Vec<AttemptEnd>, output: Output) -> Self {
        Self {
            status,
            payload: body.payload.clone(),
            version: body.version,
            tags: body.labels.tags().to_vec(),
            correlation_id: body.labels.correlation_id().map(str::to_owned),
            trace_context: body.labels.trace().map(str::to_owned),
            scheduled_for: body.labels.instant().map(ScheduledFor::from),
            part_of: PartOfFlow::of(&body.labels),
            unique_key: body.labels.unique().map(|unique| unique.key.text.to_string()),
            limit_key: body.labels.share().key.as_deref().map(str::to_owned),
            weight: body.labels.share().weight,
            attempts,
            running_log: None,
            output: if let Output::Bytes(bytes) = output { Some(bytes) } else { None },
        }
    }
}

/// The instant of a schedule that a job is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduledFor {
    /// The name of the schedule, which may have been removed since.
    pub schedule: String,
    /// The instant; for a job that somebody [asked for beside them](crate::Engine::run_schedule), when that was.
    pub instant: SystemTime,
}

impl From<&InstantOf> for ScheduledFor {
    fn from(of: &InstantOf) -> Self {
        Self { schedule: of.schedule.to_string(), instant: time(of.at) }
    }
}

/// The flow that a job is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartOfFlow {
    /// The flow, which may have been forgotten since.
    pub flow: FlowId,
    /// The step that the job is, or the batch that it is one of: its place in [`FlowStatus::steps`](crate::FlowStatus::steps).
    pub step: usize,
    /// It is one of a batch's jobs.
    pub is_of_batch: bool,
}

impl PartOfFlow {
    fn of(labels: &Labels) -> Option<Self> {
        let (of, is_of_batch) = match (labels.step(), labels.member()) {
            (Some(of), _) => (of, false),
            (None, Some(member)) => (member.of, true),
            (None, None) => return None,
        };
        Some(Self { flow: of.flow, step: of.no as usize, is_of_batch })
    }
}

/// How one attempt ended that failed or left a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttemptEnd {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it was started.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// How it ended.
    pub result: AttemptResult,
    /// What it logged, where a layer keeps that (`AttemptLogLayer`): its last lines.
    pub log: Option<Arc<AttemptLog>>,
}

impl AttemptEnd {
    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.result.failure()
    }
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
            deadline: view.deadline.map(time),
            started: view.started.map(time),
            ended: None,
            failure: None,
            progress,
            cancel_requested: view.cancel_requested,
            why: Some(view.why.clone()),
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
            deadline: record.head.deadline.map(time),
            started: None,
            ended: Some(time(record.at)),
            failure: record.failure,
            progress: None,
            cancel_requested: record.head.cancel_requested,
            why: None,
        }
    }
}

impl From<AttemptRecord> for AttemptEnd {
    fn from(record: AttemptRecord) -> Self {
        Self {
            attempt: record.attempt,
            started: time(record.started),
            ended: time(record.ended),
            result: record.result,
            log: record.log,
        }
    }
}
