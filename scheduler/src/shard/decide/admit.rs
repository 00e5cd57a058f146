//! Whether a loaded record makes sense, seen from those that came before it (I1). One that does not is a misfit: it is
//! moved aside with its bytes, never deleted, and loading goes on.

use alloc::boxed::Box;
use core::fmt;

use super::super::keys::Keys;
use super::super::slab::NONE;
use super::super::state::{Place, State};
use super::page;
use crate::bug;
use crate::change::{JobRecord, Record};
use crate::event::{Event, LoadedRecord};
use crate::flow::{FlowId, FlowRecord, StepOf};
use crate::job::JobId;
use crate::refusal::Refusal;
use crate::settings::Level;

/// Why a readable record makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Another job has this id, in the same store.
    IdTwice(JobId),
    /// The policy's number is over the limit.
    PolicyNumber(u16),
    /// The end's number is out of order, or stands twice.
    EndOrder(u64),
    /// Attempts, results, checkpoints and heads of their own are not loaded.
    NotLoaded,
    /// A flow stands twice, has no steps, or one that needs a later one.
    Flow(FlowId),
    /// No flow has this step, or it ended twice.
    NoStep(StepOf),
    /// A number in the head is at the end of its range.
    Range(JobId),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdTwice(id) => write!(f, "job {id} stands twice"),
            Self::PolicyNumber(no) => write!(f, "policy number {no} is over {}", Refusal::POLICIES_MAX - 1),
            Self::EndOrder(no) => write!(f, "end number {no} is out of order"),
            Self::NotLoaded => f.write_str("a record of this kind is not loaded"),
            Self::Flow(id) => write!(f, "flow {id} stands twice, or its steps are in no order"),
            Self::NoStep(StepOf { flow, no }) => write!(f, "flow {flow} has no step {no}, or it ended twice"),
            Self::Range(id) => write!(f, "a number of job {id} is out of its range"),
        }
    }
}

/// What has to go for a record of a `Memory` queue: the journal has a job or a flow with its id. What is in memory is never behind the
/// journal, so that one had ended, and was forgotten; the write of that was lost with the core, and is made up for.
pub(crate) fn superseded(state: &State, record: &Record) -> Option<Event> {
    if bug!(StaleIdKept) {
        return None;
    }
    let (queue, id) = match record {
        Record::Ended(ended) => (&ended.key.queue, ended.id),
        Record::Job(job) => (&job.head.queue, job.id),
        Record::Flow(flow) => {
            let slot = *state.flows.by_id.get(&flow.plan.id)?;
            let is_stale = state.is_volatile(&flow.plan.steps.first()?.queue) && !state.flows.all[slot].is_volatile();
            return is_stale.then_some(Event::FlowForgotten { flow: slot });
        }
        _ => return None,
    };
    if !state.is_volatile(queue) {
        return None;
    }
    match state.place_of(id)? {
        Place::Ended(stub) if state.queue(state.stubs[stub].queue).level() != Level::Memory => {
            Some(Event::Purged { stub })
        }
        Place::Live(slot) if state.store_of(&state.jobs[slot]) != Keys::VOLATILE => Some(Event::Superseded { slot }),
        _ => None,
    }
}

