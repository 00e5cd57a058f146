//! Decisions: command and state in, events and effects out. Reads only; nothing here changes anything.

pub(crate) mod admit;
pub(crate) mod batch;
pub(crate) mod checkpoint;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod end;
pub(crate) mod flow;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod look;
pub(crate) mod notice;
pub(crate) mod orders;
pub(crate) mod page;
pub(crate) mod recur;
pub(crate) mod retain;
pub(crate) mod steer;
pub(crate) mod steer_flow;
pub(crate) mod submit;
pub(crate) mod trips;
pub(crate) mod unique;
pub(crate) mod watch;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::flows::StepAt;
use super::outbox::Mark;
use super::slab::Slot;
use super::state::{Live, State};
use crate::attempt::{Failure, Output};
use crate::command::{QueueNo, Request};
use crate::effect::{Answer, Effect, Ending};
use crate::event::Event;
use crate::job::{Name, NewJob};
use crate::refusal::Refusal;
use crate::state::EndState;
use crate::time::{Now, Timestamp};
use crate::unique::UniqueKey;

/// A step that something happened to, when, and whether it had ended before that.
pub(crate) type Touched = (StepAt, Now, bool);

/// What was decided: what happens, and what may leave when that has reached its mark.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<(Mark, Effect)>,
    /// Queues in which jobs end, and when: older ones may have to make room, once the events are applied.
    pub(crate) ended: Vec<(QueueNo, Timestamp)>,
    /// Keys that may be free once the events are applied, in which store, and when.
    pub(crate) keys: Vec<(usize, Arc<UniqueKey>, Now)>,
    /// Jobs that follow a success, which have to find it over and done with.
    pub(crate) follow_ups: Option<(Vec<NewJob>, Now)>,
    /// Steps that ended, or whose jobs came in or back: others may have their turn once the events are applied.
    pub(crate) steps: Vec<(StepAt, Now)>,
    /// Schedules whose instants waited for a job that ends, and when.
    pub(crate) freed: Vec<(Name, Now)>,
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

/// What the end of a job is as the end of a step.
#[derive(Debug, Default)]
pub(crate) struct AsStep {
    /// Those that need it go on.
    pub(crate) is_skipped: bool,
    /// The job is not retained.
    pub(crate) is_dropped: bool,
    /// What it left, instead of what the job did.
    pub(crate) output: Option<Output>,
    /// And whether that stands there already.
    pub(crate) is_stored: bool,
    /// The step whose failure called it off.
    pub(crate) cause: Option<u32>,
}

/// A job ends: it is retained or forgotten, and those who waited are told.
pub(super) fn end_job(
    state: &State,
    slot: Slot,
    end: EndState,
    now: Now,
    output: Output,
    failure: Option<Failure>,
    decision: &mut Decision,
) {
    end_as_step(state, slot, end, now, (output, failure), AsStep::default(), decision);
}

/// As [`end_job`], with more to say about the step that the job may be.
fn end_as_step(
    state: &State,
    slot: Slot,
    end: EndState,
    now: Now,
    (output, failure): (Output, Option<Failure>),
    as_step: AsStep,
    decision: &mut Decision,
) {
    let live = &state.jobs[slot];
    let queue = state.queue(live.queue);
    let retention = &queue.settings.retention;
    let keep = !as_step.is_dropped && retain::is_kept(live, retention, end, &output, failure.as_ref());
    flow::step_ended(live, end, now, (&output, failure.as_ref()), as_step, decision);
    batch::member_ended(state, live, (slot, end), now, (&output, failure.as_ref()), decision);
    tell_watchers(
        state,
        live,
        || Ending { id: live.id, state: end, output: output.clone(), failure: failure.clone() },
        decision,
    );
    decision.events.push(Event::Ended { slot, state: end, now, output, failure, keep });
    unique::let_go(state, live, now, decision);
    recur::free(state, live.id, now, decision);
    if keep && decision.ended.last() != Some(&(live.queue, now.wall)) {
        decision.ended.push((live.queue, now.wall));
    }
}

/// A job that waits is called off and not retained.
fn drop_job(state: &State, slot: Slot, now: Now, decision: &mut Decision) {
    let as_step = AsStep { is_dropped: true, ..AsStep::default() };
    end_as_step(state, slot, EndState::Cancelled, now, (Output::None, None), as_step, decision);
}

fn tell_watchers(state: &State, live: &Live, ending: impl Fn() -> Ending, decision: &mut Decision) {
    let mark = Mark::from(state.queue(live.queue).level());
    for request in state.watchers.get(&live.id).into_iter().flatten() {
        let answer = Ok(Answer::Ending(ending()));
        decision.effects.push((mark, Effect::Reply { request: *request, answer }));
    }
}
