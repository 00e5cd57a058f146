//! The whole-state check that every test calls: each structure against every other, and counters against a recount (I3,
//! I11); and a portrait of the state to compare two of them by.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Shard;
use super::slab::Slot;
use super::state::{Place, Queue, Spot, State};
use super::tape::WaveNames;
use crate::batch::BatchCounts;
use crate::change::{Counters, Head};
use crate::command::QueueNo;
use crate::flow::{FlowId, FlowState, StepOf, StepState};
use crate::job::{JobId, Name};
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override};
use crate::order::{Order, OrderId};
use crate::recurrence::Schedule;
use crate::state::EndState;
use crate::time::Timestamp;
use crate::unique::Held;

/// What two shards have to have in common to be in the same state. Leaves out what only one process can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portrait {
    /// Live jobs: kind, bytes of the body, head, and the token of the attempt that runs.
    pub jobs: BTreeMap<JobId, (Name, usize, Head, Option<LeaseToken>)>,
    /// Retained jobs: queue, end, number.
    pub retained: BTreeMap<JobId, (Name, EndState, u64)>,
    /// Ready jobs in order, by queue.
    pub lines: BTreeMap<Name, Vec<JobId>>,
    /// Counters, by queue; queues that never had a job are left out.
    pub counters: BTreeMap<Name, (bool, Counters)>,
    /// How many suspects may run.
    pub suspects_max: u32,
    /// Limits that are not as the code says.
    pub overrides: BTreeMap<LimitOf, Override>,
    /// Orders that are remembered.
    pub orders: BTreeMap<OrderId, Order>,
    /// Schedules, each with when it fires next.
    pub schedules: BTreeMap<Name, (Schedule, Option<Timestamp>)>,
    /// Keys that are taken, those of volatile queues apart.
    pub keys: [Vec<Held>; 2],
    /// Flows: how each stands, and each of its steps, with the number of its open needs.
    pub flows: BTreeMap<FlowId, (FlowState, Vec<(StepState, u32)>)>,
    /// The jobs of batches, counted.
    pub batches: BTreeMap<StepOf, BatchCounts>,
}

impl Shard {
    /// The state's portrait.
    #[must_use]
    pub fn portrait(&self) -> Portrait {
        let state = &self.state;
        let name = |queue: &Queue| queue.settings.name.clone();
        let mut names = WaveNames::default();
        let job = |(_, live): (Slot, &super::state::Live)| {
            let kind = state.kinds[live.kind as usize].name.clone();
            let token = live.run().map(|run| run.token);
            (live.id, (kind, live.body_bytes as usize, state.head_of(live, &mut names), token))
        };
        let line = |(no, queue): (u32, &Queue)| {
            let mut slots: Vec<_> = state.lines.all_of(&state.jobs, QueueNo(no)).collect();
            slots.sort_unstable_by_key(|slot| (state.jobs[*slot].priority, state.jobs[*slot].arrival));
            (name(queue), slots.iter().map(|slot| state.jobs[*slot].id).collect::<Vec<_>>())
        };
        let stubs = state.stubs.iter();
        Portrait {
            jobs: state.jobs.iter().map(job).collect(),
            retained: stubs
                .map(|(_, stub)| (stub.id, (name(state.queue(stub.queue)), stub.state, stub.end_no)))
                .collect(),
            lines: (0..).zip(&state.queues).map(line).filter(|(_, ids)| !ids.is_empty()).collect(),
            counters: state
                .queues
                .iter()
                .filter(|queue| queue.counters.came() > 0 || queue.paused)
                .map(|queue| (name(queue), (queue.paused, queue.counters.clone())))
                .collect(),
            suspects_max: state.suspects_max,
            overrides: state.overrides.clone(),
            orders: state.orders.clone(),
            schedules: state.schedules.by_name.clone(),
            flows: state.flows.by_id.iter().map(|(id, slot)| (*id, super::flows::portrait(state, *slot))).collect(),
            batches: super::batches::portrait(state),
            keys: [0, 1].map(|store| state.keys[store].by_key.values().cloned().collect()),
        }
    }

    /// Checks the whole state.
    ///
    /// # Errors
    /// A sentence for the first thing that is not as it must be.
    pub fn audit(&self) -> Result<(), String> {
        let state = &self.state;
        if state.index.len() != state.jobs.len() + state.stubs.len() {
            let (ids, jobs, stubs) = (state.index.len(), state.jobs.len(), state.stubs.len());
            return Err(format!("the index has {ids} ids for {jobs} live and {stubs} retained jobs"));
        }
        for (slot, live) in state.jobs.iter() {
            if state.place_of(live.id) != Some(Place::Live(slot)) {
                return Err(format!("the index misses live job {}", live.id));
            }
            if (live.spot == Spot::Running) != live.run().is_some() {
                return Err(format!("job {} is {:?} with lease {:?}", live.id, live.spot, live.run()));
            }
            if live.run().is_some_and(|run| state.running.get(&run.token) != Some(&slot)) {
                return Err(format!("the lease of job {} is unknown", live.id));
            }
        }
        for queue in &state.queues {
            check_queue(state, queue).map_err(|wrong| format!("queue {}: {wrong}", queue.settings.name))?;
        }
        super::lines::audit(state)?;
        super::limits::audit(state)?;
        super::pages::audit(state)?;
        check_schedules(state)?;
        super::keys::audit(state)?;
        super::flows::audit(state)?;
        check_claims(state)
    }
}

