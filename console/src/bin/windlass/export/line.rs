//! A job as a line of JSON: its shape, and where its parts come from.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use windlass::storage::{Reader, RocksLook, StorageError};
use windlass_scheduler::attempt::{AttemptLog, Failure, LogLine, Output};
use windlass_scheduler::change::{AttemptRecord, EndedRecord, Head, JobRecord, Key, Record};
use windlass_scheduler::flow::StepOf;
use windlass_scheduler::job::{Body, InstantOf, JobId};
use windlass_scheduler::state::State;
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::unique::{KeyOf, UniqueKey};

/// What `windlass export` prints for each job.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    r#type: &'static str,
    id: String,
    kind: String,
    queue: String,
    state: &'static str,
    /// 0 is the most urgent.
    priority: u8,
    created_ms: u64,
    /// Until when it is delayed.
    due_ms: Option<u64>,
    expires_ms: Option<u64>,
    deadline_ms: Option<u64>,
    /// When its last attempt was handed out, if that is known.
    started_ms: Option<u64>,
    ended_ms: Option<u64>,
    /// How long an attempt may run.
    timeout_ms: Option<u64>,
    /// Attempts that ended.
    attempts: u32,
    failures: u32,
    /// Attempts that died with their process, since the last that ended.
    lost: u32,
    is_cancel_requested: bool,
    tags: Vec<String>,
    correlation_id: Option<String>,
    trace: Option<String>,
    unique_key: Option<UniqueLine>,
    limit_key: Option<String>,
    /// The instant of a schedule that it is there for.
    scheduled_for: Option<InstantLine>,
    /// The step of a flow that it is.
    step: Option<StepLine>,
    /// The batch that it is a job of.
    batch: Option<StepLine>,
    payload_version: u32,
    #[serde(flatten)]
    payload: Payload,
    #[serde(flatten)]
    output: OutputLine,
    /// Why it is dead, cancelled or expired.
    error: Option<ErrorLine>,
    /// How attempts ended that did not succeed: the first and the last 20.
    attempts_kept: Vec<AttemptLine>,
    /// What of it cannot be read, and is missing above.
    unreadable: Vec<String>,
}

/// Text where it is JSON, and base64 where it is not.
#[derive(Debug, Default, Serialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// As a payload; neither where it left nothing.
#[derive(Debug, Default, Serialize)]
struct OutputLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_base64: Option<String>,
    /// It left so many bytes, which were over the queue's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_too_large_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct UniqueLine {
    /// `kind`, `queue` or `engine`.
    of: &'static str,
    /// Of which kind or queue.
    name: Option<String>,
    text: String,
}

#[derive(Debug, Serialize)]
struct InstantLine {
    schedule: String,
    at_ms: u64,
}

