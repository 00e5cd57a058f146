//! What is asked of queues and of the whole: pause, watch, stop.

use super::super::outbox::Mark;
use super::super::state::{Place, State};
use super::{Decision, look};
use crate::command::Request;
use crate::effect::{Answer, Effect};
use crate::event::Event;
use crate::job::{JobId, Name};
use crate::lease::StopReason;
use crate::refusal::Refusal;
use crate::settings::Level;

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
    match state.place_of(id) {
        Some(Place::Live(_)) => Ok(Decision::default().event(Event::Watched { id, request })),
        Some(Place::Ended(slot)) => {
            let stub = &state.stubs[slot];
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
        if let Some(run) = live.run() {
            let stop = Effect::Stop { queue: live.queue, id: live.id, token: run.token, reason: StopReason::Stopping };
            // Like the start that it follows, which it must not overtake.
            decision.effects.push((Mark::to_run(state.queue(live.queue).level()), stop));
        }
    }
    decision
}
