//! What can go wrong, one type per operation. Each says what, where, the numbers, and what to do.

mod flow;
mod schedule;

use std::fmt;
use std::time::Duration;

use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::job::JobId;
use windlass_scheduler::refusal::Refusal;
use windlass_storage::{LoadError, OpenError, StorageError};

pub use self::flow::{FlowError, FlowWaitError, InputError};
pub use self::schedule::ScheduleError;
#[cfg(feature = "config-file")]
pub use crate::config::file::{ConfigFileError, ConfigProblem};
use crate::config::{ConfigPlace, ms};

/// What a handler says where it does not succeed. Every error type becomes one with `?` and is then retried by the policy, but for an
/// [`InputError`] that no retry can mend.
///
/// It does not implement [`std::error::Error`] itself, so that `?` can turn every error into it, `anyhow`'s included.
#[derive(Debug)]
pub struct JobError {
    pub(crate) kind: JobErrorKind,
}

#[derive(Debug)]
pub(crate) enum JobErrorKind {
    Retry(String),
    RetryAfter(Duration, String),
    Permanent(String),
    Snooze(Duration),
    Cancel(String),
}

impl JobError {
    /// A failure that no retry can mend: the job is dead at once. Said after the attempt's time was over, it is a timeout like
    /// any other, and the policy decides.
    pub fn permanent(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: JobErrorKind::Permanent(chain(error.into().as_ref())) }
    }

    /// A failure, to be tried again after this time instead of the policy's, unless its attempts are used up (or the attempt's
    /// time was over: then it is a timeout).
    pub fn retry_after(delay: Duration, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: JobErrorKind::RetryAfter(delay, chain(error.into().as_ref())) }
    }

    /// No failure: run again after this time. Not counted.
    #[must_use]
    pub const fn snooze(delay: Duration) -> Self {
        Self { kind: JobErrorKind::Snooze(delay) }
    }

    /// Calls the job off: it is cancelled.
    pub fn cancel(reason: impl fmt::Display) -> Self {
        Self { kind: JobErrorKind::Cancel(reason.to_string()) }
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        let failed = |kind, message, retry| Outcome::Failed { failure: Failure::new(kind, message), retry };
        match self.kind {
            JobErrorKind::Retry(message) => failed(FailureKind::Error, message, Retry::ByPolicy),
            JobErrorKind::RetryAfter(delay, message) => failed(FailureKind::Error, message, Retry::After(ms(delay))),
            JobErrorKind::Permanent(message) => failed(FailureKind::Permanent, message, Retry::Never),
            JobErrorKind::Snooze(delay) => Outcome::Snoozed { delay_ms: ms(delay) },
            JobErrorKind::Cancel(reason) => Outcome::Cancelled { reason },
        }
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for JobError {
    fn from(error: E) -> Self {
        let error = error.into();
        if error.downcast_ref::<InputError>().is_some_and(InputError::is_for_good) {
            return Self::permanent(error);
        }
        Self { kind: JobErrorKind::Retry(chain(error.as_ref())) }
    }
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// A number that came with a call and is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {value} given, {min} to {max} allowed")]
pub struct OutOfRange {
    /// What it counts, unit included.
    pub what: &'static str,
    /// What was given.
    pub value: u64,
    /// The least allowed.
    pub min: u64,
    /// The most allowed.
    pub max: u64,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name with characters or a length that keys cannot carry.
    #[error("{what} name `{name}`: 1 to {bytes_max} letters, digits and `-_.:/` are allowed")]
    Name {
        /// What it is the name of.
        what: &'static str,
        /// The name.
        name: String,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
    /// A number out of its range.
    #[error("{what} `{name}`: {field} is {value}, allowed are {min} to {max}")]
    Range {
        /// What has the setting: a queue or a kind.
        what: &'static str,
        /// Its name.
        name: String,
        /// The setting.
        field: &'static str,
        /// What it is set to.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A first delay that its cap never lets happen.
    #[error(
        "{what} `{name}`: the first retry comes after {first_ms} ms, over the cap of {cap_ms} ms: lower it, or raise the cap"
    )]
    FirstOverCap {
        /// What has the policy: a queue or a kind.
        what: &'static str,
        /// Its name.
        name: String,
        /// The first delay in milliseconds.
        first_ms: u64,
        /// The cap in milliseconds.
        cap_ms: u64,
    },
    /// The same setting in code and in a file, or in two files.
    #[error("{what} is configured twice, in {first} and in {second}: take one of them out")]
    Twice {
        /// Which.
        what: String,
        /// Where it stands.
        first: ConfigPlace,
        /// Where it stands as well.
        second: ConfigPlace,
    },
    /// A setting from a file that does not fit the rest of the engine.
    #[error("{place}: {error}")]
    At {
        /// Where it stands.
        place: ConfigPlace,
        /// What is wrong with it.
        error: Box<ConfigError>,
    },
    /// A file, or a text, that is no configuration.
    #[cfg(feature = "config-file")]
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// The same queue twice.
    #[error("queue `{0}` is configured twice")]
    QueueTwice(String),
    /// The same kind twice.
    #[error("kind `{0}` is configured twice")]
    KindTwice(String),
    /// Settings of a kind that this engine does not know.
    #[error("kind `{0}` is configured and has no handler: register one, correct the name, or allow unknown kinds")]
    KindWithoutHandler(String),
    /// Two handlers for one kind.
    #[error("kind `{0}` has two handlers: a kind names one")]
    HandlerTwice(String),
    /// Middleware that cannot be around blocking handlers, with one under it.
    #[error(
        "kind `{0}` has a blocking handler, and some middleware around it is for async ones only (a tower layer is): put that \
         around single kinds with `.middleware_for`, or make the handler async"
    )]
    BlockingUnderAsync(String),
    /// A handler's queue that is not there.
    #[error("kind `{kind}` goes to queue `{queue}`, and there is no such queue: add it, or configure the kind's queue")]
    HandlerQueue {
        /// The kind.
        kind: String,
        /// Its default queue.
        queue: String,
    },
    /// A shared limit that was added twice.
    #[error("shared limit `{0}` is configured twice: leave one of them out")]
    SharedLimitTwice(String),
    /// A queue shares a limit that is not there.
    #[error("queue `{queue}` shares limit `{limit}`, and there is no such limit: add it, or take it from the queue")]
    NoSharedLimit {
        /// The queue.
        queue: String,
        /// The limit.
        limit: String,
    },
    /// A queue shares a limit twice.
    #[error("queue `{queue}` shares limit `{limit}` twice: once is enough")]
    SharesTwice {
        /// The queue.
        queue: String,
        /// The limit.
        limit: String,
    },
    /// A schedule that cannot be.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No queue at all.
    #[error("no queue is configured: add at least one with `.queue(..)`")]
    NoQueue,
    /// The journal's own bounds leave too little of the memory budget.
    #[error(
        "the journal's own bounds take {journal_bytes} of the {bytes} bytes of memory_bytes_max, and {least_bytes} have to be \
         left for jobs: lower them, or raise the budget"
    )]
    JournalMemory {
        /// The budget.
        bytes: u64,
        /// What the journal takes at most.
        journal_bytes: u64,
        /// What has to be left.
        least_bytes: u64,
    },
    /// No journal.
    #[error("no journal is given: say `.journal(RocksJournal::at(..))`, or `MemoryJournal::new()` if all may be lost")]
    NoJournal,
}

