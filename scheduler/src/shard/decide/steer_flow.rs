//! What operators and callers ask of flows.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::flows::{Flow, Is, Step, StepAt};
use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Place, State};
use super::{AsStep, Decision, batch, end_as_step, flow, steer};
use crate::attempt::Output;
use crate::command::Request;
use crate::effect::Answer;
use crate::event::Event;
use crate::flow::{FlowCommand, FlowId, FlowState, FlowView, StepEnd, StepHow, StepInputs, StepOf, StepView, Work};
use crate::refusal::Refusal;
use crate::state::EndState;
use crate::time::Now;
use crate::verb::Retained;

/// Answers, or says why not.
pub(crate) fn command(state: &State, request: Request, command: FlowCommand, now: Now) -> Result<Decision, Refusal> {
    let find = |id: FlowId| {
        let slot = *state.flows.by_id.get(&id).ok_or(Refusal::NoFlow { id })?;
        Ok((slot, &state.flows.all[slot]))
    };
    match command {
        FlowCommand::Look { id } => {
            let (_, flow) = find(id)?;
            let answer = Answer::Flow(Box::new(view(state, flow)));
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(answer)))
        }
        FlowCommand::Inputs { of } => {
            let (_, flow) = find(of.flow)?;
            let step = flow.steps.get(of.no as usize);
            let step = step.ok_or_else(|| Refusal::NoStep { flow: of.flow, step: of.no.to_string().into() })?;
            let answer = Answer::Inputs(Box::new(inputs(flow, step)));
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(answer)))
        }
        FlowCommand::List { after, state: of, limit } => Ok(list(state, request, after, of, limit)),
        FlowCommand::Watch { id } => {
            let (_, flow) = find(id)?;
            if flow.ended.is_none() {
                return Ok(Decision::default().event(Event::FlowWatched { id, request }));
            }
            let answer = Answer::FlowEnding(Box::new(flow::ending(flow)));
            Ok(flow::reply(flow, request, answer, Decision::default()))
        }
        FlowCommand::Cancel { id } => {
            let (slot, flow) = find(id)?;
            let decision = cancel(state, slot, now);
            Ok(flow::reply(flow, request, Answer::Ok, decision))
        }
        FlowCommand::Skip { id, step, output } => {
            let (slot, flow) = find(id)?;
            let no = flow.step_named(&step).ok_or(Refusal::NoStep { flow: id, step })?;
            let decision = skip(state, StepAt { flow: slot, no }, output, now)?;
            Ok(flow::reply(flow, request, Answer::Ok, decision))
        }
        FlowCommand::Signal { id, step, payload } => {
            let (slot, flow) = find(id)?;
            let no = flow.step_named(&step).ok_or(Refusal::NoStep { flow: id, step })?;
            let (is_first, decision) = signal(state, StepAt { flow: slot, no }, payload, now)?;
            Ok(flow::reply(flow, request, Answer::Signalled { is_first }, decision))
        }
        FlowCommand::Batch { id, step } => {
            let (slot, flow) = find(id)?;
            let no = flow.step_named(&step).ok_or(Refusal::NoStep { flow: id, step })?;
            let view = batch::view(state, flow, StepAt { flow: slot, no })?;
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(Answer::Batch(Box::new(view)))))
        }
        FlowCommand::Close { id, step } => {
            let (slot, flow) = find(id)?;
            let no = flow.step_named(&step).ok_or(Refusal::NoStep { flow: id, step })?;
            let decision = batch::close(flow, StepAt { flow: slot, no }, now)?;
            Ok(flow::reply(flow, request, Answer::Ok, decision))
        }
        FlowCommand::Retry { id, step, read } => {
            let (slot, flow) = find(id)?;
            let no = flow.step_named(&step).ok_or(Refusal::NoStep { flow: id, step })?;
            let decision = retry(state, StepAt { flow: slot, no }, read, now)?;
            Ok(flow::reply(flow, request, Answer::Ok, decision))
        }
    }
}

fn list(state: &State, request: Request, after: Option<FlowId>, of: Option<FlowState>, limit: usize) -> Decision {
    use core::ops::Bound;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let flows = state.flows.by_id.range((from, Bound::Unbounded)).map(|(_, slot)| &state.flows.all[*slot]);
    let flows = flows.filter(|flow| of.is_none_or(|of| flow.state() == of));
    let flows: Vec<_> = flows.take(limit).map(flow::summary).collect();
    Decision::default().reply(Mark::Sealed, request, Ok(Answer::Flows(flows)))
}

