//! What operators and callers ask of single jobs and queues: cancel, requeue, discard, pause, watch, stop.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Place, State};
use super::{Decision, end_job, look};
use crate::attempt::Output;
use crate::change::EndedRecord;
use crate::command::Request;
use crate::effect::{Answer, Effect};
use crate::event::Event;
use crate::job::{Body, JobId, Name};
use crate::lease::StopReason;
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::state::{EndState, State as JobState};
use crate::time::Now;

/// Calls a job off: at once where it waits, by asking its attempt where it runs.
pub(crate) fn cancel(state: &State, request: Request, id: JobId, now: Now) -> Result<Decision, Refusal> {
    let slot = match state.index.get(&id) {
        Some(Place::Live(slot)) => *slot,
        Some(Place::Ended(slot)) => {
            return Err(Refusal::AlreadyEnded { id, state: state.stubs[*slot].state.into() });
        }
        None => return Err(Refusal::Forgotten { id }),
    };
    let live = &state.jobs[slot];
    let level = state.queue(live.queue).level();
    let mut decision = Decision::default();
    let state_after = if let Some(run) = &live.run {
        if !live.cancel_requested {
            decision.events.push(Event::CancelRequested { slot });
        }
        let stop = Effect::Stop { queue: live.queue, id: live.id, token: run.token, reason: StopReason::Cancelled };
        decision.effects.push((Mark::to_run(level), stop));
        JobState::Running
    } else {
        end_job(state, slot, EndState::Cancelled, now, Output::None, None, &mut decision);
        JobState::Cancelled
    };
    Ok(decision.reply(Mark::from(level), request, Ok(Answer::Cancelled { state: state_after })))
}

/// The stub of a dead letter, or why it is none.
fn dead_letter(state: &State, id: JobId) -> Result<Slot, Refusal> {
    match state.index.get(&id) {
        Some(Place::Live(slot)) => Err(Refusal::NotDead { id, state: State::state_of(&state.jobs[*slot]) }),
        Some(Place::Ended(slot)) if state.stubs[*slot].state == EndState::Dead => Ok(*slot),
        Some(Place::Ended(slot)) => Err(Refusal::NotDead { id, state: state.stubs[*slot].state.into() }),
        None => Err(Refusal::Forgotten { id }),
    }
}

/// Brings a dead letter back, with a fresh budget of retries.
pub(crate) fn requeue(
    state: &State,
    request: Request,
    ended: Box<EndedRecord>,
    body: Arc<Body>,
    now: Now,
) -> Result<Decision, Refusal> {
    if state.draining {
        return Err(Refusal::Stopping);
    }
    let id = ended.id;
    let stub = dead_letter(state, id)?;
    if state.stubs[stub].end_no != ended.key.end_no {
        return Err(Refusal::Changed { id });
    }
    let queue = state.queue(state.stubs[stub].queue);
    let (depth, depth_max) = (queue.depth(), queue.settings.depth_max);
    if depth >= depth_max {
        return Err(Refusal::QueueFull { queue: queue.settings.name.clone(), depth, depth_max, jobs: 1 });
    }
    let mark = Mark::from(queue.level());
    let event = Event::Requeued { stub, ended, body, arrival: state.next_arrival, now };
    Ok(Decision::default().event(event).reply(mark, request, Ok(Answer::Ok)))
}

/// Forgets a dead letter.
pub(crate) fn discard(state: &State, request: Request, id: JobId) -> Result<Decision, Refusal> {
    let stub = dead_letter(state, id)?;
    let mark = Mark::from(state.queue(state.stubs[stub].queue).level());
    Ok(Decision::default().event(Event::Purged { stub }).reply(mark, request, Ok(Answer::Ok)))
}

/// Pauses or resumes a queue; remembered whatever the queue's level.
pub(crate) fn pause(state: &State, request: Request, queue: &Name, paused: bool) -> Result<Decision, Refusal> {
    let no = state.queue_no(queue).ok_or_else(|| Refusal::NoQueue { queue: queue.clone() })?;
    let mut decision = Decision::default();
    if state.queue(no).paused != paused {
        decision.events.push(Event::Paused { queue: no, paused });
    }
    Ok(decision.reply(Mark::from(Level::Durable), request, Ok(Answer::Ok)))
}

/// Answers at the job's end, or with where its record stands if it has ended.
pub(crate) fn watch(state: &State, request: Request, id: JobId) -> Result<Decision, Refusal> {
    match state.index.get(&id) {
        Some(Place::Live(_)) => Ok(Decision::default().event(Event::Watched { id, request })),
        Some(Place::Ended(slot)) => {
            let stub = &state.stubs[*slot];
            // It waits like the original's end would have, and the driver reads it from where it is written.
            let mark = Mark::from(state.queue(stub.queue).level());
            let found = Answer::Found(look::ended(state, stub));
            Ok(Decision::default().reply(mark, request, Ok(found)))
        }
        None => Err(Refusal::Forgotten { id }),
    }
}

/// Asks every live attempt to end.
pub(crate) fn stop_attempts(state: &State) -> Decision {
    let mut decision = Decision::default();
    for (_, live) in state.jobs.iter() {
        if let Some(run) = &live.run {
            let stop = Effect::Stop { queue: live.queue, id: live.id, token: run.token, reason: StopReason::Stopping };
            // Like the start that it follows, which it must not overtake.
            decision.effects.push((Mark::to_run(state.queue(live.queue).level()), stop));
        }
    }
    decision
}
