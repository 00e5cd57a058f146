//! A live job as memory has it: its place, and all that deciding needs.
//!
//! Owns the data of one job and what follows from it alone. Never looks at its queue, its kind or its neighbours.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::batches::MemberAt;
use super::flows::StepAt;
use super::maybe::Maybe;
use super::slab::Slot;
use crate::change::{ClaimsNo, PolicyNo};
use crate::command::QueueNo;
use crate::job::{Body, JobId, Priority};
use crate::lease::LeaseToken;
use crate::retry::is_suspect;
use crate::time::{Mono, Now, Timestamp};
use crate::unique::UniqueKey;
use crate::verb::Edition;

/// Which structure of its queue holds a live job (I3: exactly one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In the timers.
    Delayed,
    /// In line: in one of the queue's lanes.
    Line,
    /// Among the running.
    Running,
    /// In no line: nobody here can run it.
    Parked,
    /// In no line: another job has its key, or its step's turn has not come.
    Waiting,
    /// Being loaded: not yet placed.
    Loading,
}

/// A live job: all that deciding needs.
// Bits of a head that the journal keeps as such, and of the tape: no state machine hides in them.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: JobId,
    /// Payload and labels; `None` where they are on disk only.
    pub(crate) body: Option<Arc<Body>>,
    /// Bytes of the body, wherever it is.
    pub(crate) body_bytes: u32,
    pub(crate) queue: QueueNo,
    pub(crate) kind: u32,
    /// The jobs that it takes turns with others together with: those of its queue that have its key.
    pub(crate) tenant: Slot,
    pub(crate) priority: Priority,
    pub(crate) spot: Spot,
    pub(crate) arrival: i64,
    pub(crate) created: Timestamp,
    pub(crate) due: Maybe,
    pub(crate) due_by_wall: bool,
    /// Delayed: its key in the timers (negative where it fell due while the process was down). In line: since when, by
    /// the monotonic clock.
    pub(crate) clock_ms: i64,
    pub(crate) cancel_requested: bool,
    /// See [`Live::more`].
    pub(crate) more: Option<Box<More>>,
    pub(crate) prev: Slot,
    pub(crate) next: Slot,
    /// The journal has not seen it yet.
    pub(crate) is_new: bool,
    /// A head of its own stands in the journal.
    pub(crate) has_head: bool,
    /// A checkpoint may stand in the journal.
    pub(crate) has_checkpoint: bool,
    /// Its head has to be written with this wave.
    pub(crate) is_dirty: bool,
}

/// What those jobs have of which more was said than most say, or which were handed out at least once: in a box, since most of a
/// long line has none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) run: Option<Run>,
    pub(crate) expires: Maybe,
    pub(crate) deadline: Maybe,
    pub(crate) timeout_ms: Maybe,
    pub(crate) policy: Option<PolicyNo>,
    /// What it counts for beyond one start, in a rate.
    pub(crate) extra_starts: u32,
    pub(crate) attempts_ended: u32,
    pub(crate) attempt_recorded: u32,
    pub(crate) failures: u32,
    pub(crate) lost: u32,
    /// When its last attempt was handed out, as far as this process knows.
    pub(crate) started: Maybe,
    /// The key that it has, or waits for.
    pub(crate) key: Option<Arc<UniqueKey>>,
    /// The step of a flow that it is.
    pub(crate) step: Option<StepAt>,
    /// Its place in a batch.
    pub(crate) member: Option<MemberAt>,
    /// How often another job took its place, as far as this process knows.
    pub(crate) replaced: u32,
}

impl More {
    /// Of a job that has none.
    pub(crate) const NONE: Self = Self {
        run: None,
        expires: Maybe::NONE,
        deadline: Maybe::NONE,
        timeout_ms: Maybe::NONE,
        policy: None,
        extra_starts: 0,
        attempts_ended: 0,
        attempt_recorded: 0,
        failures: 0,
        lost: 0,
        started: Maybe::NONE,
        key: None,
        step: None,
        member: None,
        replaced: 0,
    };

    /// In a box, if there is anything to put into it.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::NONE).then(|| Box::new(self))
    }
}

/// A live attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) token: LeaseToken,
    pub(crate) claims: ClaimsNo,
    pub(crate) deadline: Option<Mono>,
    pub(crate) overdue: bool,
    /// It was a suspect when it was handed out.
    pub(crate) suspect: bool,
}

impl Live {
    /// What only some jobs have.
    pub(crate) fn more(&self) -> &More {
        static NONE: More = More::NONE;
        self.more.as_deref().unwrap_or(&NONE)
    }

    /// An arrival is given once, and again whenever the job changes its place.
    pub(crate) fn edition(&self) -> Edition {
        Edition { arrival: self.arrival, replaced: self.more().replaced }
    }

    /// Milliseconds to its deadline, if it has one.
    pub(crate) fn left_ms(&self, now: Now) -> Option<u64> {
        Some(self.more().deadline.time()?.since_ms(now.wall))
    }

    /// Its attempt, where it runs.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.more.as_ref()?.run.as_ref()
    }

    /// How many starts a start of it counts for, in a rate.
    pub(crate) fn weight(&self) -> u32 {
        self.more().extra_starts + 1
    }

    /// Lost twice or more: it may be what kills the process.
    pub(crate) fn is_suspect(&self) -> bool {
        is_suspect(self.more().lost)
    }

    /// It has failed before.
    pub(crate) fn is_retry(&self) -> bool {
        self.more().failures > 0
    }

    /// The number of the running attempt, or of the next one.
    pub(crate) fn attempt(&self) -> u32 {
        self.more().attempts_ended + 1
    }
}