/// Why an engine did not start. Nothing has run, and the journal is closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `start()` was called outside of a tokio runtime.
    #[error("there is no tokio runtime here: call `start()` inside of one, handlers run on it")]
    NoRuntime,
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The journal cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A queue at level `Memory` has journaled jobs, or flows that began in it have steps to go in other queues.
    #[error(
        "queue `{queue}` is set to `Memory` and has {jobs} jobs in the journal (live or retained, or of flows that began in it), \
         which would go on in memory alone: give the volatile queue another name"
    )]
    VolatileQueue {
        /// The queue.
        queue: String,
        /// Jobs of it in the journal, and steps in other queues of flows that began in it.
        jobs: u64,
    },
    /// The operating system gave no thread, or a part panicked while starting.
    #[error("the engine's own thread did not start: {0}")]
    Thread(String),
}

/// Why a job was not accepted, or may have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// A clear no: nothing was stored.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The payload could not be encoded. Nothing was stored.
    #[error("the payload of kind `{kind}` could not be encoded: {reason}")]
    Encode {
        /// The kind.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// The key of uniqueness is made of a field that the payload does not have, or the payload is no JSON. Nothing was stored.
    #[error(
        "the unique key of kind `{kind}` is made of `{field}`, which its payload does not have: name fields of a JSON payload, or \
         give the key itself"
    )]
    UniqueField {
        /// The kind.
        kind: &'static str,
        /// The field as it was named; empty where the whole payload was meant.
        field: String,
    },
    /// An option or a label is out of its range. Nothing was stored.
    #[error("{0}; nothing was stored: keep to that range")]
    Range(#[from] OutOfRange),
    /// The kind's name cannot be stored. Nothing was stored.
    #[error("kind name `{kind}`: 1 to {bytes_max} letters, digits and `-_.:/` are allowed; correct the type's `KIND`")]
    Kind {
        /// The kind.
        kind: &'static str,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
    /// The call has more jobs or bytes than the door ever lets in at once: waiting would never end. Nothing was stored.
    #[error("{jobs} jobs of {bytes} bytes in one call: at most {jobs_max} jobs of {bytes_max} bytes; split it")]
    TooLarge {
        /// Jobs in the call.
        jobs: usize,
        /// Jobs that one call may have.
        jobs_max: usize,
        /// Bytes in the call.
        bytes: usize,
        /// Bytes that one call may have.
        bytes_max: usize,
    },
    /// The disk is nearly full: the rest is kept so that what runs can still be acknowledged. Nothing was stored.
    #[error("the disk is nearly full: {free_bytes} bytes free, new jobs need {free_bytes_min}; free some space")]
    DiskNearlyFull {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that have to be free.
        free_bytes_min: u64,
    },
    /// The storage broke while this call was under way: the job may be stored or not. Asking for this id, or enqueueing
    /// with it again, is safe: the same id is the same job.
    #[error("interrupted by a storage failure, outcome unknown: ask for job {id}, or enqueue it again with that id")]
    Interrupted {
        /// The id of the (first) job.
        id: JobId,
    },
    /// The engine does not serve: it is stopped, or its storage is broken for good. Nothing was stored.
    #[error("the engine does not accept jobs: {0}")]
    Unavailable(String),
}

/// Why a question or an order about a job or a queue was not answered with yes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A clear no: nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The payload could not be encoded. Nothing has changed.
    #[error("the payload of kind `{kind}` could not be encoded: {reason}")]
    Encode {
        /// The kind.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// The job is of another kind. Nothing has changed.
    #[error("job {id} is of kind `{kind}`, and the payload of kind `{asked}`: edit it as what it is")]
    OtherKind {
        /// The job.
        id: JobId,
        /// Its kind.
        kind: String,
        /// The kind of the new payload.
        asked: &'static str,
    },
    /// A number in the question is out of its range. Nothing has changed.
    #[error("{0}; nothing has changed: keep to that range")]
    Range(#[from] OutOfRange),
    /// The list was begun before the engine was started or rebuilt, among the live jobs.
    #[error("the cursor is of a list that was begun before the engine was started or rebuilt: begin the list anew")]
    CursorExpired,
    /// The record could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage broke meanwhile: it may have been done or not. Look, and do it again.
    #[error("interrupted by a storage failure, outcome unknown: look, and ask again")]
    Interrupted,
    /// The engine does not serve.
    #[error("the engine does not answer: {0}")]
    Unavailable(String),
}

/// Why there is no backup. The engine is as it was, and nothing stands where the backup was to stand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The journal cannot be copied, or not there.
    #[error(transparent)]
    Journal(#[from] windlass_storage::BackupError),
    /// The engine does not serve any more.
    #[error("no backup was made: {0}")]
    Unavailable(String),
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The job is a dead letter.
    #[error("job {id} is dead: {failure}")]
    Dead {
        /// The job.
        id: JobId,
        /// Its last failure.
        failure: Failure,
    },
    /// The job was cancelled.
    #[error("job {id} was cancelled")]
    Cancelled {
        /// The job.
        id: JobId,
    },
    /// The job was not started in time.
    #[error("job {id} expired: it was not started in time")]
    Expired {
        /// The job.
        id: JobId,
    },
    /// The job is done, and its output was too large to keep.
    #[error("job {id} is done, its output of {bytes} bytes was over the queue's limit of {bytes_max} and not kept")]
    ResultTooLarge {
        /// The job.
        id: JobId,
        /// Bytes of the output.
        bytes: u64,
        /// Bytes that the queue keeps.
        bytes_max: u64,
    },
    /// The output is not of the type that is asked for.
    #[error("the output of job {id} could not be decoded: {reason}")]
    Decode {
        /// The job.
        id: JobId,
        /// Why.
        reason: String,
    },
    /// The job could not be enqueued, or not asked for.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The question could not be answered.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Why a stop was not a clean one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// These jobs' code had not ended by the deadline, nor after it was asked to, or its end could not be written. They run
    /// again at the next start, unless they were called off; where the code may still run by then, let the process end first.
    #[error("{} jobs had not ended by the deadline: they are given back", ids.len())]
    Unfinished {
        /// The jobs.
        ids: Vec<JobId>,
    },
    /// The journal could not be closed cleanly.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The engine had stopped before.
    #[error("the engine had stopped before: {0}")]
    Stopped(String),
}

/// The panic's message, as far as it has one.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
