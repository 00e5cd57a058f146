//! The states of a job and the table of legal moves between them, all in one place.
//!
//! Owns the life cycle that `lib.rs` draws. Where a job ends or is delayed, a debug assertion asks [`State::may_become`],
//! and the whole matrix is a snapshot test, so that a new arrow is a decision and never an accident.

use core::fmt;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for another job to let go of the key that both came with, or for the steps of a flow that it needs.
    Waiting,
    /// Waits for its time: delayed by its caller, by a retry or by a snooze.
    Delayed,
    /// Waits for a worker.
    Ready,
    /// One attempt of it is live.
    Running,
    /// No handler for its kind, or no such queue, in this build: waits for one that has it.
    Parked,
    /// Succeeded.
    Done,
    /// Gave up: a dead letter.
    Dead,
    /// Called off.
    Cancelled,
    /// Was not started in time.
    Expired,
}

/// The states that a job can leave only by requeue or by being forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndState {
    /// Succeeded.
    Done,
    /// Gave up: a dead letter.
    Dead,
    /// Called off.
    Cancelled,
    /// Was not started in time.
    Expired,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Delayed,
        Self::Ready,
        Self::Running,
        Self::Parked,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The table of moves. A move from a state to itself is listed where it means something.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Cancelled, Dead, Delayed, Done, Expired, Parked, Ready, Running, Waiting};
        match self {
            // Has its key or its turn, had its signal, is a batch that failed, called off, too late.
            Waiting => matches!(next, Ready | Parked | Delayed | Done | Dead | Cancelled | Expired),
            // Fell due or told to run (with a handler or without one), was a timer, called off, too late.
            Delayed => matches!(next, Ready | Parked | Done | Cancelled | Expired),
            // Claimed, rescheduled, called off, too late.
            Ready => matches!(next, Running | Delayed | Cancelled | Expired),
            // Succeeded, gave up, called off, retried or snoozed, released or lost, too late to be lost once more.
            Running => matches!(next, Done | Dead | Cancelled | Delayed | Ready | Parked),
            // Moved to a queue that there is, rescheduled, called off, too late. (A start with the handler unparks, too, but a
            // load is not a move.)
            Parked => matches!(next, Ready | Delayed | Cancelled | Expired),
            // Requeued (which may find no handler, or, as a step, others before it); discarding is not a state.
            Dead | Cancelled | Expired => matches!(next, Waiting | Ready | Parked),
            Done => false,
        }
    }

    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether the job's life is over.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled | Self::Expired)
    }
}

impl EndState {
    /// All end states.
    pub const ALL: [Self; 4] = [Self::Done, Self::Dead, Self::Cancelled, Self::Expired];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Done => 0,
            Self::Dead => 1,
            Self::Cancelled => 2,
            Self::Expired => 3,
        }
    }
}

impl From<EndState> for State {
    fn from(end: EndState) -> Self {
        match end {
            EndState::Done => Self::Done,
            EndState::Dead => Self::Dead,
            EndState::Cancelled => Self::Cancelled,
            EndState::Expired => Self::Expired,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
