//! Handing out attempts: strictly by (priority, arrival), as many as there are free slots.

use alloc::vec::Vec;

use super::super::outbox::Mark;
use super::super::ready::Line;
use super::super::slab::Slot;
use super::super::state::{Live, Queue, State};
use super::{Decision, end_job, unique};
use crate::attempt::Output;
use crate::bug;
use crate::change::ClaimsNo;
use crate::command::QueueNo;
use crate::effect::Effect;
use crate::event::{Claimed, Event};
use crate::job::Names;
use crate::lease::{Lease, LeaseToken};
use crate::settings::Level;
use crate::state::EndState;
use crate::time::{Mono, Now};

/// The most attempts that room is kept for before they are found.
const ROOM_MAX: usize = 4_096;

/// Whether claiming from this queue would do anything.
pub(crate) fn is_hungry(state: &State, queue: &Queue, now: Now) -> bool {
    queue.bucket.is_none_or(|bucket| bucket.free(now.mono) > 0) && has_appetite(state, queue)
}

/// Whether it would if its rate allowed it.
pub(crate) fn has_appetite(state: &State, queue: &Queue) -> bool {
    let may_run = queue.is_configured && !queue.paused && !state.draining && queue.running < u64::from(queue.slots);
    may_run && queue.lanes.iter().enumerate().any(|(no, lane)| lane.len() > 0 && state.is_lane_open(no))
}

/// Hands out what may run now, and expires up to so many that are late and in the way. Returns how many it expired. `step`
/// numbers the record of claims.
pub(crate) fn claim(state: &State, no: QueueNo, step: u64, now: Now, late_max: usize) -> (Decision, usize) {
    let queue = state.queue(no);
    let (mut decision, mut late) = (Decision::default(), 0);
    if !is_hungry(state, queue, now) {
        return (decision, late);
    }
    let free = u64::from(queue.slots).saturating_sub(queue.running);
    let free = queue.bucket.map_or(free, |bucket| free.min(bucket.free(now.mono)));
    let clock = if bug!(LeaseByWall) { Mono(now.wall.0) } else { now.mono };
    let most = usize::try_from(free.min(queue.ready())).unwrap_or(usize::MAX).min(ROOM_MAX);
    let mut names = Names::default();
    let (mut claims, mut leases) = (Vec::with_capacity(most), Vec::with_capacity(most));
    for slot in next_in_order(state, queue, now) {
        if claims.len() as u64 >= free {
            break;
        }
        let live = &state.jobs[slot];
        if is_late(live, now) {
            if late == late_max {
                break;
            }
            late += 1;
            end_job(state, slot, EndState::Expired, now, Output::None, None, &mut decision);
            continue;
        }
        let token = LeaseToken { term: state.settings.term, n: state.next_token + claims.len() as u64 };
        let timeout_ms = state.timeout_ms_of(live, now);
        unique::let_go(state, live, now, &mut decision);
        claims.push(Claimed { slot, token, deadline: timeout_ms.map(|ms| clock.plus_ms(ms)) });
        leases.push(Lease {
            token,
            id: live.id,
            queue: names.get(queue.settings.name.as_str()),
            kind: names.get(state.kinds[live.kind as usize].name.as_str()),
            attempt: live.attempt(),
            failures: live.more().failures,
            lost: live.more().lost,
            created: live.created,
            body: live.body.clone(),
        });
    }
    if !claims.is_empty() {
        let records = claims_no(state, step, queue.level());
        decision.events.push(Event::Claimed { queue: no, no: records, now, claims });
        decision.effects.push((Mark::to_run(queue.level()), Effect::Run { queue: no, leases }));
    }
    (decision, late)
}

/// The key of a step's record of claims: what is volatile has one of its own.
pub(crate) fn claims_no(state: &State, step: u64, level: Level) -> ClaimsNo {
    ClaimsNo { term: state.settings.term, n: 2 * step + u64::from(level == Level::Memory) }
}

/// The step of this core that handed out what the record holds; 0 where an earlier core did.
pub(crate) fn step_of(state: &State, no: ClaimsNo) -> u64 {
    if no.term == state.settings.term { no.n / 2 } else { 0 }
}

fn is_late(live: &Live, now: Now) -> bool {
    live.more().expires.time().is_some_and(|expires| expires <= now.wall && !bug!(ExpiredRuns))
}

/// The lanes merged, of each only as many as may run: one that expires instead is not counted.
fn next_in_order<'a>(state: &'a State, queue: &'a Queue, now: Now) -> impl Iterator<Item = Slot> + 'a {
    struct Lane<I> {
        jobs: I,
        pair: usize,
        are_suspects: bool,
    }
    let rank = |slot: Slot| (state.jobs[slot].priority, state.jobs[slot].arrival);
    let mut suspects_free = state.suspects_free();
    let mut kinds_free: Vec<_> = (0..queue.lanes.len()).step_by(2).map(|no| state.kind_free(no)).collect();
    let lane = |(no, line): (usize, &'a Line)| Lane {
        jobs: line.iter(&state.jobs).peekable(),
        pair: no / 2,
        are_suspects: no % 2 == 1,
    };
    let mut lanes: Vec<_> = queue.lanes.iter().enumerate().filter(|(_, line)| line.len() > 0).map(lane).collect();
    core::iter::from_fn(move || {
        let open = |lane: &&mut Lane<_>| kinds_free[lane.pair] > 0 && (!lane.are_suspects || suspects_free > 0);
        let heads = lanes.iter_mut().filter(open).filter_map(|lane| Some((rank(*lane.jobs.peek()?), lane)));
        let (_, lane) = heads.min_by_key(|(rank, _)| *rank)?;
        let slot = lane.jobs.next()?;
        if !is_late(&state.jobs[slot], now) {
            suspects_free -= u32::from(lane.are_suspects);
            kinds_free[lane.pair] -= 1;
        }
        Some(slot)
    })
}
