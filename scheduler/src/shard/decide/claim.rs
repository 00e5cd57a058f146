//! Who is next: strictly by priority, of one priority the keys in turn, of one key by arrival.

use alloc::vec::Vec;

use super::super::keys::Keys;
use super::super::limits::{Closed, Limiter, tripped};
use super::super::lines::Aside;
use super::super::slab::Slot;
use super::super::state::{Live, Queue, State};
use crate::bug;
use crate::change::ClaimsNo;
use crate::command::QueueNo;
use crate::job::Names;
use crate::lease::{Lease, LeaseToken};
use crate::settings::Level;
use crate::time::{Mono, Now};

/// What is to be done next about what a queue has in line.
pub(crate) enum Next {
    /// Nothing may go.
    Nothing,
    /// This one is too late, and ends.
    Late(Slot),
    /// This tenant may not go.
    Aside(Slot, Aside),
    /// This tenant may go again.
    Back(Slot),
    /// This one starts.
    Start(Slot),
}

/// What is next in a queue.
pub(crate) fn next(state: &State, no: QueueNo, now: Now) -> Next {
    let queue = state.queue(no);
    let may_run = queue.is_configured && !queue.paused && !state.draining && queue.running < u64::from(queue.slots);
    if !may_run || queue.ready == 0 {
        return Next::Nothing;
    }
    if let Some((_, tenant)) = state.lines.aside(no).next().filter(|(until, _)| *until <= now.mono) {
        return Next::Back(tenant);
    }
    let Some(slot) = first_in_line(state, no, now.mono) else { return Next::Nothing };
    let live = &state.jobs[slot];
    if let Some(closed) = state.key_closed(live.tenant, live.weight(), now.mono) {
        return Next::Aside(live.tenant, closed.aside());
    }
    if queue_closed(state, queue, live.weight(), now.mono).is_some() {
        return Next::Nothing;
    }
    if is_late(live, now) { Next::Late(slot) } else { Next::Start(slot) }
}

/// Why nothing of a queue may start, as far as its rate and the limits go that it shares.
fn queue_closed(state: &State, queue: &Queue, weight: u32, now: Mono) -> Option<Closed> {
    let mut shared = queue.shares.iter().map(|place| &state.limits.shared[*place].limiter);
    own_closed(queue, weight, now).or_else(|| shared.find_map(|limiter| limiter.closed(weight, now)))
}

/// Of those, by its own breaker and rate.
pub(crate) fn own_closed(queue: &Queue, weight: u32, now: Mono) -> Option<Closed> {
    if let Some(closed) = tripped(queue.guard.as_deref(), now) {
        return Some(closed);
    }
    let bucket = queue.bucket.as_ref().filter(|bucket| !bucket.has(weight, now))?;
    Some(Closed::Slow { rate: bucket.rate, next: bucket.next(weight) })
}

/// When rates let the next start of a queue come that nothing else holds up.
pub(crate) fn next_start(state: &State, no: QueueNo, now: Mono) -> Option<Mono> {
    let queue = state.queue(no);
    let may_run = queue.is_configured && !queue.paused && !state.draining && queue.running < u64::from(queue.slots);
    if !may_run || queue.ready == 0 {
        return None;
    }
    let aside = state.lines.aside(no).next().map(|(until, _)| until);
    let is_limited = queue.bucket.is_some() || queue.guard.is_some() || !queue.shares.is_empty();
    let first = if is_limited { first_in_line(state, no, now) } else { None };
    let Some(weight) = first.map(|slot| state.jobs[slot].weight()) else { return aside };
    let shared = queue.shares.iter().map(|place| &state.limits.shared[*place].limiter);
    let guards = shared.clone().map(|limiter| &limiter.guard).chain([&queue.guard]);
    let trips: Vec<Aside> = guards.filter_map(|guard| guard.as_ref()?.trips(now)).collect();
    // A full one is opened by an end, and one that tries by what becomes of it.
    let is_full = |limiter: &Limiter| matches!(limiter.closed(weight, Mono(u64::MAX)), Some(Closed::Full { .. }));
    if trips.contains(&Aside::UntilAnEnd) || shared.clone().any(is_full) {
        return None;
    }
    let buckets = shared.filter_map(|limiter| limiter.bucket.as_ref()).chain(&queue.bucket);
    let opens = trips.into_iter().filter_map(|trip| if let Aside::Until(until) = trip { Some(until) } else { None });
    let free = buckets.map(|bucket| bucket.next(weight)).chain(opens).max();
    [free, aside].into_iter().flatten().min()
}

/// Jobs that have waited too long are looked at, this many: those beyond wait behind them.
const ELDERS_LOOKED_AT: usize = 32;

