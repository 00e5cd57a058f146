//! What operators and callers ask of single jobs: the verbs, and another payload. Each is one step.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;

use super::super::flows::{Step, StepAt};
use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Live, Place, Spot, State};
use super::{AsStep, Decision, batch, drop_job, end_as_step, end_job, flow, steer_flow, unique};
use crate::attempt::{Failure, Output};
use crate::batch::{BatchCounts, CalledOff};
use crate::command::{QueueNo, Request};
use crate::effect::{Answer, Effect};
use crate::event::{Event, Turn};
use crate::flow::{StepOf, Work};
use crate::job::{Body, JobId, Name};
use crate::lease::StopReason;
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::state::{EndState, State as JobState};
use crate::time::Now;
use crate::verb::{Known, Read, Retained, Verb};

/// What a verb does to a job.
pub(crate) struct Steered {
    pub(crate) decision: Decision,
    /// The queue's, or the stronger one of two queues.
    pub(crate) level: Level,
    /// What the job is then.
    pub(crate) state: JobState,
}

impl Steered {
    pub(crate) fn reply(self, request: Request) -> Decision {
        self.decision.reply(Mark::from(self.level), request, Ok(Answer::Steered { state: self.state }))
    }
}

/// Does a verb to a job, or says why not.
pub(crate) fn steer(state: &State, id: JobId, verb: &Verb, read: Read, now: Now) -> Result<Steered, Refusal> {
    let (place, is) = place_of(state, id)?;
    if !verb.acts_on(is) {
        return Err(Refusal::Forbidden { id, state: is, verb: verb.as_str() });
    }
    match place {
        Place::Live(slot) => steer_live(state, slot, is, verb, now),
        Place::Ended(stub) if *verb == Verb::Requeue => requeue(state, stub, read, now),
        // The table lets nothing else through.
        Place::Ended(stub) => {
            let level = state.queue(state.stubs[stub].queue).level();
            let decision = Decision::default().event(Event::Purged { stub });
            Ok(Steered { decision, level, state: is })
        }
    }
}

fn place_of(state: &State, id: JobId) -> Result<(Place, JobState), Refusal> {
    match state.place_of(id) {
        Some(place @ Place::Live(slot)) => Ok((place, State::state_of(&state.jobs[slot]))),
        Some(place @ Place::Ended(stub)) => Ok((place, state.stubs[stub].state.into())),
        None => Err(Refusal::Forgotten { id }),
    }
}

fn steer_live(state: &State, slot: Slot, is: JobState, verb: &Verb, now: Now) -> Result<Steered, Refusal> {
    let live = &state.jobs[slot];
    let level = state.queue(live.queue).level();
    let arrival = state.next_arrival;
    let mut decision = Decision::default();
    let state_after = match verb {
        Verb::Cancel => cancel(state, slot, None, AsStep::default(), now, &mut decision),
        // It is over when its jobs are.
        Verb::Discard if state.has_members(live).is_some() => {
            cancel(state, slot, None, AsStep::default(), now, &mut decision)
        }
        Verb::Discard => {
            drop_job(state, slot, now, &mut decision);
            is
        }
        Verb::RunNow if state.is_timer(live) => {
            end_job(state, slot, EndState::Done, now, Output::None, None, &mut decision);
            JobState::Done
        }
        Verb::RunNow if live.spot == Spot::Delayed => {
            decision.events.push(Event::FellDue { slot, arrival, now });
            in_line(state, live.queue, live)
        }
        Verb::Reprioritise(priority) => {
            if live.priority != *priority {
                decision.events.push(Event::Reprioritised { slot, priority: *priority, arrival, now });
            }
            is
        }
        Verb::Reschedule(when) if state.is_timer(live) && live.spot == Spot::Delayed && !when.is_later(now) => {
            end_job(state, slot, EndState::Done, now, Output::None, None, &mut decision);
            JobState::Done
        }
        Verb::Reschedule(when) => {
            decision.events.push(Event::Rescheduled { slot, when: *when, arrival, now });
            match is {
                JobState::Waiting => is,
                _ if when.is_later(now) => JobState::Delayed,
                _ => in_line(state, live.queue, live),
            }
        }
        Verb::Move(to) => return move_to(state, slot, is, to, now),
        // One that runs, or stands in line, is told nothing new; the table lets nothing else through.
        Verb::RunNow | Verb::Requeue => is,
    };
    Ok(Steered { decision, level, state: state_after })
}

fn in_line(state: &State, queue: QueueNo, live: &Live) -> JobState {
    if state.can_run(queue, live.kind) { JobState::Ready } else { JobState::Parked }
}

