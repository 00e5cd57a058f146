//! Handing out attempts: strictly by (priority, arrival), as many as there are free slots.

use alloc::vec::Vec;

use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Live, Queue, State};
use super::{Decision, end_job};
use crate::attempt::Output;
use crate::change::ClaimsNo;
use crate::command::QueueNo;
use crate::effect::Effect;
use crate::event::{Claimed, Event};
use crate::lease::{Lease, LeaseToken};
use crate::settings::Level;
use crate::state::EndState;
use crate::time::Now;

/// Whether claiming from this queue would do anything.
pub(crate) fn is_hungry(state: &State, queue: &Queue) -> bool {
    let may_run = queue.is_configured && !queue.paused && !state.draining && queue.running < u64::from(queue.slots);
    may_run && (queue.line.len() > 0 || (queue.suspects.len() > 0 && suspects_free(state) > 0))
}

fn suspects_free(state: &State) -> u32 {
    state.suspects_max.saturating_sub(state.suspects_running)
}

/// Hands out what may run now. `step` numbers the record of claims.
pub(crate) fn claim(state: &State, no: QueueNo, step: u64, now: Now) -> Decision {
    let queue = state.queue(no);
    let mut decision = Decision::default();
    if !is_hungry(state, queue) {
        return decision;
    }
    let free = u64::from(queue.slots).saturating_sub(queue.running);
    let mut claims = Vec::new();
    let mut leases = Vec::new();
    for slot in next_in_order(state, queue, now) {
        if claims.len() as u64 >= free {
            break;
        }
        let live = &state.jobs[slot];
        if is_late(live, now) {
            end_job(state, slot, EndState::Expired, now, Output::None, None, &mut decision);
            continue;
        }
        let token = LeaseToken { term: state.settings.term, n: state.next_token + claims.len() as u64 };
        let timeout_ms = live.timeout_ms.or(queue.settings.timeout_ms);
        claims.push(Claimed { slot, token, deadline: timeout_ms.map(|ms| now.mono.plus_ms(ms)) });
        leases.push(Lease {
            token,
            id: live.id,
            queue: queue.settings.name.clone(),
            kind: state.kinds[live.kind as usize].name.clone(),
            attempt: live.attempt(),
            failures: live.failures,
            lost: live.lost,
            created: live.created,
            body: live.body.clone(),
        });
    }
    if !claims.is_empty() {
        let records = claims_no(state, step, queue.level());
        decision.events.push(Event::Claimed { queue: no, no: records, now, claims });
        decision.effects.push((Mark::to_run(queue.level()), Effect::Run { queue: no, leases }));
    }
    decision
}

/// The key of a step's record of claims: what is volatile has one of its own.
pub(crate) fn claims_no(state: &State, step: u64, level: Level) -> ClaimsNo {
    ClaimsNo { term: state.settings.term, n: 2 * step + u64::from(level == Level::Memory) }
}

fn is_late(live: &Live, now: Now) -> bool {
    live.expires.is_some_and(|expires| expires <= now.wall)
}

/// The line and the suspects' line merged, of the latter only as many as may run: one that expires instead is not
/// counted.
fn next_in_order<'a>(state: &'a State, queue: &'a Queue, now: Now) -> impl Iterator<Item = Slot> + 'a {
    let rank = |slot: &Slot| (state.jobs[*slot].priority, state.jobs[*slot].arrival);
    let mut line = queue.line.iter(&state.jobs).peekable();
    let mut free = suspects_free(state);
    let may_go = move |slot: &Slot| {
        let is_free = free > 0;
        free -= u32::from(is_free && !is_late(&state.jobs[*slot], now));
        is_free
    };
    let mut suspects = queue.suspects.iter(&state.jobs).take_while(may_go).peekable();
    core::iter::from_fn(move || match (line.peek(), suspects.peek()) {
        (Some(a), Some(b)) if rank(b) < rank(a) => suspects.next(),
        (None, _) => suspects.next(),
        _ => line.next(),
    })
}
