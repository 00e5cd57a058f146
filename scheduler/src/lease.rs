//! The right to run one attempt, and the token that proves it.
//!
//! A token is the term of the open journal and a number, so it rises strictly, across crashes and power loss too (I4):
//! the term is raised and synced at every open before anything is handed out. An acknowledgement with any other token
//! than the job's current one is refused and changes nothing.

use alloc::sync::Arc;
use core::fmt;

use crate::job::{Body, JobId, Name};
use crate::time::Timestamp;

/// Proof of one lease. Ordered: a later lease has the greater token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken {
    /// The term in which it was given.
    pub term: u64,
    /// Its number in that term.
    pub n: u64,
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.n)
    }
}

/// Everything that a worker needs to run one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Proof of the right.
    pub token: LeaseToken,
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: Name,
    /// Its kind, which names the handler.
    pub kind: Name,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Failures before this attempt.
    pub failures: u32,
    /// Attempts before this one, since the last that ended, whose process died.
    pub lost: u32,
    /// When the job was accepted.
    pub created: Timestamp,
    /// For how long it had been ready, in milliseconds. Starts anew with the process.
    pub waited_ms: u64,
    /// The name of the step that it is, in a flow.
    pub step: Option<Arc<str>>,
    /// Payload and labels; `None`: the journal has them under [`Key::Job`](crate::change::Key::Job), certainly so by the
    /// time that this leaves.
    pub body: Option<Arc<Body>>,
}

/// Why an attempt is asked to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its time is over.
    TimedOut,
    /// Someone cancelled the job.
    Cancelled,
    /// The engine stops.
    Stopping,
    /// The journal no longer knows its job.
    Gone,
}