/// Calls a job off: at once where it waits, by asking its attempt where it runs.
pub(super) fn cancel(
    state: &State,
    slot: Slot,
    failure: Option<Failure>,
    as_step: AsStep,
    now: Now,
    decision: &mut Decision,
) -> JobState {
    let live = &state.jobs[slot];
    if let Some(at) = state.has_members(live) {
        batch::call_off(state, at, CalledOff { cause: as_step.cause, failure }, decision);
        return State::state_of(live);
    }
    let Some(run) = live.run() else {
        end_as_step(state, slot, EndState::Cancelled, now, (Output::None, failure), as_step, decision);
        return JobState::Cancelled;
    };
    if !live.cancel_requested {
        decision.events.push(Event::CancelRequested { slot });
    }
    let stop = Effect::Stop { queue: live.queue, id: live.id, token: run.token, reason: StopReason::Cancelled };
    decision.effects.push((Mark::to_run(state.queue(live.queue).level()), stop));
    JobState::Running
}

fn move_to(state: &State, slot: Slot, is: JobState, to: &Name, now: Now) -> Result<Steered, Refusal> {
    let live = &state.jobs[slot];
    let from = state.queue(live.queue);
    let no = state.queue_no(to).filter(|no| state.queue(*no).is_configured);
    let no = no.ok_or_else(|| Refusal::NoQueue { queue: to.clone() })?;
    let mut decision = Decision::default();
    if no == live.queue {
        return Ok(Steered { decision, level: from.level(), state: is });
    }
    let queue = state.queue(no);
    if (from.level() == Level::Memory) != (queue.level() == Level::Memory) {
        return Err(Refusal::OtherStore { from: from.settings.name.clone(), to: to.clone() });
    }
    let (bytes, bytes_max) = (live.body_bytes as usize, queue.settings.payload_bytes_max);
    if bytes > bytes_max {
        return Err(Refusal::PayloadTooLarge { queue: to.clone(), bytes, bytes_max });
    }
    check_depth(state, no)?;
    decision.events.push(Event::Moved { slot, queue: no, arrival: state.next_arrival, now });
    let state_after = if matches!(is, JobState::Delayed | JobState::Waiting) { is } else { in_line(state, no, live) };
    Ok(Steered { decision, level: from.level().max(queue.level()), state: state_after })
}

/// Whether one more job may wait in this queue.
fn check_depth(state: &State, no: QueueNo) -> Result<(), Refusal> {
    let queue = state.queue(no);
    let (depth, depth_max) = (queue.depth(), queue.settings.depth_max);
    if depth < depth_max {
        return Ok(());
    }
    Err(Refusal::QueueFull { queue: queue.settings.name.clone(), depth, depth_max, jobs: 1 })
}

/// Brings a retained job back, with a fresh budget of retries.
fn requeue(state: &State, stub: Slot, read: Read, now: Now) -> Result<Steered, Refusal> {
    let no = state.stubs[stub].queue;
    let can_run = state.can_run(no, state.stubs[stub].kind);
    let event = comes_back(state, stub, read, false, &mut { state.next_arrival }, now)?;
    let mut is = if can_run { JobState::Ready } else { JobState::Parked };
    let mut decision = Decision::default();
    if let Event::Requeued { turn: Turn::Step(of), .. } = &event
        && let Some(at) = state.flows.place_of(*of, state.stubs[stub].id)
    {
        if flow::is_in_vain(state, &state.flows.all[at.flow], at.no, |_| false) {
            return Err(steer_flow::forbidden(
                &state.flows.all[at.flow],
                at,
                "in need of one that has failed",
                "requeued",
            ));
        }
        decision.steps.push((at, now));
        let step = state.flows.step(at);
        let due = step.plan.times.as_ref().and_then(|times| times.due);
        is = match step.plan.work {
            _ if step.needs_open > 0 => JobState::Waiting,
            Work::Signal => JobState::Waiting,
            Work::Batch => in_batch(step),
            _ if due.is_some_and(|due| due.is_later(now)) => JobState::Delayed,
            Work::Timer => JobState::Done,
            Work::Job => is,
        };
    }
    Ok(Steered { decision: decision.event(event), level: state.queue(no).level(), state: is })
}

/// What a batch is that comes back.
fn in_batch(step: &Step) -> JobState {
    let counts = step.batch.as_ref().map_or(BatchCounts::NONE, |batch| batch.counts);
    let stays_open = step.plan.batch.as_ref().is_some_and(|plan| plan.stays_open) && !counts.is_closed;
    match counts.failed() {
        _ if counts.open() > 0 || stays_open => JobState::Waiting,
        1.. if step.collects() => JobState::Dead,
        _ => JobState::Done,
    }
}