/// A flow as it stands.
pub(crate) fn view(state: &State, flow: &Flow) -> FlowView {
    let slot = state.flows.by_id[&flow.id];
    let step = |(no, step): (u32, &Step)| {
        let end = step.end.as_deref().filter(|end| end.is_end());
        let is_holding = state.is_holding(StepAt { flow: slot, no });
        let batch = step.batch.as_ref().map(|batch| batch.counts);
        let live = state.job_of(StepAt { flow: slot, no });
        let so_far = live.map(|(_, live)| live.more().attempts_ended + u32::from(live.run().is_some()));
        let attempts = so_far.or(end.map(|end| end.attempts)).unwrap_or_default();
        StepView {
            plan: step.plan.clone(),
            state: state.step_state(step),
            end: end.cloned(),
            attempts,
            is_holding,
            batch,
        }
    };
    FlowView { summary: flow::summary(flow), output: flow.output, steps: (0..).zip(&flow.steps).map(step).collect() }
}

/// What those left that a step needs, or undoes.
fn inputs(flow: &Flow, step: &Step) -> StepInputs {
    let needs = step.plan.needs.iter().map(|need| need.step).chain(step.plan.undoes);
    let needs = needs.map(|no| flow::left(flow, no));
    let queue = flow.steps.first().map_or_else(|| step.plan.queue.clone(), |step| step.plan.queue.clone());
    StepInputs { queue, input: step.plan.input.clone(), needs: needs.collect() }
}

/// Everything that has not ended is called off; what is being undone goes on.
fn cancel(state: &State, slot: Slot, now: Now) -> Decision {
    let mut decision = Decision::default();
    let flow = &state.flows.all[slot];
    for (no, step) in (0..).zip(&flow.steps) {
        if step.plan.undoes.is_some() {
            continue;
        }
        if let Some((job, _)) = state.job_of(StepAt { flow: slot, no }) {
            steer::cancel(state, job, None, AsStep::default(), now, &mut decision);
        }
        if state.flows.holding.contains_key(&step.plan.job) {
            decision.steps.push((StepAt { flow: slot, no }, now));
        }
    }
    decision
}

pub(super) fn forbidden(flow: &Flow, at: StepAt, is: &'static str, verb: &'static str) -> Refusal {
    let step = flow.step(at.no).plan.name.clone();
    Refusal::StepForbidden { flow: flow.id, step, is, verb }
}

fn skip(state: &State, at: StepAt, output: Option<Bytes>, now: Now) -> Result<Decision, Refusal> {
    let flow = &state.flows.all[at.flow];
    let step = flow.step(at.no);
    if flow.ended.is_some() {
        return Err(forbidden(flow, at, "part of a flow that has ended", "skipped"));
    }
    if step.plan.undoes.is_some() {
        return Err(forbidden(flow, at, "there to undo another", "skipped"));
    }
    if step.has_open_members() {
        return Err(forbidden(flow, at, "a batch that jobs of have not ended: cancel it first", "skipped"));
    }
    check_output(state, at, output.as_ref())?;
    let output = output.map_or(Output::None, Output::Bytes);
    let mut decision = Decision::default();
    match state.job_of(at) {
        Some((_, live)) if live.run().is_some() => Err(forbidden(flow, at, "running: cancel it first", "skipped")),
        Some((job, _)) => {
            let as_step = AsStep { is_skipped: true, is_dropped: true, output: Some(output), ..AsStep::default() };
            end_as_step(state, job, EndState::Cancelled, now, (Output::None, None), as_step, &mut decision);
            Ok(decision)
        }
        _ if state.is_holding(at) => {
            let (how, failure) = (StepHow::Skipped, step.end.as_ref().and_then(|end| end.failure.clone()));
            let started = step.end.as_ref().and_then(|end| end.started);
            let attempts = step.end.as_ref().map_or(0, |end| end.attempts);
            let end = StepEnd { how, at: now.wall, started, attempts, failure, cause: None, output, is_alone: false };
            decision.events.push(Event::StepEnded { at, end: Box::new(end), is_stored: false });
            decision.steps.push((at, now));
            Ok(decision)
        }
        _ => Err(forbidden(flow, at, "over", "skipped")),
    }
}