#[derive(Debug, Serialize)]
struct StepLine {
    flow: String,
    no: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct ErrorLine {
    kind: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct AttemptLine {
    attempt: u32,
    started_ms: u64,
    ended_ms: u64,
    result: &'static str,
    error: Option<ErrorLine>,
    log: Option<LogLines>,
}

#[derive(Debug, Serialize)]
struct LogLines {
    lines: Vec<LogLineOut>,
    dropped: u64,
}

#[derive(Debug, Serialize)]
struct LogLineOut {
    at_ms: u64,
    level: &'static str,
    target: String,
    text: String,
}

impl LogLines {
    fn of(log: &AttemptLog) -> Self {
        let line = |line: &LogLine| LogLineOut {
            at_ms: line.at.0,
            level: line.level.as_str(),
            target: line.target.clone(),
            text: line.text.clone(),
        };
        Self { lines: log.lines.iter().map(line).collect(), dropped: log.dropped }
    }
}

impl Line {
    /// Something of the job could not be read.
    pub(super) const fn is_incomplete(&self) -> bool {
        !self.unreadable.is_empty()
    }
}

impl UniqueLine {
    pub(super) fn of(key: &UniqueKey) -> Self {
        let (of, name) = match &key.of {
            KeyOf::Kind(kind) => ("kind", Some(kind.to_string())),
            KeyOf::Queue(queue) => ("queue", Some(queue.to_string())),
            KeyOf::Engine => ("engine", None),
        };
        Self { of, name, text: key.text.to_string() }
    }
}

impl ErrorLine {
    pub(super) fn of(failure: &Failure) -> Self {
        Self { kind: failure.kind.as_str(), message: failure.message.clone() }
    }
}

/// Makes lines, and reads for each job what a load leaves to readers.
pub(super) struct Lines<'a> {
    look: &'a RocksLook,
    reader: Arc<dyn Reader>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(look: &'a RocksLook) -> Self {
        Self { look, reader: look.reader() }
    }

    pub(super) fn live(&self, job: &JobRecord, state: State, started: Option<Timestamp>) -> Line {
        let mut line = head_line(job.id, job.kind.as_str(), &job.head, state);
        line.started_ms = started.map(|at| at.0);
        add_body(&mut line, &job.body);
        self.add_attempts(&mut line, job.id, &job.head);
        line
    }

    pub(super) fn retained(&self, end: &EndedRecord) -> Line {
        let mut line = head_line(end.id, end.kind.as_str(), &end.head, end.key.state.into());
        line.queue = end.key.queue.to_string();
        (line.started_ms, line.ended_ms) = (end.started.map(|at| at.0), Some(end.at.0));
        line.error = end.failure.as_ref().map(ErrorLine::of);
        match self.reader.body(end.id) {
            Ok(Some(body)) => add_body(&mut line, &body),
            Ok(None) => line.unreadable.push("its payload is gone".to_owned()),
            Err(error) => line.unreadable.push(format!("its payload: {error}")),
        }
        match &end.output {
            Output::None => {}
            Output::TooLarge { bytes, .. } => line.output.output_too_large_bytes = Some(*bytes),
            Output::Bytes(_) => self.add_output(&mut line, end.id),
        }
        self.add_attempts(&mut line, end.id, &end.head);
        line
    }

    fn add_output(&self, line: &mut Line, id: JobId) {
        match self.reader.get(&Key::Result(id)) {
            Ok(Some(Record::Result(_, bytes))) => match json(&bytes) {
                Some(output) => line.output.output = Some(output),
                None => line.output.output_base64 = Some(STANDARD.encode(&bytes)),
            },
            Ok(_) => line.unreadable.push("its output is gone".to_owned()),
            Err(error) => line.unreadable.push(format!("its output: {error}")),
        }
    }

    fn add_attempts(&self, line: &mut Line, id: JobId, head: &Head) {
        if head.attempts_ended == 0 {
            return;
        }
        let attempt = |attempt: AttemptRecord| AttemptLine {
            attempt: attempt.attempt,
            started_ms: attempt.started.0,
            ended_ms: attempt.ended.0,
            result: attempt.result.as_str(),
            error: attempt.result.failure().map(ErrorLine::of),
            log: attempt.log.as_deref().map(LogLines::of),
        };
        let attempts: Result<_, StorageError> = self.look.attempts(id);
        match attempts {
            Ok(attempts) => line.attempts_kept = attempts.into_iter().map(attempt).collect(),
            Err(error) => line.unreadable.push(format!("its attempts: {error}")),
        }
    }
}

fn head_line(id: JobId, kind: &str, head: &Head, state: State) -> Line {
    Line {
        r#type: "job",
        id: id.to_string(),
        kind: kind.to_owned(),
        queue: head.queue.to_string(),
        state: state.as_str(),
        priority: head.priority.0,
        created_ms: head.created.0,
        due_ms: head.due.map(|at| at.0),
        expires_ms: head.expires.map(|at| at.0),
        deadline_ms: head.deadline.map(|at| at.0),
        started_ms: None,
        ended_ms: None,
        timeout_ms: head.timeout_ms,
        attempts: head.attempts_ended,
        failures: head.failures,
        lost: head.lost,
        is_cancel_requested: head.cancel_requested,
        tags: Vec::new(),
        correlation_id: None,
        trace: None,
        unique_key: None,
        limit_key: None,
        scheduled_for: None,
        step: None,
        batch: None,
        payload_version: 0,
        payload: Payload::default(),
        output: OutputLine::default(),
        error: None,
        attempts_kept: Vec::new(),
        unreadable: Vec::new(),
    }
}

fn add_body(line: &mut Line, body: &Body) {
    let labels = &body.labels;
    let step = |of: StepOf| StepLine { flow: of.flow.to_string(), no: of.no };
    line.tags = labels.tags().to_vec();
    line.correlation_id = labels.correlation_id().map(str::to_owned);
    line.trace = labels.trace().map(str::to_owned);
    line.unique_key = labels.unique().map(|unique| UniqueLine::of(&unique.key));
    line.limit_key = labels.share().key.as_deref().map(str::to_owned);
    let instant = |of: &InstantOf| InstantLine { schedule: of.schedule.to_string(), at_ms: of.at.0 };
    line.scheduled_for = labels.instant().map(instant);
    line.step = labels.step().map(step);
    line.batch = labels.member().map(|member| step(member.of));
    line.payload_version = body.version;
    line.payload = match json(&body.payload) {
        Some(payload) => Payload { payload: Some(payload), payload_base64: None },
        None => Payload { payload: None, payload_base64: Some(STANDARD.encode(&body.payload)) },
    };
}

/// The same JSON, on one line: outside of strings, which have none, a line's end is a blank like any other.
fn json(bytes: &[u8]) -> Option<Box<RawValue>> {
    let value: Box<RawValue> = serde_json::from_slice(bytes).ok()?;
    if value.get().contains(['\n', '\r']) {
        return RawValue::from_string(value.get().replace(['\n', '\r'], " ")).ok();
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_as_it_is_but_for_its_lines_and_other_bytes_are_none() {
        let text = |bytes: &[u8]| json(bytes).map(|value| value.get().to_owned());
        assert_eq!(
            text(b"{\"b\":1.50,\"a\":18446744073709551616}"),
            Some("{\"b\":1.50,\"a\":18446744073709551616}".into())
        );
        assert_eq!(text(b"[1,\r\n2]"), Some("[1,  2]".into()));
        assert_eq!(text(b"\"a\nb\""), None, "a string of JSON has no line's end in it");
        assert_eq!(text(b"\xff"), None);
        assert_eq!(text(b""), None);
    }
}
