//! The batches: how many jobs each has, and which of them have not ended.
//!
//! Owns the numbers of a batch beside its step, and their audit. A live job knows its batch by its place, a batch its open jobs by
//! theirs; what it has counted and what is open are together all that ever came.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use super::flows::{Is, Step, StepAt};
use super::slab::Slot;
use super::state::{Live, State};
use crate::batch::{BatchCounts, CalledOff, MemberOf};
use crate::flow::StepOf;

/// The place of a live job in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberAt {
    pub(crate) at: StepAt,
    pub(crate) place: u32,
}

/// A batch, beside its step.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) counts: BatchCounts,
    pub(crate) called_off: Option<Box<CalledOff>>,
    /// Its jobs that are live.
    pub(crate) open: BTreeSet<Slot>,
    /// What was remembered of the jobs with places below this one is forgotten.
    pub(crate) notes_gone: u32,
    /// Its numbers have to be written with this wave.
    pub(crate) is_dirty: bool,
    /// Its numbers are there: while loading, they may have been lost.
    pub(crate) is_known: bool,
}

impl Batch {
    pub(crate) const fn new(is_known: bool) -> Self {
        Self {
            counts: BatchCounts::NONE,
            called_off: None,
            open: BTreeSet::new(),
            notes_gone: 0,
            is_dirty: false,
            is_known,
        }
    }
}

impl Step {
    /// Whether it is a batch that jobs of have not ended.
    pub(crate) fn has_open_members(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| !batch.open.is_empty())
    }

    /// Whether it is a batch that nothing keeps from ending: its turn has come, or it was called off.
    pub(crate) fn is_complete(&self) -> bool {
        let (Some(batch), Some(plan)) = (&self.batch, &self.plan.batch) else { return false };
        let is_closed = batch.called_off.is_some() || batch.counts.is_closed || !plan.stays_open;
        self.is == Is::Going && is_closed && batch.open.is_empty()
    }

    /// What it leaves is collected from its jobs.
    pub(crate) fn collects(&self) -> bool {
        self.plan.batch.as_ref().is_some_and(|plan| plan.collects.is_some())
    }

    /// Places of jobs of whose ends something may be remembered.
    pub(crate) fn notes(&self) -> core::ops::Range<u32> {
        match &self.batch {
            Some(batch) if self.collects() || batch.counts.failed() > 0 => batch.notes_gone..batch.counts.jobs,
            _ => 0..0,
        }
    }
}

impl State {
    /// The batch that a job says it is of, if it is there.
    pub(crate) fn batch_of(&self, member: MemberOf) -> Option<StepAt> {
        self.flows.place_of(member.of, member.batch).filter(|at| self.flows.step(*at).batch.is_some())
    }

    /// The step that is a batch, if this is its own job and some of its jobs have not ended.
    pub(crate) fn has_members(&self, live: &Live) -> Option<StepAt> {
        live.more().step.filter(|at| self.flows.step(*at).has_open_members())
    }

    /// Whether a job that ended comes back as one of its batch: not to one that went on without it, or is being called off.
    pub(crate) fn may_rejoin(&self, member: MemberOf) -> Option<StepAt> {
        self.batch_of(member).filter(|at| {
            let step = self.flows.step(*at);
            let has_succeeded = step.end.as_ref().is_some_and(|end| end.is_good());
            let Some(batch) = &step.batch else { return false };
            let is_called_off = batch.called_off.is_some() && step.is != Is::Ended;
            !has_succeeded && !is_called_off && member.place < batch.counts.jobs
        })
    }
}

/// The numbers of all batches.
pub(super) fn portrait(state: &State) -> BTreeMap<StepOf, BatchCounts> {
    let steps =
        state.flows.all.iter().flat_map(|(_, flow)| (0..).zip(&flow.steps).map(|(no, step)| (flow.id, no, step)));
    steps.filter_map(|(flow, no, step)| Some((StepOf { flow, no }, step.batch.as_ref()?.counts))).collect()
}

/// Checks a batch against the live jobs: each knows the other, and the numbers are a recount.
pub(super) fn check(state: &State, at: StepAt, step: &Step) -> Result<(), String> {
    let Some(batch) = &step.batch else { return Ok(()) };
    let name = &step.plan.name;
    for slot in &batch.open {
        let member = state.jobs.get(*slot).and_then(|live| live.more().member);
        if member.is_none_or(|member| member.at != at || member.place >= batch.counts.jobs) {
            return Err(format!("batch `{name}` has the job at {slot}, which says {member:?}"));
        }
    }
    let counts = &batch.counts;
    if batch.open.len() != counts.open() as usize {
        return Err(format!("batch `{name}` has {} open jobs, counted {counts:?}", batch.open.len()));
    }
    if step.is_complete() {
        return Err(format!("batch `{name}` waits for nothing: {counts:?}"));
    }
    let has_succeeded = step.end.as_ref().is_some_and(|end| end.is_good());
    if has_succeeded && !batch.open.is_empty() {
        return Err(format!("batch `{name}` is over, and {} of its jobs are not", batch.open.len()));
    }
    // Whoever called it off asks them all, now or in a later step.
    let asks = state.queue(state.flows.all[at.flow].home).calling_off.contains(&at);
    let is_left = |slot: &Slot| !state.jobs[*slot].cancel_requested;
    if batch.called_off.is_some() && !asks && batch.open.iter().any(is_left) {
        return Err(format!("batch `{name}` was called off, and jobs of it go on"));
    }
    Ok(())
}
