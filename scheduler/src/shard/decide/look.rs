//! Looking: what a job and the queues look like now. It may show what is not yet durable.

use alloc::vec::Vec;

use super::super::ended::Stub;
use super::super::flows::{Is, Then};
use super::super::limits::Closed;
use super::super::lines::Aside;
use super::super::outbox::Mark;
use super::super::state::{Live, Place, Spot, State};
use super::Decision;
use super::claim::{is_over_budget, own_closed};
use super::limits;
use crate::change::EndedKey;
use crate::command::{QueueNo, Request};
use crate::effect::{Answer, Found};
use crate::filter::{Facts, Filter};
use crate::flow::Need;
use crate::job::JobId;
use crate::limit::LimitOf;
use crate::rate::Rate;
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::time::Now;
use crate::view::{IsMeant, JobView, Measures, Page, QueueStats, Why};

/// So many of the steps that one waits for are named.
const STEPS_NAMED_MAX: usize = 3;

/// Tells what is known of a job: from memory, or where its record stands.
pub(crate) fn look(state: &State, request: Request, id: JobId, now: Now) -> Result<Decision, Refusal> {
    match state.place_of(id) {
        Some(Place::Live(slot)) => {
            let found = Found::Live(view(state, &state.jobs[slot], now));
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(Answer::Found(found))))
        }
        Some(Place::Ended(slot)) => {
            let stub = &state.stubs[slot];
            // The driver reads the record, so it has to be there.
            let level = state.queue(stub.queue).level().min(Level::Process);
            let found = Answer::Found(ended(state, stub));
            Ok(Decision::default().reply(Mark::from(level), request, Ok(found)))
        }
        None => Err(Refusal::Forgotten { id }),
    }
}

pub(crate) fn ended(state: &State, stub: &Stub) -> Found {
    let queue = state.queue(stub.queue).settings.name.clone();
    Found::Ended(EndedKey { queue, state: stub.state, end_no: stub.end_no })
}

pub(crate) fn view(state: &State, live: &Live, now: Now) -> JobView {
    JobView {
        id: live.id,
        queue: state.queue(live.queue).settings.name.clone(),
        kind: state.kinds[live.kind as usize].name.clone(),
        state: State::state_of(live),
        priority: live.priority,
        attempts: live.more().attempts_ended + u32::from(live.run().is_some()),
        failures: live.more().failures,
        lost: live.more().lost,
        created: live.created,
        due: live.due.time(),
        expires: live.more().expires.time(),
        deadline: live.more().deadline.time(),
        started: live.run().and_then(|_| live.more().started.time()),
        cancel_requested: live.cancel_requested,
        why: why(state, live, now),
    }
}

fn why(state: &State, live: &Live, now: Now) -> Why {
    let queue = state.queue(live.queue);
    match live.spot {
        Spot::Running => Why::Running { overdue: live.run().is_some_and(|run| run.overdue) },
        Spot::Waiting if live.more().step.is_some() => why_step(state, live),
        Spot::Waiting => Why::Key { holder: state.held_of(live).map_or(live.id, |held| held.holder) },
        Spot::Delayed => Why::Delayed,
        Spot::Parked if !queue.is_configured => Why::NoQueue,
        Spot::Parked => Why::NoHandler,
        Spot::Line | Spot::Loading if state.draining => Why::Stopping,
        Spot::Line | Spot::Loading if queue.paused => Why::Paused,
        Spot::Line | Spot::Loading if live.is_suspect() && state.suspects_running >= state.suspects_max => {
            Why::Suspect { suspects_max: state.suspects_max }
        }
        Spot::Line | Spot::Loading => {
            let full = state.kinds[live.kind as usize].limit.filter(|limit| limit.running >= limit.slots);
            if let Some(limit) = full {
                return Why::KindInUse { running: limit.running, slots: limit.slots };
            }
            let limits = state.lines.tenants[live.tenant].limiters.iter().map(|slot| &state.limits.keys.all[*slot]);
            let closed = limits.into_iter().find_map(|limit| {
                Some((state.of_key(limit.scope, &limit.key), limit.limiter.closed(live.weight(), now.mono)?))
            });
            closed.map_or_else(|| why_in_line(state, live, now), |(of, closed)| why_closed(of, closed, now))
        }
    }
}

/// Of a step whose turn has not come, or that waits for its signal.
fn why_step(state: &State, live: &Live) -> Why {
    let Some(at) = live.more().step else { return Why::Delayed };
    let flow = &state.flows.all[at.flow];
    let step = flow.step(at.no);
    if let (Is::Going, Some(batch)) = (step.is, &step.batch) {
        return Why::Batch { open: batch.counts.open(), jobs: batch.counts.jobs };
    }
    if step.is == Is::Going {
        return Why::Signal { step: step.plan.name.clone() };
    }
    let is_open = |need: &&Need| {
        let then = Then { step: at.no, if_failed: need.if_failed };
        !then.is_met_by(flow.step(need.step))
    };
    let open = step.plan.needs.iter().filter(is_open).map(|need| flow.step(need.step).plan.name.clone());
    Why::Steps { open: open.take(STEPS_NAMED_MAX).collect(), count: step.needs_open }
}

