//! Jobs: in lists, and one with all that is kept of it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use windlass::{AttemptEnd, AttemptLog, Failure, JobDetail, JobPage, JobStatus, LogLine, OrderEnd, OrderStatus, Why};

use super::{When, failure_word};
use crate::redact::Redaction;

/// A part of a list of jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// The jobs.
    pub(crate) jobs: Vec<JobView>,
    /// Where to go on, for `after`; absent at the end. A page may be short, or empty, and have a next one.
    pub(crate) next: Option<String>,
    /// Jobs whose payloads were looked at, where that was asked for.
    pub(crate) looked_at: Option<u64>,
}

impl JobList {
    pub(crate) fn new(page: &JobPage, redaction: &Redaction) -> Self {
        let jobs = page.jobs.iter().map(|job| JobView::new(job, redaction)).collect();
        Self { jobs, next: page.next.as_ref().map(ToString::to_string), looked_at: None }
    }
}

/// A job, live or retained.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// Its id.
    pub(crate) id: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its queue.
    pub(crate) queue: String,
    /// Its state.
    pub(crate) state: &'static str,
    /// How urgent it is: 0 is the most urgent, 255 the least.
    pub(crate) priority: u8,
    /// Attempts started so far.
    pub(crate) attempts: u32,
    /// Failures that count for its retry policy.
    pub(crate) failures: u32,
    /// Attempts whose process died, since the last that ended.
    pub(crate) lost: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created: When,
    /// Until when it is delayed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) due: Option<When>,
    /// From when on it is no longer started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires: Option<When>,
    /// From when on no attempt of it goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) deadline: Option<When>,
    /// When its running attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started: Option<When>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<When>,
    /// Why it is dead, or how its last attempt ended before it was cancelled.
    pub(crate) failure: Option<FailureView>,
    /// What its running attempt said last of how far it is.
    pub(crate) progress: Option<Value>,
    /// Whether someone asked its running attempt to end.
    pub(crate) cancel_requested: bool,
    /// Why it is not running, where it is live: a sentence with names and numbers.
    pub(crate) why: Option<String>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// How: `error`, `permanent error`, `panic`, `timeout`, `unreadable payload`, `process died`.
    pub(crate) kind: &'static str,
    /// What it said.
    pub(crate) message: String,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        Self { kind: failure_word(failure), message: failure.message.clone() }
    }
}

impl JobView {
    pub(crate) fn new(job: &JobStatus, redaction: &Redaction) -> Self {
        let mut progress = job.progress.clone();
        if let Some(progress) = &mut progress {
            redaction.redact(&job.kind, progress);
        }
        Self {
            id: job.id.to_string(),
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            state: job.state.as_str(),
            priority: job.priority.0,
            attempts: job.attempts,
            failures: job.failures,
            lost: job.lost,
            created: job.created.into(),
            due: job.due.map(When),
            expires: job.expires.map(When),
            deadline: job.deadline.map(When),
            started: job.started.map(When),
            ended: job.ended.map(When),
            failure: job.failure.as_ref().map(FailureView::from),
            progress,
            cancel_requested: job.cancel_requested,
            why: job.why.as_ref().map(ToString::to_string),
        }
    }
}

/// A job with all that is kept of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct JobWhole {
    /// What a list shows.
    #[serde(flatten)]
    pub(crate) job: JobView,
    /// Its payload, as far as it may be seen.
    pub(crate) payload: Value,
    /// Whether something of it may be hidden: then it cannot be edited here.
    pub(crate) is_redacted: bool,
    /// Its payload's schema version.
    pub(crate) version: u32,
    /// Its tags.
    pub(crate) tags: Vec<String>,
    /// Its correlation id.
    pub(crate) correlation_id: Option<String>,
    /// Its W3C trace context.
    pub(crate) trace_context: Option<String>,
    /// The flow that it is of.
    pub(crate) part_of: Option<PartOfView>,
    /// The schedule that it is of.
    pub(crate) schedule: Option<String>,
    /// The instant of that which it is there for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) scheduled_for: Option<When>,
    /// The text of the key under which it is, or was, unique.
    pub(crate) unique_key: Option<String>,
    /// The job that has that key, where this one waits for it.
    pub(crate) key_holder: Option<String>,
    /// Whose job it is.
    pub(crate) limit_key: Option<String>,
    /// How many starts each of its starts counts for in a rate.
    pub(crate) weight: u32,
    /// How its attempts ended that failed or left a log: the first and the last 20.
    pub(crate) attempts_kept: Vec<AttemptView>,
    /// What the attempt that runs has logged so far, where a service keeps that.
    pub(crate) running_log: Option<LogView>,
    /// What its success left, as far as it may be seen.
    pub(crate) output: Option<Value>,
}

