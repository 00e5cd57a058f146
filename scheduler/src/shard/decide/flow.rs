//! Flows: whether one may come in, whose turn has come when a step ends, and when all is over.
//!
//! A step's end stands in the commit of its job's end, and so does whatever becomes of those that need it. So a turn comes once, and
//! comes: there is nothing between the two that could be lost.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::super::flows::{Filed, Flow, Is, StepAt, Then};
use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Live, Queue, State};
use super::{AsStep, Decision, batch, end_as_step, steer};
use crate::attempt::{Failure, FailureKind, Output};
use crate::bug;
use crate::command::Request;
use crate::effect::{Answer, Effect};
use crate::event::{Event, Turn};
use crate::flow::{
    FlowEnding, FlowId, FlowPlan, FlowState, FlowSummary, IfFailed, StepEnd, StepHow, StepInput, StepOf, Times, Work,
};
use crate::job::{Name, NewJob};
use crate::refusal::Refusal;
use crate::state::EndState;
use crate::time::{Now, Timestamp};

/// Steps of flows that one step of the shard forgets at most, and one flow: the rest is due again at once.
const FORGOTTEN_PER_STEP_MAX: usize = 10_000;

/// Whether a flow may come in with these jobs, as far as it alone can tell. Takes the times of the jobs that have to wait into the
/// plan: they begin with their turns.
pub(crate) fn check(state: &State, plan: &mut FlowPlan, jobs: &mut [NewJob]) -> Result<(), Refusal> {
    let (id, steps_max) = (plan.id, state.settings.flow_steps_max);
    if plan.steps.is_empty() || plan.steps.len() > steps_max {
        return Err(Refusal::FlowSize { flow: id, steps: plan.steps.len(), steps_max });
    }
    let (needs, needs_max) = (plan.steps.iter().map(|step| step.needs.len()).sum(), state.settings.flow_needs_max);
    if needs > needs_max {
        return Err(Refusal::FlowNeeds { flow: id, needs, needs_max });
    }
    if plan.steps.len() > jobs.len() || plan.output.is_some_and(|output| output as usize >= plan.steps.len()) {
        return Err(bad(plan, plan.steps.len() as u32, "has a job, or an output, that is no step's"));
    }
    let mut stores = Stores { state, flow: id, first: None };
    let (jobs, members) = jobs.split_at_mut(plan.steps.len());
    let undoing: BTreeSet<u32> = (0..).zip(&plan.steps).filter_map(|(no, step)| step.undoes.map(|_| no)).collect();
    for (no, (step, job)) in (0..).zip(plan.steps.iter_mut().zip(jobs)) {
        let bad = |what| Refusal::BadStep { flow: id, step: no, name: Some(step.name.clone()), what };
        let comes_before = |other: u32| other < no;
        if !step.needs.iter().all(|need| comes_before(need.step)) || !step.undoes.is_none_or(comes_before) {
            return Err(bad("needs a step that does not come before it"));
        }
        let needed = step.needs.iter().map(|need| need.step).collect::<BTreeSet<_>>();
        if needed.len() != step.needs.len() {
            return Err(bad("needs a step twice"));
        }
        let undoes = |other: u32| undoing.contains(&other);
        if step.needs.iter().any(|need| undoes(need.step)) || step.undoes.is_some_and(undoes) {
            return Err(bad("needs, or undoes, a step that undoes another one"));
        }
        if step.undoes.is_some() && (!step.needs.is_empty() || step.work != Work::Job) {
            return Err(bad("undoes another one, and needs nothing else"));
        }
        let is_its_job = step.job == job.id && step.kind == job.kind && step.queue == job.queue;
        if !is_its_job || job.body.labels.step() != Some(StepOf { flow: id, no }) {
            return Err(bad("is not the one that its job says"));
        }
        if job.body.labels.member().is_some() {
            return Err(bad("is a job of a batch, too"));
        }
        if job.body.labels.unique().is_some() {
            return Err(bad("has a unique key, and another job would stand for it: say `.unique(None)`"));
        }
        if step.batch.is_some() != (step.work == Work::Batch) {
            return Err(bad("is a batch without saying what of, or says it and is none"));
        }
        stores.check(&job.queue)?;
        if !step.needs.is_empty() || step.undoes.is_some() || step.work != Work::Job {
            let times = Times { due: job.due.take(), expires: job.expires.take(), deadline: job.deadline.take() };
            step.times = times.boxed();
        }
    }
    members.iter().try_for_each(|job| stores.check(&job.queue))?;
    batch::enter(plan, members)
}

