//! What the passing of time does, in bounded steps. The core gets the current time and not the deadline that fired
//! (I5), so a timer that fires early does nothing, and one that fires late does all that is due.

use super::super::apply::{as_key, from_key};
use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::State;
use super::claim::next_start;
use super::{Decision, batch, end_job, flow, recur, retain, unique};
use crate::attempt::Output;
use crate::command::{QueueNo, TimerClass};
use crate::effect::{Deadline, Effect};
use crate::event::Event;
use crate::lease::StopReason;
use crate::state::EndState;
use crate::time::{Mono, Now, Timestamp};

/// Most jobs that one step moves: the rest is due again at once, behind whatever else waits.
const PER_STEP_MAX: usize = 1_000;

/// Moves what is due by now.
pub(crate) fn due(state: &State, no: QueueNo, class: TimerClass, now: Now) -> Decision {
    let queue = state.queue(no);
    let mut decision = Decision::default();
    match class {
        TimerClass::Delay => fell_due(state, queue.delay.iter(), as_key(now.mono.0), now, &mut decision),
        TimerClass::At => fell_due(state, queue.at.iter(), as_key(now.wall.0), now, &mut decision),
        TimerClass::Lease => {
            let over = queue.leases.iter().take_while(|(deadline, _)| *deadline <= now.mono).take(PER_STEP_MAX);
            for (_, slot) in over {
                decision.events.push(Event::Overdue { slot: *slot });
                let live = &state.jobs[*slot];
                if let Some(run) = live.run() {
                    let stop = Effect::Stop { queue: no, id: live.id, token: run.token, reason: StopReason::TimedOut };
                    // Like the start that it follows, which it must not overtake.
                    decision.effects.push((Mark::to_run(queue.level()), stop));
                }
            }
        }
        TimerClass::Expiry => {
            let over = queue.expiry.iter().take_while(|(expires, ..)| *expires <= now.wall).take(PER_STEP_MAX);
            for (_, _, slot) in over {
                end_job(state, *slot, EndState::Expired, now, Output::None, None, &mut decision);
            }
        }
        TimerClass::Retention => {
            decision.events = retain::outdated(state, no, now.wall);
            // Before the flow that they are of may go.
            batch::ask(state, queue, now, &mut decision);
            flow::outdated(queue, state, now.wall, &mut decision);
        }
        TimerClass::Schedule => recur::tick(state, queue, now, &mut decision),
        TimerClass::Window => unique::windows_over(queue, now, &mut decision),
        // The wave that this step is of hands out.
        TimerClass::Rate => {}
    }
    decision
}

fn fell_due<'a>(
    state: &State,
    timers: impl Iterator<Item = &'a (i64, i64, Slot)>,
    key: i64,
    now: Now,
    decision: &mut Decision,
) {
    let due = timers.take_while(|(at, _, _)| *at <= key).take(PER_STEP_MAX);
    for (arrival, (_, _, slot)) in (state.next_arrival..).zip(due) {
        if state.is_timer(&state.jobs[*slot]) {
            end_job(state, *slot, EndState::Done, now, Output::None, None, decision);
            continue;
        }
        decision.events.push(Event::FellDue { slot: *slot, arrival, now });
    }
}

/// When this queue's timer of this class has to fire next.
pub(crate) fn next(state: &State, no: QueueNo, class: TimerClass, now: Now) -> Option<Deadline> {
    let queue = state.queue(no);
    match class {
        TimerClass::Delay => queue.delay.first().map(|(at, _, _)| Deadline::Mono(Mono(from_key(*at)))),
        TimerClass::At => queue.at.first().map(|(at, _, _)| Deadline::Wall(Timestamp(from_key(*at)))),
        TimerClass::Lease => queue.leases.first().map(|(at, _)| Deadline::Mono(*at)),
        TimerClass::Expiry => queue.expiry.first().map(|(at, ..)| Deadline::Wall(*at)),
        TimerClass::Retention => retain::next(state, queue),
        TimerClass::Schedule => recur::next(state, queue).map(Deadline::Wall),
        TimerClass::Window => unique::next(queue).map(Deadline::Wall),
        TimerClass::Rate => next_start(state, no, now.mono).map(Deadline::Mono),
    }
}
