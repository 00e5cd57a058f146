//! What happened, for those who listen: told once it has reached its queue's level, in the order of steps.
//!
//! Owns the words, and what a piece of news takes in memory. They say less than the shard's own events: whoever wants to know more
//! asks for the job.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attempt::{Failure, FailureKind};
use crate::flow::{FlowId, FlowState};
use crate::job::{JobId, Name, Priority};
use crate::time::Timestamp;

/// The longest text of a failure that is told, in bytes: news stand in memory by the thousand, and the record has all of it.
pub const MESSAGE_TOLD_BYTES_MAX: usize = 512;

/// Everything that one step had to tell: all of it leaves at once, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The step.
    pub step: u64,
    /// What happened, in order.
    pub news: Vec<News>,
    /// Some steps before this one are told by nobody: too much waited for the journal.
    pub is_after_gap: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What.
    pub what: NewsOf,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// To which job.
    pub job: Option<JobId>,
    /// Its kind.
    pub kind: Option<Name>,
    /// The queue, or the job's.
    pub queue: Option<Name>,
    /// The flow, or the one that the job is a part of.
    pub flow: Option<FlowId>,
    /// The attempt that it is about, or the last one; 0: none.
    pub attempt: u32,
    /// The job's, where its body is in memory.
    pub correlation_id: Option<Arc<str>>,
}

/// Why an attempt failed, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldFailure {
    /// What sort of failure it was.
    pub kind: FailureKind,
    /// The error's text, cut to [`MESSAGE_TOLD_BYTES_MAX`].
    pub message: Arc<str>,
}

/// What a piece of news is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewsOf {
    /// A job came in, not before its time where it has one.
    Enqueued {
        /// Its time.
        due: Option<Timestamp>,
    },
    /// Another job took its place, under its id.
    Replaced {
        /// Its time.
        due: Option<Timestamp>,
    },
    /// Its time has come.
    FellDue,
    /// An attempt was handed out.
    Started,
    /// The job is done.
    Succeeded,
    /// An attempt failed.
    Failed {
        /// Why.
        failure: ToldFailure,
        /// It is tried again in so many milliseconds.
        retry_ms: Option<u64>,
    },
    /// The process died under an attempt.
    Lost,
    /// An attempt wants to run again later, and that is no failure.
    Snoozed {
        /// In so many milliseconds.
        delay_ms: u64,
    },
    /// An attempt was given back with a stop, and does not count.
    Released,
    /// A running job was called off.
    CancelRequested,
    /// The job gave up.
    Dead {
        /// Why.
        failure: Option<ToldFailure>,
    },
    /// It was called off.
    Cancelled,
    /// It was not started in time.
    Expired,
    /// It has another time.
    Rescheduled {
        /// The time; `None`: now.
        due: Option<Timestamp>,
    },
    /// It has another priority.
    Reprioritised {
        /// That one.
        priority: Priority,
    },
    /// It is in another queue.
    Moved {
        /// The queue that it was in.
        from: Name,
    },
    /// It has another payload.
    Edited,
    /// It was brought back.
    Requeued,
    /// A retained job was forgotten.
    Forgotten,
    /// A queue was paused.
    Paused,
    /// A queue goes on.
    Resumed,
    /// A flow came in.
    FlowSubmitted {
        /// What sort of flow it is.
        name: Name,
    },
    /// A step of a flow failed, and others wait until somebody does something about that.
    FlowHeld {
        /// What sort of flow it is.
        name: Name,
        /// The step's name.
        step: Arc<str>,
    },
    /// All steps of a flow are over.
    FlowEnded {
        /// What sort of flow it is.
        name: Name,
        /// How it ended.
        state: FlowState,
    },
}

impl From<&Failure> for ToldFailure {
    fn from(failure: &Failure) -> Self {
        let mut end = failure.message.len().min(MESSAGE_TOLD_BYTES_MAX);
        while !failure.message.is_char_boundary(end) {
            end -= 1;
        }
        Self { kind: failure.kind, message: failure.message[..end].into() }
    }
}

impl News {
    /// What it takes in memory, within a few bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let failure = match &self.what {
            NewsOf::Failed { failure, .. } | NewsOf::Dead { failure: Some(failure) } => failure.message.len(),
            _ => 0,
        };
        size_of::<Self>() + failure + self.correlation_id.as_ref().map_or(0, |id| id.len())
    }
}

impl Told {
    /// What it takes in memory, within a few bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.news.iter().map(News::bytes).sum()
    }
}
