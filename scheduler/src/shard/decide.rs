//! Decisions: command and state in, events and effects out. Reads only; nothing here changes anything.

pub(crate) mod admit;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod end;
pub(crate) mod load;
pub(crate) mod look;
pub(crate) mod steer;
pub(crate) mod submit;

use alloc::vec::Vec;

use super::outbox::Mark;
use super::slab::Slot;
use super::state::State;
use crate::attempt::{Failure, Output};
use crate::command::Request;
use crate::effect::{Answer, Effect, Ending};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::settings::KeepDone;
use crate::state::EndState;
use crate::time::Timestamp;

/// What was decided: what happens, and what may leave when that has reached its mark.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<(Mark, Effect)>,
}

impl Decision {
    pub(crate) fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    pub(crate) fn reply(mut self, mark: Mark, request: Request, answer: Result<Answer, Refusal>) -> Self {
        self.effects.push((mark, Effect::Reply { request, answer }));
        self
    }
}

/// Most retained jobs that one end pushes out: the sweep does the rest.
const PURGES_PER_END_MAX: usize = 8;

/// A job ends: it is retained or forgotten, those who waited are told, and older ones make room.
fn end_job(
    state: &State,
    slot: Slot,
    end: EndState,
    at: Timestamp,
    output: Output,
    failure: Option<Failure>,
    decision: &mut Decision,
) {
    let live = &state.jobs[slot];
    let queue = state.queue(live.queue);
    let retention = &queue.settings.retention;
    let keep = match (end, retention.keep_done) {
        (EndState::Done, KeepDone::None) => false,
        (EndState::Done, KeepDone::WithOutput) => output != Output::None,
        _ => retention.keep(end).count_max > 0,
    };
    if let Some(watchers) = state.watchers.get(&live.id) {
        let mark = Mark::from(queue.level());
        for request in watchers {
            let ending = Ending { id: live.id, state: end, output: output.clone(), failure: failure.clone() };
            let answer = Ok(Answer::Ending(ending));
            decision.effects.push((mark, Effect::Reply { request: *request, answer }));
            decision.events.push(Event::Unwatched { id: live.id, request: *request });
        }
    }
    let bytes = (live.body.bytes() + output.kept_bytes()) as u64;
    decision.events.push(Event::Ended { slot, state: end, at, output, failure, keep });
    if keep {
        let limits = retention.keep(end);
        let list = &queue.ended[end.index()];
        let (mut count, mut total) = (list.count + 1, list.bytes + bytes);
        for (stub, oldest) in list.iter(&state.stubs).take(PURGES_PER_END_MAX) {
            if count <= limits.count_max && total <= limits.bytes_max {
                break;
            }
            count -= 1;
            total -= oldest.bytes;
            decision.events.push(Event::Purged { stub });
        }
    }
}