/// The one that has waited longest, if that is too long: of those that lane and key let go.
fn elder(state: &State, queue: &Queue, now: Mono, is_open: impl Fn(usize) -> bool) -> Option<Slot> {
    let ages_after_ms = i64::try_from(queue.settings.ages_after_ms?).unwrap_or(i64::MAX);
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    let has_aged = |(since, ..): &&(i64, i64, Slot)| since.saturating_add(ages_after_ms) <= now_ms;
    let aged = queue.elders.iter().take_while(has_aged).take(ELDERS_LOOKED_AT).map(|(.., slot)| *slot);
    let mut may_go = aged.filter(|slot| {
        let live = &state.jobs[*slot];
        let is_aside = state.lines.tenants[live.tenant].aside.is_some();
        !is_aside && is_open(state.lane_of(live)) && state.key_closed(live.tenant, live.weight(), now).is_none()
    });
    may_go.next()
}

/// The first job of a queue that its lane lets go: no retry beyond their share, as long as there is another one.
fn first_in_line(state: &State, no: QueueNo, now: Mono) -> Option<Slot> {
    let is_used_up = state.queue(no).budget.is_some_and(|budget| !budget.has()) && !bug!(RetriesUnbounded);
    let first = if is_used_up {
        first_of(state, no, now, |lane| state.is_lane_open(lane) && !state.is_for_retries(lane))
    } else {
        None
    };
    first.or_else(|| first_of(state, no, now, |lane| state.is_lane_open(lane)))
}

/// The first job of a queue, of those in lanes that are open.
fn first_of(state: &State, no: QueueNo, now: Mono, is_open: impl Fn(usize) -> bool) -> Option<Slot> {
    if let Some(slot) = elder(state, state.queue(no), now, &is_open) {
        return Some(slot);
    }
    let arrival = |slot: Slot| state.jobs[slot].arrival;
    let lanes = (0..state.lines.lanes(no)).filter(|lane| is_open(*lane));
    let fronts = lanes.filter_map(|lane| state.lines.front(no, lane));
    let front = fronts.min_by_key(|strand| (strand.priority, strand.turn, arrival(strand.first)))?;
    let mine = state.lines.strands_of(front.tenant, front.priority).filter(|(lane, _)| is_open(*lane));
    mine.map(|(_, strand)| strand.first).min_by_key(|slot| arrival(*slot))
}

/// Whether a retry waits for others to go first.
pub(crate) fn is_over_budget(state: &State, live: &Live, now: Mono) -> bool {
    let is_used_up = state.queue(live.queue).budget.is_some_and(|budget| !budget.has());
    let is_other = |lane| state.is_lane_open(lane) && !state.is_for_retries(lane);
    is_used_up && live.is_retry() && first_of(state, live.queue, now, is_other).is_some()
}

/// The lease of a job that starts, and when it ends.
pub(crate) fn lease(
    state: &State,
    live: &Live,
    token: LeaseToken,
    names: &mut Names,
    now: Now,
) -> (Option<Mono>, Lease) {
    let clock = if bug!(LeaseByWall) { Mono(now.wall.0) } else { now.mono };
    let lease = Lease {
        token,
        id: live.id,
        queue: names.get(state.queue(live.queue).settings.name.as_str()),
        kind: names.get(state.kinds[live.kind as usize].name.as_str()),
        attempt: live.attempt(),
        failures: live.more().failures,
        lost: live.more().lost,
        created: live.created,
        waited_ms: now.mono.0.saturating_sub(live.clock_ms.max(0).unsigned_abs()),
        step: live.more().step.map(|at| state.flows.step(at).plan.name.clone()),
        body: live.body.clone(),
    };
    (state.timeout_ms_of(live, now).map(|ms| clock.plus_ms(ms)), lease)
}

/// The key of a step's record of claims: what is volatile has one of its own, by whose number its store is known.
pub(crate) fn claims_no(state: &State, step: u64, level: Level) -> ClaimsNo {
    ClaimsNo { term: state.settings.term, n: 2 * step + u64::from(level == Level::Memory) }
}

/// The store whose jobs a record of claims is about: a job of the other one may have the id of one of them by now.
pub(crate) fn store_of(no: ClaimsNo) -> usize {
    if no.n.is_multiple_of(2) { Keys::store(Level::Durable) } else { Keys::VOLATILE }
}

/// The step of this core that handed out what the record holds; 0 where an earlier core did.
pub(crate) fn step_of(state: &State, no: ClaimsNo) -> u64 {
    if no.term == state.settings.term { no.n / 2 } else { 0 }
}

fn is_late(live: &Live, now: Now) -> bool {
    live.more().expires.time().is_some_and(|expires| expires <= now.wall && !bug!(ExpiredRuns))
}