fn why_closed(of: LimitOf, closed: Closed, now: Now) -> Why {
    match closed {
        Closed::Full { running, slots } => Why::LimitInUse { of, running, slots },
        Closed::Slow { rate: Rate { jobs, period_ms, .. }, next } => {
            Why::Rate { of, jobs, period_ms, next_ms: next.since_ms(now.mono) }
        }
        Closed::Tripped(Aside::Until(until)) => Why::Breaker { of, left_ms: Some(until.since_ms(now.mono)) },
        Closed::Tripped(Aside::UntilAnEnd) => Why::Breaker { of, left_ms: None },
    }
}

/// Of one that its key and its kind let go.
fn why_in_line(state: &State, live: &Live, now: Now) -> Why {
    let queue = state.queue(live.queue);
    let is_full = queue.running >= u64::from(queue.slots);
    let own = own_closed(queue, live.weight(), now.mono);
    let own = own.map(|closed| (LimitOf::Queue(queue.settings.name.clone()), closed));
    let closed = own.or_else(|| {
        let mut shared = queue.shares.iter().map(|place| &state.limits.shared[*place]);
        shared.find_map(|shared| {
            Some((LimitOf::Shared(shared.settings.name.clone()), shared.limiter.closed(live.weight(), now.mono)?))
        })
    });
    match closed.filter(|(_, closed)| !is_full || matches!(closed, Closed::Tripped(_))) {
        Some((of, closed)) => why_closed(of, closed, now),
        None if is_over_budget(state, live, now.mono) => {
            Why::RetryBudget { percent: queue.settings.retry_budget_percent.unwrap_or_default() }
        }
        None => Why::InLine { running: queue.running, slots: queue.slots },
    }
}

/// Live jobs that a filter means, from a place on, and what the answer waits for. What is not in memory is not looked at:
/// an error, and labels of a body that is on disk only.
pub(crate) fn list(
    state: &State,
    filter: &Filter,
    from: u32,
    (limit, scan_max): (usize, usize),
    now: Now,
) -> (Mark, Page) {
    let mut page = Page { jobs: Vec::new(), term: state.settings.term, next: None };
    for (slot, live) in state.jobs.places_from(from) {
        if page.jobs.len() >= limit || (slot - from) as usize >= scan_max {
            page.next = Some(slot);
            break;
        }
        if let Some((live, is_meant)) = live.and_then(|live| Some((live, is_meant(state, filter, live)?))) {
            page.jobs.push((view(state, live, now), is_meant));
        }
    }
    let has_to_read = page.jobs.iter().any(|(_, is_meant)| *is_meant == IsMeant::ByLabels);
    (if has_to_read { Mark::Written } else { Mark::Sealed }, page)
}

fn is_meant(state: &State, filter: &Filter, live: &Live) -> Option<IsMeant> {
    let facts = Facts {
        queue: &state.queue(live.queue).settings.name,
        kind: &state.kinds[live.kind as usize].name,
        state: State::state_of(live),
        created: live.created,
        due: live.due.time(),
        ended: None,
    };
    let may_have_failed = filter.error.is_none() || live.more().attempt_recorded > 0;
    if !filter.is_met_by(&facts) || !may_have_failed {
        return None;
    }
    match &live.body {
        Some(body) => filter.is_met_by_labels(body).then_some(IsMeant::Yes),
        None if filter.asks_labels() => Some(IsMeant::ByLabels),
        None => Some(IsMeant::Yes),
    }
}

/// The numbers of one queue.
pub(crate) fn stats_of(state: &State, no: QueueNo, waiting_callers: usize, now: Now) -> QueueStats {
    let queue = state.queue(no);
    let since = state.lines.fronts(no).map(|slot| state.jobs[slot].clock_ms).min();
    let oldest_ready_ms = since.map(|since| now.mono.0.saturating_sub(since.max(0).unsigned_abs()));
    let start_within_ms = queue.settings.start_within_ms;
    QueueStats {
        queue: queue.settings.name.clone(),
        waiting: queue.waiting,
        delayed: queue.delayed,
        ready: queue.ready,
        running: queue.running,
        parked: queue.parked,
        done: queue.ended[0].count,
        dead: queue.ended[1].count,
        cancelled: queue.ended[2].count,
        expired: queue.ended[3].count,
        oldest_ready_ms,
        start_within_ms,
        is_late: oldest_ready_ms.zip(start_within_ms).is_some_and(|(waited, promised)| waited > promised),
        done_last_minute: queue.done.last_minute(now.mono),
        failed_last_minute: queue.failed.last_minute(now.mono),
        paused: queue.paused,
        circuit: queue.guard.as_ref().map(|guard| guard.circuit(now.mono)),
        slots: queue.slots,
        depth_max: queue.settings.depth_max,
        waiting_callers,
        totals: queue.counters.clone(),
    }
}

/// The numbers of all queues.
pub(crate) fn stats(state: &State, waiting: impl Fn(usize) -> usize, now: Now) -> Vec<QueueStats> {
    let queues = 0..state.queues.len();
    queues.map(|no| stats_of(state, QueueNo(no as u32), waiting(no), now)).collect()
}

/// The numbers of the whole.
pub(crate) fn measures(state: &State, waiting: impl Fn(usize) -> usize, now: Now) -> Measures {
    let (flows_ended, flows_held) = (state.flows.ended.len(), state.flows_held());
    Measures {
        queues: stats(state, waiting, now),
        memory: state.memory(),
        limits: limits::of_all(state, now),
        stale_acks: state.stale_acks,
        flows_open: (state.flows.by_id.len() - flows_ended - flows_held) as u64,
        flows_held: flows_held as u64,
        flows_ended: flows_ended as u64,
    }
}