/// A retained job comes back: with its key if that is free, and as the step that it is, if its flow can go on or is retried.
pub(super) fn comes_back(
    state: &State,
    stub: Slot,
    read: Read,
    is_retry: bool,
    arrival: &mut i64,
    now: Now,
) -> Result<Event, Refusal> {
    if state.draining {
        return Err(Refusal::Stopping);
    }
    let mut read = as_read(state, stub, read)?;
    let no = state.stubs[stub].queue;
    check_depth(state, no)?;
    let id = state.stubs[stub].id;
    let turn = match read.body.labels.step() {
        None if read.body.labels.member().is_some_and(|member| state.may_rejoin(member).is_none()) => {
            let labels = read.body.labels.clone().of_batch(None);
            read.body = Arc::new(Body { labels, ..(*read.body).clone() });
            Turn::Alone(None)
        }
        None => unique::comes_back(state, &read.body, no)?,
        Some(of) => {
            let at = state.flows.place_of(of, id);
            if at.is_some_and(|at| is_retry || state.flows.all[at.flow].may_reopen(at.no)) {
                Turn::Step(of)
            } else {
                check_alone(state, stub, of, at)?;
                let body = Body { labels: read.body.labels.clone().of_step(None), ..(*read.body).clone() };
                read.body = Arc::new(body);
                Turn::Alone(at)
            }
        }
    };
    let here = core::mem::replace(arrival, *arrival + 1);
    Ok(Event::Requeued { stub, read, arrival: here, now, turn })
}

/// Whether a job can run without the flow that it was a step of. Without one nobody ends a timer, or the wait for a signal.
fn check_alone(state: &State, stub: Slot, of: StepOf, at: Option<StepAt>) -> Result<(), Refusal> {
    let kind = state.kinds[state.stubs[stub].kind as usize].name.as_str();
    if !Work::IDLE.iter().any(|work| work.kind() == Some(kind)) {
        return Ok(());
    }
    let at = at.ok_or(Refusal::NoFlow { id: of.flow })?;
    let flow = &state.flows.all[at.flow];
    let is = if flow.may_resume() { "skipped" } else { "part of a flow that is being undone, or was" };
    Err(steer_flow::forbidden(flow, at, is, "requeued"))
}

/// What the driver read, if it still is so.
fn as_read(state: &State, stub: Slot, read: Read) -> Result<Box<Retained>, Refusal> {
    let stub = &state.stubs[stub];
    let is_same = |read: &Retained| {
        let (ended, key) = (&read.ended, &read.ended.key);
        (ended.id, ended.edits, key.end_no, key.state) == (stub.id, stub.edits, stub.end_no, stub.state)
            && key.queue == state.queue(stub.queue).settings.name
    };
    read.filter(|read| is_same(read)).ok_or(Refusal::Changed { id: stub.id })
}

/// The body of a live job, from memory or as the driver read it, if what it read is still the job's own.
fn body_of(live: &Live, known: Known) -> Result<Arc<Body>, Refusal> {
    match (&live.body, known) {
        (Some(body), _) => Ok(body.clone()),
        (None, Known::Live(body, edition)) if edition == live.edition() => Ok(body),
        (None, _) => Err(Refusal::OnDisk { id: live.id, edition: live.edition() }),
    }
}

/// Gives a job that waits, or that did not succeed, another payload. Its labels stay.
pub(crate) fn edit(
    state: &State,
    id: JobId,
    payload: Bytes,
    version: u32,
    known: Known,
    now: Now,
) -> Result<Steered, Refusal> {
    let (place, is) = place_of(state, id)?;
    if matches!(is, JobState::Running | JobState::Done) {
        return Err(Refusal::Forbidden { id, state: is, verb: "edited" });
    }
    let (no, old, stub) = match place {
        Place::Live(slot) => (state.jobs[slot].queue, body_of(&state.jobs[slot], known)?, None),
        Place::Ended(stub) => {
            let read = if let Known::Retained(read) = known { Some(read) } else { None };
            let read = as_read(state, stub, read)?;
            (state.stubs[stub].queue, read.body.clone(), Some((stub, read)))
        }
    };
    let queue = state.queue(no);
    let body = Body { payload, version, ..(*old).clone() };
    let (bytes, bytes_max) = (body.bytes(), queue.settings.payload_bytes_max);
    if bytes > bytes_max {
        return Err(Refusal::PayloadTooLarge { queue: queue.settings.name.clone(), bytes, bytes_max });
    }
    let body = Arc::new(body);
    let mut decision = Decision::default();
    decision.events.push(match (stub, place) {
        (Some((stub, mut read)), _) => {
            read.ended.bytes = read.ended.bytes.saturating_sub(old.bytes() as u64) + bytes as u64;
            read.ended.edits = read.ended.edits.saturating_add(1);
            read.body = body;
            // It may take more room now, and older ones have to go.
            decision.ended.push((no, now.wall));
            Event::RetainedEdited { stub, read }
        }
        (None, Place::Live(slot) | Place::Ended(slot)) => Event::Edited { slot, body },
    });
    Ok(Steered { decision, level: queue.level(), state: is })
}
