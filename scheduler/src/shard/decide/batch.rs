//! Batches: who may come in, when one is over, and how its jobs are called off.
//!
//! A job's end and its batch's count are one commit, and so is the end of the batch with the last of them: what waits for all of them
//! is told once, and is told.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::flows::{Flow, Is, Step, StepAt};
use super::super::slab::Slot;
use super::super::state::{Live, Queue, State};
use super::{AsStep, Decision, end_as_step, flow, steer, steer_flow};
use crate::attempt::{Failure, FailureKind, Output};
use crate::batch::{BatchCounts, BatchPlan, BatchView, CalledOff, MemberOf};
use crate::event::{BatchEvent, Event};
use crate::flow::{FlowPlan, StepOf};
use crate::job::{Body, NewJob};
use crate::refusal::Refusal;
use crate::state::EndState;
use crate::time::Now;

/// Jobs of batches that one step of the shard calls off at most: the rest is due again at once.
const CALLED_OFF_PER_STEP_MAX: usize = 1_000;
/// Notes about jobs that one step of the shard forgets at most.
const NOTES_PER_STEP_MAX: u32 = 10_000;

/// The jobs that come in with a flow, for batches of it, get their places.
pub(super) fn enter(plan: &FlowPlan, jobs: &mut [NewJob]) -> Result<(), Refusal> {
    let mut places: Vec<u32> = plan.steps.iter().map(|_| 0).collect();
    for job in jobs {
        let member = job.body.labels.member().filter(|member| member.of.flow == plan.id);
        let Some(MemberOf { of: StepOf { no, .. }, batch, .. }) = member else {
            return Err(flow::bad(plan, plan.steps.len() as u32, "has a job that is no step's, and of no batch"));
        };
        let step = plan.steps.get(no as usize).filter(|step| step.job == batch);
        let batch = step
            .and_then(|step| step.batch.as_ref())
            .ok_or_else(|| flow::bad(plan, no, "has jobs, and is no batch"))?;
        batch.check(job).map_err(|what| flow::bad(plan, no, what))?;
        let place = &mut places[no as usize];
        take_place(job, *place);
        *place += 1;
    }
    Ok(())
}

/// Whether nothing about the job itself keeps it from being of the batch that it says. Asked before it meets whoever has its key.
pub(super) fn check_label(state: &State, job: &NewJob) -> Result<(), Refusal> {
    let Some(MemberOf { of, .. }) = job.body.labels.member() else { return Ok(()) };
    let name = || {
        let flow = &state.flows.all[*state.flows.by_id.get(&of.flow)?];
        flow.steps.get(of.no as usize).map(|step| step.plan.name.clone())
    };
    let bad = |what| Refusal::BadStep { flow: of.flow, step: of.no, name: name(), what };
    BatchPlan::default().check(job).map_err(bad)
}

/// The job has this place in the batch that it says.
pub(super) fn take_place(job: &mut NewJob, place: u32) {
    relabel(job, job.body.labels.member().map(|member| MemberOf { place, ..member }));
}

/// The job is in this batch, or in none. A step it is not.
pub(super) fn relabel(job: &mut NewJob, member: Option<MemberOf>) {
    let labels = job.body.labels.clone().of_step(None).of_batch(member);
    job.body = Arc::new(Body { labels, ..(*job.body).clone() });
}

/// Whether a job may come into the batch that it says, beside so many others of the same call. What its own jobs bring, and the steps
/// before it, comes in as long as it has not succeeded: where it was called off, they are as well.
pub(super) fn may_join(
    state: &State,
    job: &NewJob,
    member: MemberOf,
    is_inside: bool,
    others: impl FnOnce(StepAt) -> u32,
) -> Result<StepAt, Refusal> {
    let id = member.of.flow;
    let slot = state.flows.by_id.get(&id).ok_or(Refusal::NoFlow { id })?;
    let flow = &state.flows.all[*slot];
    let at = state.batch_of(member);
    let at = at.ok_or_else(|| Refusal::NoStep { flow: id, step: format!("{}", member.of.no).into() })?;
    let (step, home) = (flow.step(at.no), state.queue(flow.home));
    let (Some(batch), Some(plan)) = (&step.batch, &step.plan.batch) else { unreachable!("it was found to be a batch") };
    if state.is_volatile(&job.queue) != flow.is_volatile() {
        let (one, other) = (home.settings.name.clone(), job.queue.clone());
        return Err(Refusal::FlowInTwoStores { flow: id, one, other });
    }
    let bad = |what| Refusal::BadStep { flow: id, step: at.no, name: Some(step.plan.name.clone()), what };
    plan.check(job).map_err(bad)?;
    if batch.counts.jobs.saturating_add(others(at)) >= BatchCounts::JOBS_MAX {
        return Err(bad("is a batch of 2^31 jobs, and more it cannot have"));
    }
    let forbidden = |is: &'static str| Err(steer_flow::forbidden(flow, at, is, "added to"));
    match &step.end {
        Some(end) if end.is_good() => forbidden("over"),
        Some(_) if !is_inside => forbidden("over"),
        _ if is_inside => Ok(at),
        _ if batch.called_off.is_some() => forbidden("called off"),
        _ if batch.counts.is_closed => forbidden("closed"),
        _ => Ok(at),
    }
}