fn check_queue(state: &State, queue: &Queue) -> Result<(), String> {
    let mut counts = [0_u64; 5];
    let mine = || state.jobs.iter().filter(|(_, live)| live.queue == state.queue_names[&queue.settings.name]);
    for (slot, live) in mine() {
        let place = match live.spot {
            Spot::Delayed => {
                let key = (live.clock_ms, live.arrival, slot);
                if !(if live.due_by_wall { &queue.at } else { &queue.delay }).contains(&key) {
                    return Err(format!("delayed job {} is in no timer", live.id));
                }
                0
            }
            Spot::Line => 1,
            Spot::Running => 2,
            Spot::Parked => 3,
            Spot::Waiting => 4,
            Spot::Loading => return Err(format!("job {} has no place", live.id)),
        };
        counts[place] += 1;
        let waits = live.spot != Spot::Running;
        if live
            .more()
            .expires
            .time()
            .is_some_and(|expires| queue.expiry.contains(&(expires, live.arrival, slot)) != waits)
        {
            return Err(format!("job {} ({:?}) and the expiry timers disagree", live.id, live.spot));
        }
    }
    let counted = [queue.delayed, queue.ready, queue.running, queue.parked, queue.waiting];
    if counted != counts {
        return Err(format!("delayed, ready, running, parked, waiting are {counted:?} and should be {counts:?}"));
    }
    if queue.at.len() as u64 + queue.delay.len() as u64 != queue.delayed {
        return Err(format!("{} jobs are delayed, the timers disagree", queue.delayed));
    }
    check_ended(state, queue)
}

fn check_schedules(state: &State) -> Result<(), String> {
    let mut ticks = 0;
    let mut waits_for = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, (schedule, next)) in &state.schedules.by_name {
        let queue = state.queue_no(&schedule.template.queue).map(|no| state.queue(no));
        let is_armed = next.is_some_and(|next| queue.is_some_and(|queue| queue.ticks.contains(&(next, name.clone()))));
        if next.is_some() != is_armed || (schedule.is_paused && is_armed) {
            return Err(format!("schedule {name} (paused: {}) and its timer disagree", schedule.is_paused));
        }
        ticks += usize::from(is_armed);
        if let Some((_, job)) = schedule.last.filter(|_| !schedule.held.is_empty()) {
            waits_for.entry(job).or_default().insert(name.clone());
        }
        if schedule.held.len() > Schedule::HELD_MAX || !schedule.held.is_sorted() {
            return Err(format!("schedule {name} holds {:?}", schedule.held));
        }
    }
    if ticks != state.queues.iter().map(|queue| queue.ticks.len()).sum() || waits_for != state.schedules.waits_for {
        return Err(format!("{ticks} schedules fire, and for {waits_for:?} one waits; the timers disagree"));
    }
    Ok(())
}

fn check_ended(state: &State, queue: &Queue) -> Result<(), String> {
    for end in EndState::ALL {
        let list = &queue.ended[end.index()];
        let stubs: Vec<_> = list.iter(&state.stubs).map(|(_, stub)| stub).collect();
        let bytes: u64 = stubs.iter().map(|stub| stub.bytes).sum();
        if stubs.len() as u64 != list.count || bytes != list.bytes {
            return Err(format!("{end:?}: {} stubs of {bytes} bytes, counted {list:?}", stubs.len()));
        }
        if !stubs.is_sorted_by_key(|stub| stub.end_no) || stubs.iter().any(|stub| stub.state != end) {
            return Err(format!("{end:?}: out of order"));
        }
    }
    let counters = &queue.counters;
    let here = queue.depth() + queue.running + queue.retained() + counters.left();
    if counters.came() != here {
        return Err(format!("{} jobs came in, and {here} are accounted for", counters.came()));
    }
    Ok(())
}

fn check_claims(state: &State) -> Result<(), String> {
    let mut open: BTreeMap<_, usize> = BTreeMap::new();
    let mut suspects = 0;
    let mut of_kind = vec![0; state.kinds.len()];
    for (live, run) in state.jobs.iter().filter_map(|(_, live)| Some((live, live.run()?))) {
        *open.entry(run.claims).or_default() += 1;
        suspects += u32::from(run.suspect);
        of_kind[live.kind as usize] += 1;
    }
    for (kind, running) in state.kinds.iter().zip(of_kind) {
        // Adopted ones may be more than the limit: they run already.
        if kind.limit.is_some_and(|limit| limit.running != running) {
            return Err(format!("{running} attempts of kind {} run, its limit is {:?}", kind.name, kind.limit));
        }
    }
    let counted: BTreeMap<_, usize> = state.claims_open.iter().map(|(no, record)| (*no, record.open)).collect();
    if open != counted || suspects != state.suspects_running {
        return Err(format!("open claims are {open:?} ({suspects} suspects), counted {counted:?}"));
    }
    if state.running.len() != open.values().sum::<usize>() {
        return Err(format!("{} tokens for {open:?}", state.running.len()));
    }
    let entries =
        state.claims_open.iter().flat_map(|(no, record)| record.claims.entries.iter().map(move |one| (one, *no)));
    let spent: BTreeSet<_> =
        entries.filter(|(one, _)| !state.running.contains_key(&one.token)).map(|(one, no)| (one.id, no)).collect();
    let kept: BTreeSet<_> = state
        .claims_spent
        .iter()
        .flat_map(|(id, of)| of.before.iter().chain([&of.last]).map(move |no| (*id, *no)))
        .collect();
    if spent != kept {
        return Err(format!("spent claims are {spent:?}, kept {kept:?}"));
    }
    Ok(())
}
