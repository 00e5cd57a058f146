//! Batches: steps of flows that are made of many jobs, which may come while it runs.
//!
//! Owns the words: what a batch is planned as, what is remembered of it and of its jobs. A batch is numbers, and no list of its jobs:
//! each job knows its batch, and each end of one stands in the commit that counts it.

use crate::attempt::{Failure, Output};
use crate::flow::{StepOf, StepState};
use crate::job::{JobId, Name, NewJob};
use crate::state::EndState;

/// What a batch is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchPlan {
    /// It does not end before somebody closes it. Otherwise it ends when its turn has come and all its jobs have ended.
    pub stays_open: bool,
    /// All its jobs are of this kind: what they leave is collected, and it fails where one of them did.
    pub collects: Option<Name>,
}

impl BatchPlan {
    /// Whether such a job may be of it.
    ///
    /// # Errors
    /// What is wrong with that, as the rest of a sentence about the batch.
    pub fn check(&self, job: &NewJob) -> Result<(), &'static str> {
        if self.collects.as_ref().is_some_and(|kind| *kind != job.kind) {
            return Err("collects what jobs of one kind leave, and was given one of another");
        }
        if job.body.labels.unique().is_some() {
            return Err("was given a job with a unique key, and another job would stand for that: say `.unique(None)`");
        }
        Ok(())
    }
}

/// The place of a job in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberOf {
    /// The step that the batch is.
    pub of: StepOf,
    /// Its own job: another flow may have the same id later.
    pub batch: JobId,
    /// The how-manieth job of it, from 0. The shard gives it when the job comes in.
    pub place: u32,
}

/// The jobs of a batch, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchCounts {
    /// Jobs that ever came in.
    pub jobs: u32,
    /// Of these, those that succeeded.
    pub done: u32,
    /// Those that are dead.
    pub dead: u32,
    /// Those that were called off.
    pub cancelled: u32,
    /// Those that expired.
    pub expired: u32,
    /// Somebody closed it: none comes in any more but from its own jobs.
    pub is_closed: bool,
}

impl BatchCounts {
    /// Of a batch that never had a job.
    pub const NONE: Self = Self { jobs: 0, done: 0, dead: 0, cancelled: 0, expired: 0, is_closed: false };

    /// So many jobs one batch may have.
    pub const JOBS_MAX: u32 = 1 << 31;

    /// Jobs that ended without success.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.dead.saturating_add(self.cancelled).saturating_add(self.expired)
    }

    /// Jobs that have not ended.
    #[must_use]
    pub const fn open(&self) -> u32 {
        self.jobs.saturating_sub(self.done.saturating_add(self.failed()))
    }

    /// Those that ended so.
    pub const fn ended_mut(&mut self, end: EndState) -> &mut u32 {
        match end {
            EndState::Done => &mut self.done,
            EndState::Dead => &mut self.dead,
            EndState::Cancelled => &mut self.cancelled,
            EndState::Expired => &mut self.expired,
        }
    }
}

/// Why a batch ends as soon as its jobs have, and they are asked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalledOff {
    /// The step whose failure called it off.
    pub cause: Option<u32>,
    /// What to say about that.
    pub failure: Option<Failure>,
}

/// A batch, as it is remembered while its flow is: absolute numbers, written in each wave that moves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The step that it is.
    pub of: StepOf,
    /// Its jobs.
    pub counts: BatchCounts,
    /// It was called off.
    pub called_off: Option<CalledOff>,
}

/// The end of a job of a batch, as it is remembered while its flow is: of those that did not succeed, and of all where what they left
/// is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The batch.
    pub of: StepOf,
    /// The job's place in it.
    pub place: u32,
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub end: EndState,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// What it left, where that is collected.
    pub output: Output,
}

/// A batch, for those who look. It may show what is not yet durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// Where it is: what its jobs say.
    pub member: MemberOf,
    /// What was planned.
    pub plan: BatchPlan,
    /// How it stands.
    pub state: StepState,
    /// Its jobs.
    pub counts: BatchCounts,
    /// The queue that its own job is in, for those who read.
    pub queue: Name,
}