/// The flow that a job is of.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PartOfView {
    /// The flow, which may be forgotten.
    pub(crate) flow: String,
    /// The number of the step that the job is, or of the batch that it is one of, from 0.
    pub(crate) step_no: usize,
    /// The name of that, as long as the flow is remembered.
    pub(crate) step: Option<String>,
    /// Whether it is one of a batch's jobs.
    pub(crate) is_of_batch: bool,
}

/// How an attempt ended that failed or left a log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// Its number, from 1.
    pub(crate) attempt: u32,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started: When,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) ended: When,
    /// For how long it ran, in milliseconds.
    pub(crate) ran_ms: u64,
    /// How it ended: `succeeded`, `failed`, `snoozed`, `cancelled` or `released` (its engine stopped).
    pub(crate) result: &'static str,
    /// Why it failed.
    pub(crate) failure: Option<FailureView>,
    /// What it logged, where a service keeps that.
    pub(crate) log: Option<LogView>,
}

/// What is kept of the log of an attempt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LogView {
    /// Its last lines.
    pub(crate) lines: Vec<LineView>,
    /// How many came before, and are not kept.
    pub(crate) dropped: u64,
}

/// A line of a log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LineView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: When,
    /// How serious it is: `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: &'static str,
    /// Where in the code it comes from.
    pub(crate) target: String,
    /// Its text, with its fields.
    pub(crate) text: String,
}

impl LogView {
    fn new(log: &AttemptLog, kind: &str, redaction: &Redaction) -> Self {
        let line = |line: &LogLine| LineView {
            at: line.at.into(),
            level: line.level.as_str(),
            target: line.target.clone(),
            text: redaction.line(kind, &line.text),
        };
        Self { lines: log.lines.iter().map(line).collect(), dropped: log.dropped }
    }
}

impl AttemptView {
    fn new(end: &AttemptEnd, kind: &str, redaction: &Redaction) -> Self {
        Self {
            attempt: end.attempt,
            started: end.started.into(),
            ended: end.ended.into(),
            ran_ms: super::millis(end.ended.duration_since(end.started).unwrap_or_default()),
            result: end.result.as_str(),
            failure: end.failure().map(FailureView::from),
            log: end.log.as_deref().map(|log| LogView::new(log, kind, redaction)),
        }
    }
}

impl JobWhole {
    pub(crate) fn new(detail: &JobDetail, redaction: &Redaction) -> Self {
        let kind = &detail.status.kind;
        let log = |log: &AttemptLog| LogView::new(log, kind, redaction);
        let holder = if let Some(Why::Key { holder }) = &detail.status.why { Some(holder.to_string()) } else { None };
        Self {
            job: JobView::new(&detail.status, redaction),
            payload: redaction.shown(kind, &detail.payload),
            is_redacted: redaction.is_there(),
            version: detail.version,
            tags: detail.tags.clone(),
            correlation_id: detail.correlation_id.clone(),
            trace_context: detail.trace_context.clone(),
            part_of: detail.part_of.map(|part| PartOfView {
                flow: part.flow.to_string(),
                step_no: part.step,
                step: None,
                is_of_batch: part.is_of_batch,
            }),
            schedule: detail.scheduled_for.as_ref().map(|of| of.schedule.clone()),
            scheduled_for: detail.scheduled_for.as_ref().map(|of| When(of.instant)),
            unique_key: detail.unique_key.clone(),
            key_holder: holder,
            limit_key: detail.limit_key.clone(),
            weight: detail.weight,
            running_log: detail.running_log.as_deref().map(log),
            attempts_kept: detail.attempts.iter().map(|end| AttemptView::new(end, kind, redaction)).collect(),
            output: detail.output.as_ref().map(|output| redaction.shown(kind, output)),
        }
    }
}

/// An order on many jobs, and how far it came.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OrderView {
    /// Its id.
    pub(crate) id: String,
    /// What is done to each job: `cancelled`, `requeued`, ...
    pub(crate) verb: &'static str,
    /// Which jobs it means, in words.
    pub(crate) which: String,
    /// Jobs a second at most.
    pub(crate) rate_per_s: Option<u32>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) placed: When,
    /// Jobs that were changed so far.
    pub(crate) changed: u64,
    /// Jobs that the filter means, and that could not be changed.
    pub(crate) skipped: u64,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<When>,
    /// Whether somebody called it off.
    pub(crate) is_cancelled: bool,
}

impl From<&OrderStatus> for OrderView {
    fn from(order: &OrderStatus) -> Self {
        Self {
            id: order.id.to_string(),
            verb: order.verb.as_str(),
            which: order.filter.to_string(),
            rate_per_s: order.rate_per_s,
            placed: order.placed.into(),
            changed: order.changed,
            skipped: order.skipped,
            ended: order.ended.as_ref().map(|(at, _)| When(*at)),
            is_cancelled: matches!(order.ended, Some((_, OrderEnd::Cancelled))),
        }
    }
}