/// That a flow cannot be because of this step.
pub(super) fn bad(plan: &FlowPlan, step: u32, what: &'static str) -> Refusal {
    let name = plan.steps.get(step as usize).map(|step| step.name.clone());
    Refusal::BadStep { flow: plan.id, step, name, what }
}

/// The queues of a flow, which are all in one store.
struct Stores<'a> {
    state: &'a State,
    flow: FlowId,
    first: Option<(Name, bool)>,
}

impl Stores<'_> {
    fn check(&mut self, queue: &Name) -> Result<(), Refusal> {
        let is_volatile = self.state.is_volatile(queue);
        match &self.first {
            None => self.first = Some((queue.clone(), is_volatile)),
            Some((one, was)) if *was != is_volatile => {
                return Err(Refusal::FlowInTwoStores { flow: self.flow, one: one.clone(), other: queue.clone() });
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// A job that is a step ends: so does the step.
pub(super) fn step_ended(
    live: &Live,
    end: EndState,
    now: Now,
    (output, failure): (&Output, Option<&Failure>),
    as_step: AsStep,
    decision: &mut Decision,
) {
    let Some(at) = live.more().step else { return };
    let end = StepEnd {
        how: if as_step.is_skipped { StepHow::Skipped } else { StepHow::Job(end) },
        at: now.wall,
        started: live.more().started.time(),
        // The one that ends is counted before this is applied, and all of them then.
        attempts: 0,
        failure: failure.cloned(),
        cause: as_step.cause,
        output: as_step.output.unwrap_or_else(|| output.clone()),
        is_alone: false,
    };
    decision.events.push(Event::StepEnded { at, end: Box::new(end), is_stored: as_step.is_stored });
    decision.steps.push((at, now));
}

/// Something happened to a step: what becomes of it, of those that need it, and of the flow.
pub(crate) fn after(state: &State, at: StepAt, now: Now) -> Decision {
    let Some(flow) = state.flows.all.get(at.flow).filter(|flow| flow.ended.is_none()) else {
        return Decision::default();
    };
    let step = flow.step(at.no);
    let is_first = flow.fail_fast && step.fails_the_flow() && step.end.as_ref().is_some_and(|end| end.cause.is_none());
    if !is_first || flow.open == 0 {
        return look(state, at, now);
    }
    let mut decision = Decision::default();
    call_off(state, at.flow, at.no, now, &mut decision);
    decision
}

/// As [`after`], of one that had ended before: what was to be called off was, and whatever came back since then stays.
pub(crate) fn look(state: &State, at: StepAt, now: Now) -> Decision {
    let mut decision = Decision::default();
    let Some(flow) = state.flows.all.get(at.flow).filter(|flow| flow.ended.is_none()) else { return decision };
    let step = flow.step(at.no);
    if step.is == Is::Waiting {
        open(state, flow, at, now, &mut decision);
        // It may have come back, to wait for one that failed before.
        for need in &step.plan.needs {
            let then = Then { step: at.no, if_failed: need.if_failed };
            if is_held_by(state, flow, need.step, then) {
                hold(state, StepAt { flow: at.flow, no: need.step }, &mut decision);
            }
        }
    }
    batch::complete(state, at, step, now, &mut decision);
    if step.is == Is::Ended {
        for then in &step.then {
            unblock(state, at, *then, now, &mut decision);
        }
    }
    if flow.open == 0 {
        wind_up(state, at.flow, now, &mut decision);
    }
    decision
}

/// Whether a step that needs one which failed waits for somebody to do something about that. Without the job, or where that has run
/// by itself, there is nothing left that anybody could bring back.
fn is_held_by(state: &State, flow: &Flow, no: u32, then: Then) -> bool {
    let step = flow.step(no);
    let is_root = step.end.as_ref().is_some_and(|end| end.cause.is_none() && !end.is_alone);
    then.if_failed == IfFailed::Hold && step.has_failed() && is_root && state.stub(step.plan.job).is_some()
}

fn hold(state: &State, at: StepAt, decision: &mut Decision) {
    if !state.flows.holding.contains_key(&state.flows.step(at).plan.job) {
        decision.events.push(Event::StepHolds { at });
    }
}

/// Whether a step that comes back would be called off again at once, for want of one that does not come back with it.
pub(crate) fn is_in_vain(state: &State, flow: &Flow, no: u32, comes_back: impl Fn(u32) -> bool) -> bool {
    flow.step(no).plan.needs.iter().any(|need| {
        let then = Then { step: no, if_failed: need.if_failed };
        let other = flow.step(need.step);
        let is_lost = other.is == Is::Ended && !then.is_met_by(other) && !is_held_by(state, flow, need.step, then);
        is_lost && !comes_back(need.step)
    })
}

/// A step that another one needs has ended.
fn unblock(state: &State, at: StepAt, then: Then, now: Now, decision: &mut Decision) {
    let flow = &state.flows.all[at.flow];
    let (step, next) = (flow.step(at.no), StepAt { flow: at.flow, no: then.step });
    if flow.step(then.step).is != Is::Waiting {
        return;
    }
    if then.is_met_by(step) {
        return open(state, flow, next, now, decision);
    }
    if is_held_by(state, flow, at.no, then) {
        return hold(state, at, decision);
    }
    let Some((slot, _)) = state.job_of(next) else { return };
    let cause = step.end.as_ref().and_then(|end| end.cause).unwrap_or(at.no);
    let failure = Failure::new(FailureKind::Error, called_off_by(flow, cause));
    let as_step = AsStep { cause: Some(cause), ..AsStep::default() };
    steer::cancel(state, slot, Some(failure), as_step, now, decision);
}

fn called_off_by(flow: &Flow, cause: u32) -> alloc::string::String {
    let step = flow.step(cause);
    let why = step.end.as_ref().and_then(|end| Some(format!(": {}", end.failure.as_ref()?)));
    let how = match step.end.as_ref().map(|end| end.how) {
        Some(StepHow::Job(end)) => crate::state::State::from(end).as_str(),
        _ => "over",
    };
    format!("step `{}` is {how}{}", step.plan.name, why.unwrap_or_default())
}

/// A step whose needs are met begins: its job stands in line, or time passes, or its signal is awaited.
fn open(state: &State, flow: &Flow, at: StepAt, now: Now, decision: &mut Decision) {
    let step = flow.step(at.no);
    let is_early = step.needs_open > 0 && !(step.needs_open == 1 && bug!(JoinEarly));
    if step.is != Is::Waiting || is_early || step.plan.undoes.is_some() {
        return;
    }
    let Some((slot, live)) = state.job_of(at) else { return };
    let is_over = match step.plan.work {
        // A batch that nothing keeps is over as soon as it is looked at again.
        Work::Job | Work::Batch => false,
        Work::Signal => step.end.is_some(),
        Work::Timer => match step.plan.times.as_ref().and_then(|times| times.due) {
            Some(due) => !due.is_later(now),
            None => State::is_due(live, now),
        },
    };
    if is_over {
        let output = step.end.as_ref().map(|end| end.output.clone());
        let as_step = AsStep { is_stored: output.is_some(), output, ..AsStep::default() };
        return end_as_step(state, slot, EndState::Done, now, (Output::None, None), as_step, decision);
    }
    decision.events.push(Event::StepOpened { at, now });
    if step.plan.work == Work::Batch {
        decision.steps.push((at, now));
    }
}

/// Calls off what has not ended: at once where it waits, by asking its attempt where it runs.
fn call_off(state: &State, slot: Slot, cause: u32, now: Now, decision: &mut Decision) {
    let flow = &state.flows.all[slot];
    let failure = Failure::new(FailureKind::Error, called_off_by(flow, cause));
    for (no, _) in (0..).zip(&flow.steps).filter(|(_, step)| step.is != Is::Ended && step.plan.undoes.is_none()) {
        let Some((job, _)) = state.job_of(StepAt { flow: slot, no }) else { continue };
        let as_step = AsStep { cause: Some(cause), ..AsStep::default() };
        steer::cancel(state, job, Some(failure.clone()), as_step, now, decision);
    }
}

/// All that undoes nothing has ended: what succeeded is undone where the flow has failed, one after the other; then it is over.
fn wind_up(state: &State, slot: Slot, now: Now, decision: &mut Decision) {
    let flow = &state.flows.all[slot];
    let left = || (0..).zip(&flow.steps).filter(|(_, step)| step.is != Is::Ended).map(|(no, _)| no).collect();
    let (next, idle): (_, Vec<u32>) = if flow.result() == FlowState::Done { (None, left()) } else { flow.next_undo() };
    // A flow that failed before there was anything to undo may be retried as a whole, with them.
    let is_dropped = next.is_some() || flow.result() == FlowState::Done;
    for no in &idle {
        let as_step = AsStep { is_skipped: true, is_dropped, ..AsStep::default() };
        if let Some((job, _)) = state.job_of(StepAt { flow: slot, no: *no }) {
            end_as_step(state, job, EndState::Cancelled, now, (Output::None, None), as_step, decision);
        }
    }
    let is_going = flow.steps.iter().any(|step| step.is == Is::Going);
    let next = next.map(|no| StepAt { flow: slot, no });
    // While all is loaded, one may be found to be lost with its job, and its turn goes on to the next.
    if let Some(at) = next.filter(|at| !is_going && state.job_of(*at).is_some()) {
        decision.events.push(Event::StepOpened { at, now });
    }
    if flow.undo_open > 0 {
        return;
    }
    let ends = flow.steps.iter().filter_map(|step| step.end.as_ref());
    let at = ends.map(|end| end.at).max().unwrap_or(now.wall);
    decision.events.push(Event::FlowEnded { flow: slot, at });
    let ending =
        FlowEnding { summary: FlowSummary { ended: Some(at), state: flow.result(), ..summary(flow) }, ..ending(flow) };
    for request in state.flows.watchers.get(&flow.id).into_iter().flatten() {
        let answer = Ok(Answer::FlowEnding(Box::new(ending.clone())));
        decision.effects.push((Mark::from(flow.level), Effect::Reply { request: *request, answer }));
    }
}

/// How a flow ended.
pub(crate) fn ending(flow: &Flow) -> FlowEnding {
    let failed = flow.failed().filter(|_| flow.result() != FlowState::Done);
    let failed = failed.map(|no| flow.step(no));
    FlowEnding {
        summary: summary(flow),
        failed: failed.map(|step| (step.plan.name.clone(), step.end.as_ref().and_then(|end| end.failure.clone()))),
        not_undone: flow.steps.iter().filter(|step| step.is_not_undone()).map(|step| step.plan.name.clone()).collect(),
        output: flow.output.map(|no| left(flow, no)),
        queue: flow.steps.first().map_or_else(|| Name::from(""), |step| step.plan.queue.clone()),
    }
}

/// What a step left for those that need it.
pub(super) fn left(flow: &Flow, no: u32) -> StepInput {
    let step = flow.step(no);
    let end = step.end.as_ref().filter(|end| end.is_good());
    let batch = step.batch.as_ref().filter(|_| end.is_some_and(|end| end.how != StepHow::Skipped));
    StepInput {
        of: StepOf { flow: flow.id, no },
        name: step.plan.name.clone(),
        output: end.map(|end| end.output.clone()),
        batch: batch.map(|batch| (batch.counts, step.collects())),
    }
}

/// The numbers of a flow.
pub(crate) fn summary(flow: &Flow) -> FlowSummary {
    FlowSummary {
        id: flow.id,
        name: flow.name.clone(),
        state: flow.state(),
        created: flow.created,
        ended: flow.ended.map(|filed| filed.at),
        steps: flow.steps.len(),
        steps_ended: flow.steps.len() - flow.open - flow.undo_open,
        failed: flow.failed(),
    }
}

/// A retained job is about to be forgotten, or to run by itself: whoever waited for somebody to bring it back waits no longer.
#[inline]
pub(crate) fn let_go(state: &State, event: &Event) -> Option<StepAt> {
    // Of flows that hold for nobody, and of jobs that are in none, nothing is asked.
    if state.flows.holding.is_empty() {
        return None;
    }
    let (Event::Purged { stub } | Event::Requeued { stub, .. }) = event else { return None };
    let id = state.stubs[*stub].id;
    // It comes back as the step that holds, or as something else: another job may have its id by now.
    let comes_back =
        if let Event::Requeued { turn: Turn::Step(of), .. } = event { state.flows.place_of(*of, id) } else { None };
    state.flows.holding.get(&id).copied().filter(|at| comes_back != Some(*at))
}

/// All steps, to be looked at once when all is loaded.
pub(crate) fn all(state: &State) -> Vec<StepAt> {
    let steps = |(slot, flow): (Slot, &Flow)| (0..flow.steps.len() as u32).map(move |no| StepAt { flow: slot, no });
    state.flows.all.iter().flat_map(steps).collect()
}

/// All is loaded: steps that were lost with their jobs' records are dead.
pub(crate) fn loaded(state: &State, now: Now) -> Decision {
    let mut decision = Decision::default();
    for (slot, flow) in state.flows.all.iter() {
        for (no, step) in (0..).zip(&flow.steps) {
            let at = StepAt { flow: slot, no };
            batch::loaded(state, at, step, now, &mut decision);
            if step.is == Is::Ended || state.job_of(at).is_some() {
                continue;
            }
            decision.steps.push((at, now));
            let message = "the record of its job, or of its end, could not be read".to_string();
            let end = StepEnd {
                how: StepHow::Job(EndState::Dead),
                at: now.wall,
                started: None,
                attempts: 0,
                failure: Some(Failure::new(FailureKind::Lost, message)),
                cause: None,
                output: Output::None,
                is_alone: false,
            };
            decision.events.push(Event::StepEnded { at, end: Box::new(end), is_stored: false });
        }
    }
    // Without its flow nobody knows what such a job has to wait for.
    for (slot, _) in &state.flows.loaded {
        let Some(live) = state.jobs.get(*slot).filter(|live| live.more().step.is_none()) else { continue };
        let message = "the record of its flow could not be read: requeue it to run it by itself".to_string();
        let failure = Failure::new(FailureKind::Lost, message);
        if live.run().is_none() {
            end_as_step(
                state,
                *slot,
                EndState::Cancelled,
                now,
                (Output::None, Some(failure)),
                AsStep::default(),
                &mut decision,
            );
        }
    }
    decision
}

/// Flows of this queue that have to be forgotten by now.
pub(crate) fn outdated(queue: &Queue, state: &State, now: Timestamp, decision: &mut Decision) {
    let mut steps = 0;
    for (_, flow) in queue.flows.iter().take_while(|(at, _)| *at <= now) {
        if steps >= FORGOTTEN_PER_STEP_MAX {
            break;
        }
        if !batch::forget_notes(*flow, &state.flows.all[*flow], decision) {
            break;
        }
        steps += state.flows.all[*flow].steps.len();
        decision.events.push(Event::FlowForgotten { flow: *flow });
    }
}

/// More steps of ended flows are remembered than may be: those that went well go, the first ones first. Half of the room is theirs all
/// the same: who waits for one reads what it left after its end, however many failed before.
pub(crate) fn surplus(state: &State) -> Decision {
    let mut decision = Decision::default();
    let (flows, kept_max) = (&state.flows, state.settings.flow_steps_kept_max);
    let (mut kept, mut failed_kept) = (flows.steps_kept, flows.failed_kept);
    let first_failed = (Filed { has_failed: true, at: Timestamp(0) }, 0);
    let (mut good, mut failed) = (flows.ended.range(..first_failed), flows.ended.range(first_failed..));
    while kept > kept_max {
        let is_failed = failed_kept > kept_max / 2;
        let Some((_, slot)) = (if is_failed { failed.next() } else { good.next() }) else { break };
        let flow = &flows.all[*slot];
        if !batch::forget_notes(*slot, flow, &mut decision) {
            break;
        }
        kept -= flow.steps.len();
        failed_kept -= if is_failed { flow.steps.len() } else { 0 };
        decision.events.push(Event::FlowForgotten { flow: *slot });
    }
    decision
}

/// What a request about a flow is answered at, at the latest.
pub(super) fn reply(flow: &Flow, request: Request, answer: Answer, decision: Decision) -> Decision {
    decision.reply(Mark::from(flow.level), request, Ok(answer))
}