/// The event of a record that makes sense, if it has to be one. What it supersedes counts as gone.
pub(crate) fn admit(state: &State, record: Record) -> Result<Option<Event>, Misfit> {
    let is_gone = superseded(state, &record).is_some();
    let place_of = |id| state.place_of(id).filter(|_| !is_gone);
    let loaded = match record {
        Record::Setting(setting) => LoadedRecord::Setting(setting),
        Record::Policy(no, _) if usize::from(no.0) >= Refusal::POLICIES_MAX => return Err(Misfit::PolicyNumber(no.0)),
        Record::Policy(no, policy) => LoadedRecord::Policy(no, policy),
        Record::Counters(counters) => LoadedRecord::Counters(counters),
        Record::Ended(ended) => {
            if place_of(ended.id).is_some() {
                return Err(Misfit::IdTwice(ended.id));
            }
            let list = state.queue_no(&ended.key.queue).map(|no| &state.queue(no).ended[ended.key.state.index()]);
            let last = list.filter(|list| list.last != NONE).map_or(0, |list| state.stubs[list.last].end_no);
            if ended.key.end_no <= last {
                return Err(Misfit::EndOrder(ended.key.end_no));
            }
            LoadedRecord::Ended(ended)
        }
        Record::Job(job) => match place_of(job.id) {
            // The body of a retained job.
            Some(Place::Ended(_)) => return Ok(None),
            Some(Place::Live(_)) => return Err(Misfit::IdTwice(job.id)),
            None => {
                let keeps_body = page::keeps_body(state, &job);
                LoadedRecord::Job(in_range(job)?, keeps_body)
            }
        },
        Record::Claims(claims) => LoadedRecord::Claims(claims),
        Record::Order(order) => LoadedRecord::Order(order),
        Record::Schedule(schedule) => LoadedRecord::Schedule(schedule),
        Record::Unique(held) => LoadedRecord::Unique(held),
        Record::Flow(flow) => {
            check_flow(state, &flow, is_gone)?;
            LoadedRecord::Flow(flow)
        }
        Record::Step(step) => {
            let flow = state.flows.by_id.get(&step.of.flow).map(|slot| &state.flows.all[*slot]);
            if flow.and_then(|flow| flow.steps.get(step.of.no as usize)).is_none_or(|known| known.end.is_some()) {
                return Err(Misfit::NoStep(step.of));
            }
            LoadedRecord::Step(step)
        }
        Record::Batch(batch) => {
            let flow = state.flows.by_id.get(&batch.of.flow).map(|slot| &state.flows.all[*slot]);
            let step = flow.and_then(|flow| flow.steps.get(batch.of.no as usize));
            if step.and_then(|step| step.batch.as_ref()).is_none_or(|known| known.is_known) {
                return Err(Misfit::NoStep(batch.of));
            }
            LoadedRecord::Batch(batch)
        }
        // It takes no part in anything but in what is in memory.
        Record::Checkpoint(id, bytes) if page::is_volatile(state, id) => {
            LoadedRecord::Checkpoint(id, bytes.len() as u32)
        }
        Record::Head(..)
        | Record::Attempt(_)
        | Record::Result(..)
        | Record::Checkpoint(..)
        | Record::StepOutput(..)
        | Record::Member(_) => {
            return Err(Misfit::NotLoaded);
        }
    };
    Ok(Some(Event::Loaded(Box::new(loaded))))
}

/// A flow whose steps need only earlier ones.
fn check_flow(state: &State, flow: &FlowRecord, is_gone: bool) -> Result<(), Misfit> {
    let plan = &flow.plan;
    let is_ordered = (0..).zip(&plan.steps).all(|(no, step)| {
        let comes_before = |other: u32| other < no;
        step.needs.iter().all(|need| comes_before(need.step)) && step.undoes.is_none_or(comes_before)
    });
    let has_output = plan.output.is_none_or(|no| (no as usize) < plan.steps.len());
    let is_new = is_gone || !state.flows.by_id.contains_key(&plan.id);
    if is_new && is_ordered && has_output && !plan.steps.is_empty() { Ok(()) } else { Err(Misfit::Flow(plan.id)) }
}

/// Numbers that count up one by one never get near their ends, so one that is there was not written by us.
fn in_range(job: JobRecord) -> Result<JobRecord, Misfit> {
    let head = &job.head;
    let counts = [head.attempts_ended, head.failures, head.lost];
    let far = counts.iter().any(|count| *count >= u32::MAX / 2) || head.arrival.unsigned_abs() >= u64::MAX / 4;
    if far { Err(Misfit::Range(job.id)) } else { Ok(job) }
}
