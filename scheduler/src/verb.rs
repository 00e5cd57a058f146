//! What may be done to a job from outside, and in which states: the one table that single verbs, orders and dry runs share.
//!
//! Owns the words and the table. Never decides on a job: that is [`decide::steer`](crate::shard)'s.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::change::EndedRecord;
use crate::job::{Body, Name, Priority, When};
use crate::state::State;

/// Something that an operator or a caller does to a job: to one, or by an [order](crate::order::Order) to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Calls it off: at once where it waits, by asking its attempt where it runs. It is retained as cancelled.
    Cancel,
    /// Forgets it, payload and all. One that waits is called off and not retained.
    Discard,
    /// Ends its delay. One that is ready or runs stays as it is.
    RunNow,
    /// Gives it another priority; one that is ready goes to the end of the line at that priority.
    Reprioritise(Priority),
    /// Starts it at another time, and not before.
    Reschedule(When),
    /// Moves it to the end of another queue.
    Move(Name),
    /// Brings it back into its queue, with all its retries before it and no expiry.
    Requeue,
}

impl Verb {
    /// To the end of this queue.
    #[must_use]
    pub fn move_to(queue: &str) -> Self {
        Self::Move(Name::from(queue))
    }

    /// What the verb does, as a participle: "it cannot be *cancelled*".
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Discard => "discarded",
            Self::RunNow => "run now",
            Self::Reprioritise(_) => "reprioritised",
            Self::Reschedule(_) => "rescheduled",
            Self::Move(_) => "moved",
            Self::Requeue => "requeued",
        }
    }

    /// Whether the verb may be done to a job in this state.
    #[must_use]
    pub const fn acts_on(&self, state: State) -> bool {
        use State::{Cancelled, Dead, Delayed, Expired, Parked, Ready, Running, Waiting};
        match self {
            Self::Cancel | Self::Reprioritise(_) => !state.is_ended(),
            // What runs cannot be taken from under its attempt.
            Self::Discard => !matches!(state, Running),
            Self::RunNow => matches!(state, Delayed | Ready | Running),
            Self::Reschedule(_) | Self::Move(_) => matches!(state, Waiting | Delayed | Ready | Parked),
            // To run again what has succeeded is to enqueue it again.
            Self::Requeue => matches!(state, Dead | Cancelled | Expired),
        }
    }
}

/// A retained job as the driver read it from the journal: what a verb needs that memory does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Its end; the core refuses `Changed` if it is no longer that one.
    pub ended: EndedRecord,
    /// Its body.
    pub body: Arc<Body>,
}

/// What was read, if it had to be.
pub type Read = Option<Box<Retained>>;

/// Which body of a live job the journal has: another one with each place that it gets in line, and with each job that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    pub(crate) arrival: i64,
    pub(crate) replaced: u32,
}

/// What the driver read of a job that gets another payload: its labels stay, and memory may not hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: enough for a live job whose body is in memory.
    #[default]
    Nothing,
    /// The body of a live job, read after the core had said [`OnDisk`](crate::refusal::Refusal::OnDisk) with this edition.
    Live(Arc<Body>, Edition),
    /// A retained job.
    Retained(Box<Retained>),
}
