//! What a job is part of, and the bodies of the records of batches and their jobs.

use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use uuid::Uuid;
use windlass_scheduler::batch::{BatchCounts, BatchPlan, BatchRecord, CalledOff, MemberOf, MemberRecord};
use windlass_scheduler::flow::StepOf;
use windlass_scheduler::job::{InstantOf, JobId, Labels, Name};
use windlass_scheduler::time::Timestamp;

use super::flow::StepOfV1;
use super::{FailureV1, OutputV1};
use crate::keys;

/// What a job is part of, where it is part of anything: in its body. No job is of two of them.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) enum PartOfV1<'a> {
    Step(StepOfV1),
    Member { of: StepOfV1, batch: [u8; 16], place: u32 },
    Instant { schedule: &'a str, at: u64 },
}

impl<'a> PartOfV1<'a> {
    pub(crate) fn new(labels: &'a Labels) -> Option<Self> {
        let member = |member: MemberOf| Self::Member {
            of: StepOfV1::new(member.of),
            batch: *member.batch.0.as_bytes(),
            place: member.place,
        };
        let instant = |of: &'a InstantOf| Self::Instant { schedule: of.schedule.as_str(), at: of.at.0 };
        let step = labels.step().map(|of| Self::Step(StepOfV1::new(of)));
        step.or_else(|| labels.member().map(member)).or_else(|| labels.instant().map(instant))
    }

    pub(crate) fn label(&self, labels: Labels, intern: &mut dyn FnMut(&str) -> Name) -> Labels {
        match self {
            Self::Step(of) => labels.of_step(Some(of.domain())),
            Self::Member { of, batch, place } => {
                let batch = JobId(Uuid::from_bytes(*batch));
                labels.of_batch(Some(MemberOf { of: of.domain(), batch, place: *place }))
            }
            Self::Instant { schedule, at } => {
                labels.of_instant(Some(InstantOf { schedule: intern(schedule), at: Timestamp(*at) }))
            }
        }
    }
}

/// Part of a step's plan.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct BatchPlanV1<'a> {
    stays_open: bool,
    collects: Option<&'a str>,
}

impl<'a> BatchPlanV1<'a> {
    pub(crate) fn new(plan: &'a BatchPlan) -> Self {
        Self { stays_open: plan.stays_open, collects: plan.collects.as_ref().map(Name::as_str) }
    }

    pub(crate) fn domain(&self, intern: &mut dyn FnMut(&str) -> Name) -> BatchPlan {
        BatchPlan { stays_open: self.stays_open, collects: self.collects.map(intern) }
    }
}

/// Flow and number stand in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct BatchV1<'a> {
    jobs: u32,
    done: u32,
    dead: u32,
    cancelled: u32,
    expired: u32,
    is_closed: bool,
    called_off: Option<CalledOffV1<'a>>,
}

#[derive(Encode, BorrowDecodeDerive)]
struct CalledOffV1<'a> {
    cause: Option<u32>,
    failure: Option<FailureV1<'a>>,
}

impl<'a> BatchV1<'a> {
    pub(crate) fn new(batch: &'a BatchRecord) -> Self {
        let BatchCounts { jobs, done, dead, cancelled, expired, is_closed } = batch.counts;
        let called_off = |called: &'a CalledOff| CalledOffV1 {
            cause: called.cause,
            failure: called.failure.as_ref().map(FailureV1::new),
        };
        Self { jobs, done, dead, cancelled, expired, is_closed, called_off: batch.called_off.as_ref().map(called_off) }
    }

    /// `None` where a number stands for nothing, or numbers cannot be.
    pub(crate) fn domain(&self, of: StepOf) -> Option<BatchRecord> {
        let Self { jobs, done, dead, cancelled, expired, is_closed, .. } = *self;
        let ended = [done, dead, cancelled, expired].into_iter().map(u64::from).sum::<u64>();
        if ended > u64::from(jobs) || jobs > BatchCounts::JOBS_MAX {
            return None;
        }
        let called_off = match &self.called_off {
            None => None,
            Some(CalledOffV1 { cause, failure: None }) => Some(CalledOff { cause: *cause, failure: None }),
            Some(CalledOffV1 { cause, failure: Some(failure) }) => {
                Some(CalledOff { cause: *cause, failure: Some(failure.domain()?) })
            }
        };
        Some(BatchRecord { of, counts: BatchCounts { jobs, done, dead, cancelled, expired, is_closed }, called_off })
    }
}

/// Flow, number and place stand in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct MemberV1<'a> {
    id: [u8; 16],
    end: u8,
    failure: Option<FailureV1<'a>>,
    output: OutputV1<'a>,
}

impl<'a> MemberV1<'a> {
    pub(crate) fn new(member: &'a MemberRecord) -> Self {
        Self {
            id: *member.id.0.as_bytes(),
            end: keys::state_no(member.end),
            failure: member.failure.as_ref().map(FailureV1::new),
            output: OutputV1::new(&member.output),
        }
    }

    /// `None` where a number stands for nothing.
    pub(crate) fn domain(&self, of: StepOf, place: u32) -> Option<MemberRecord> {
        let failure = match &self.failure {
            Some(failure) => Some(failure.domain()?),
            None => None,
        };
        let (id, end) = (JobId(Uuid::from_bytes(self.id)), keys::state_of(self.end)?);
        Some(MemberRecord { of, place, id, end, failure, output: self.output.domain() })
    }
}