/// What comes from outside for a step is bounded like a payload of its queue.
fn check_output(state: &State, at: StepAt, bytes: Option<&Bytes>) -> Result<(), Refusal> {
    let queue = &state.flows.step(at).plan.queue;
    let bytes_max = state.queue_no(queue).map_or(0, |no| state.queue(no).settings.payload_bytes_max);
    match bytes.map(Bytes::len) {
        Some(bytes) if bytes > bytes_max => Err(Refusal::PayloadTooLarge { queue: queue.clone(), bytes, bytes_max }),
        _ => Ok(()),
    }
}

/// Whether it was the first signal, and what it does: the first one counts, and may come before its step's turn.
fn signal(state: &State, at: StepAt, payload: Bytes, now: Now) -> Result<(bool, Decision), Refusal> {
    let flow = &state.flows.all[at.flow];
    let step = flow.step(at.no);
    if step.plan.work != Work::Signal {
        return Err(forbidden(flow, at, "a step that waits for no signal", "signalled"));
    }
    check_output(state, at, Some(&payload))?;
    let mut decision = Decision::default();
    match (step.is, &step.end) {
        (_, Some(_)) => Ok((false, decision)),
        // Others have gone on after its last end, which has to stay where it stands until it has the next.
        (Is::Waiting, None) if !step.is_passed => Ok((true, decision.event(Event::StepSignalled { at, payload, now }))),
        (_, None) => {
            if let Some((slot, _)) = state.job_of(at) {
                let as_step = AsStep { output: Some(Output::Bytes(payload)), ..AsStep::default() };
                end_as_step(state, slot, EndState::Done, now, (Output::None, None), as_step, &mut decision);
            }
            Ok((true, decision))
        }
    }
}

/// The steps that run again with this one: all that need it and did not succeed either, but for those that need another one which
/// failed. And those that undo others, if they were skipped: they wait again.
fn again(state: &State, flow: &Flow, no: u32) -> Vec<u32> {
    let mut again: Vec<bool> = flow.steps.iter().map(|_| false).collect();
    again[no as usize] = true;
    for (no, step) in (0..).zip(&flow.steps) {
        let for_want_of = step.plan.needs.iter().any(|need| again[need.step as usize]);
        if step.has_failed() && for_want_of {
            again[no as usize] = !flow::is_in_vain(state, flow, no, |other| again[other as usize]);
        }
    }
    let comes_back = |(no, step): &(u32, &Step)| again[*no as usize] || step.was_spared();
    (0..).zip(&flow.steps).filter(comes_back).map(|(no, _)| no).collect()
}

fn retry(state: &State, at: StepAt, read: Vec<Retained>, now: Now) -> Result<Decision, Refusal> {
    let flow = &state.flows.all[at.flow];
    let step = flow.step(at.no);
    if !step.has_failed() {
        return Err(forbidden(flow, at, if step.is == Is::Ended { "no failure" } else { "not over" }, "retried"));
    }
    if !flow.may_be_retried() {
        return Err(forbidden(flow, at, "part of a flow that is undone, or needs no undoing any more", "retried"));
    }
    if flow::is_in_vain(state, flow, at.no, |_| false) {
        return Err(forbidden(flow, at, "in need of one that has failed", "retried"));
    }
    let mut decision = Decision::default();
    let mut arrival = state.next_arrival;
    let mut read: Vec<_> = read.into_iter().map(Some).collect();
    for no in again(state, flow, at.no) {
        let step = flow.step(no);
        let forgotten =
            || Refusal::StepForgotten { flow: flow.id, step: step.plan.name.clone(), queue: step.plan.queue.clone() };
        let Some(Place::Ended(stub)) = state.place_of(step.plan.job) else { return Err(forgotten()) };
        let read = read.iter_mut().find(|read| read.as_ref().is_some_and(|read| read.ended.id == step.plan.job));
        let read = read.and_then(Option::take).map(Box::new);
        // Somebody may have requeued it to run by itself.
        let of = StepOf { flow: flow.id, no };
        if read.as_ref().is_some_and(|read| read.body.labels.step() != Some(of)) {
            return Err(forgotten());
        }
        decision.events.push(steer::comes_back(state, stub, read, true, &mut arrival, now)?);
        decision.steps.push((StepAt { flow: at.flow, no }, now));
    }
    Ok(decision)
}