/// A job of a batch ends: the batch counts it, in the same commit.
pub(super) fn member_ended(
    state: &State,
    live: &Live,
    (slot, end): (Slot, EndState),
    now: Now,
    (output, failure): (&Output, Option<&Failure>),
    decision: &mut Decision,
) {
    let Some(member) = live.more().member else { return };
    let event = BatchEvent::MemberEnded { slot, end, output: output.clone(), failure: failure.cloned() };
    decision.events.push(Event::OfBatch(member.at, event));
    // One that has ended did what there was to do then: it calls nothing off anew.
    if state.flows.step(member.at).is != Is::Ended {
        decision.steps.push((member.at, now));
    }
}

/// A batch that nothing keeps from ending does.
pub(super) fn complete(state: &State, at: StepAt, step: &Step, now: Now, decision: &mut Decision) {
    let (Some(batch), Some((job, _))) = (step.batch.as_ref().filter(|_| step.is_complete()), state.job_of(at)) else {
        return;
    };
    let (end, failure, cause) = match &batch.called_off {
        Some(called) => (EndState::Cancelled, called.failure.clone(), called.cause),
        None if step.collects() && batch.counts.failed() > 0 => {
            (EndState::Dead, Some(Failure::new(FailureKind::Error, told(&batch.counts))), None)
        }
        None => (EndState::Done, None, None),
    };
    let as_step = AsStep { cause, ..AsStep::default() };
    end_as_step(state, job, end, now, (Output::None, failure), as_step, decision);
}

fn told(counts: &BatchCounts) -> alloc::string::String {
    let BatchCounts { jobs, dead, cancelled, expired, .. } = counts;
    let failed = counts.failed();
    format!("{failed} of {jobs} jobs failed: {dead} dead, {cancelled} called off, {expired} expired")
}

/// A batch is called off. It is over when its jobs are.
pub(super) fn call_off(state: &State, at: StepAt, called: CalledOff, decision: &mut Decision) {
    let batch = state.flows.step(at).batch.as_ref();
    if batch.is_some_and(|batch| batch.called_off.is_none()) {
        decision.events.push(Event::OfBatch(at, BatchEvent::CalledOff(Box::new(called))));
    }
}

/// The jobs of batches that were called off are, some at a time.
pub(super) fn ask(state: &State, queue: &Queue, now: Now, decision: &mut Decision) {
    let mut left = CALLED_OFF_PER_STEP_MAX;
    for at in &queue.calling_off {
        let Some(batch) = &state.flows.step(*at).batch else { continue };
        let failure = batch.called_off.as_ref().and_then(|called| called.failure.clone());
        for slot in batch.open.iter().filter(|slot| !state.jobs[**slot].cancel_requested) {
            if left == 0 {
                return;
            }
            left -= 1;
            steer::cancel(state, *slot, failure.clone(), AsStep::default(), now, decision);
        }
        decision.events.push(Event::OfBatch(*at, BatchEvent::AllAsked));
    }
}

/// What a flow remembers of the jobs of its batches goes before it does, some at a time. Whether that was all.
pub(super) fn forget_notes(slot: Slot, flow: &Flow, decision: &mut Decision) -> bool {
    for (no, step) in (0..).zip(&flow.steps).filter(|(_, step)| step.batch.is_some()) {
        let notes = step.notes();
        if notes.len() as u32 > NOTES_PER_STEP_MAX {
            let until = notes.start + NOTES_PER_STEP_MAX;
            decision.events.push(Event::OfBatch(StepAt { flow: slot, no }, BatchEvent::NotesGone(until)));
            return false;
        }
    }
    true
}

/// All is loaded: a batch whose numbers were lost is dead, and jobs that are not there any more have ended, nobody knows how.
pub(super) fn loaded(state: &State, at: StepAt, step: &Step, now: Now, decision: &mut Decision) {
    let Some(batch) = &step.batch else { return };
    let lost = batch.counts.open().saturating_sub(batch.open.len() as u32);
    if lost > 0 {
        decision.events.push(Event::OfBatch(at, BatchEvent::MembersLost(lost)));
    }
    if let (false, Some((job, _))) = (batch.is_known, state.job_of(at)) {
        let failure = Failure::new(FailureKind::Lost, "the record of its numbers could not be read".into());
        end_as_step(state, job, EndState::Dead, now, (Output::None, Some(failure)), AsStep::default(), decision);
    }
}

/// Somebody closes a batch: it ends when its jobs have.
pub(super) fn close(flow: &Flow, at: StepAt, now: Now) -> Result<Decision, Refusal> {
    let step = flow.step(at.no);
    let Some(batch) = &step.batch else {
        return Err(steer_flow::forbidden(flow, at, "no batch", "closed"));
    };
    let mut decision = Decision::default();
    if step.is != Is::Ended && !batch.counts.is_closed {
        decision.events.push(Event::OfBatch(at, BatchEvent::Closed));
        decision.steps.push((at, now));
    }
    Ok(decision)
}

/// A batch as it stands.
pub(super) fn view(state: &State, flow: &Flow, at: StepAt) -> Result<BatchView, Refusal> {
    let step = flow.step(at.no);
    let (Some(batch), Some(plan)) = (&step.batch, &step.plan.batch) else {
        return Err(steer_flow::forbidden(flow, at, "no batch", "looked at as one"));
    };
    let of = StepOf { flow: flow.id, no: at.no };
    Ok(BatchView {
        member: MemberOf { of, batch: step.plan.job, place: 0 },
        plan: (**plan).clone(),
        state: state.step_state(step),
        counts: batch.counts,
        queue: step.plan.queue.clone(),
    })
}
