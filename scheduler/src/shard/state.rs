//! Everything that a shard knows: the one value that commands are decided on and events are applied to.
//!
//! Owns the data and its look-ups. Nothing here changes anything: mutation lives in [`apply`](super::apply) alone (I1).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::ended::{EndedList, Stub};
use super::flows::{Flows, StepAt};
use super::index::Index;
use super::keys::Keys;
use super::limits::{Closed, Limits, guarded};
use super::lines::Lines;
pub(crate) use super::live::{Live, More, Run, Spot};
use super::pace::Pace;
use super::pages::Pages;
use super::slab::{Slab, Slot};
use super::tape::WaveNames;
use crate::breaker::Guard;
use crate::change::{Claim, Claims, ClaimsNo, Counters, Head, PolicyNo};
use crate::command::{QueueNo, Request};
use crate::job::{JobId, Name};
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override};
use crate::order::{Order, OrderId};
use crate::rate::Bucket;
use crate::recurrence::Schedule;
use crate::retry::RetryPolicy;
use crate::settings::{Level, QueueSettings, ShardSettings};
use crate::state::State as JobState;
use crate::time::{Mono, Now, Timestamp};
use crate::unique::UniqueKey;

/// A hash table with a key from outside and no order that anyone may look at.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// Where the index finds an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Live(Slot),
    Ended(Slot),
}

/// A record of claims that has open attempts.
#[derive(Clone, Debug)]
pub(crate) struct OpenClaims {
    /// As it stands in the journal.
    pub(crate) claims: Claims,
    pub(crate) level: Level,
    /// Attempts of it that have not ended.
    pub(crate) open: usize,
}

/// The records of claims that hold entries of one job whose attempts have ended: mostly one, which then takes no memory of
/// its own.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    pub(crate) last: ClaimsNo,
    pub(crate) before: Vec<ClaimsNo>,
}

/// All schedules.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    /// Each with when it fires next.
    pub(crate) by_name: BTreeMap<Name, (Schedule, Option<Timestamp>)>,
    /// The jobs for whose end instants of a schedule wait: mostly one schedule each, but an id that is forgotten may come again.
    pub(crate) waits_for: BTreeMap<JobId, BTreeSet<Name>>,
}

/// Sorted by when (in milliseconds, of the clock that the class goes by), then by arrival: a timer's order.
pub(crate) type Timers = BTreeSet<(i64, i64, Slot)>;

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) settings: QueueSettings,
    /// In the settings of this build; otherwise only the journal knows it.
    pub(crate) is_configured: bool,
    /// Attempts that may run at once: none without a worker.
    pub(crate) slots: u32,
    /// As its worker says.
    pub(crate) worker_slots: u32,
    pub(crate) paused: bool,
    /// What is left of its rate.
    pub(crate) bucket: Option<Bucket>,
    /// Its breaker.
    pub(crate) guard: Option<Box<Guard>>,
    /// What its retries have left.
    pub(crate) budget: Option<RetryBudget>,
    /// The limits that it shares with others, by their places.
    pub(crate) shares: Vec<usize>,
    pub(crate) delay: Timers,
    pub(crate) at: Timers,
    pub(crate) leases: BTreeSet<(Mono, Slot)>,
    pub(crate) expiry: BTreeSet<(Timestamp, i64, Slot)>,
    /// When the schedules whose jobs come here fire next.
    pub(crate) ticks: BTreeSet<(Timestamp, Name)>,
    /// When the windows of keys are over whose jobs came in here.
    pub(crate) windows: BTreeSet<(Timestamp, Arc<UniqueKey>)>,
    /// Flows that have ended, by when they are forgotten: those whose first step came in here.
    pub(crate) flows: BTreeSet<(Timestamp, Slot)>,
    /// Batches that were called off, whose jobs are to be.
    pub(crate) calling_off: BTreeSet<StepAt>,
    /// What stands in line, since when, by arrival: where waiting makes more urgent.
    pub(crate) elders: BTreeSet<(i64, i64, Slot)>,
    pub(crate) ready: u64,
    pub(crate) running: u64,
    pub(crate) parked: u64,
    pub(crate) delayed: u64,
    pub(crate) waiting: u64,
    pub(crate) ended: [EndedList; 4],
    /// Successes of late.
    pub(crate) done: Pace,
    /// Failed attempts of late.
    pub(crate) failed: Pace,
    pub(crate) counters: Counters,
}

/// A kind, interned.
#[derive(Debug)]
pub(crate) struct KindEntry {
    pub(crate) name: Name,
    pub(crate) is_handled: bool,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) limit: Option<KindLimit>,
}

/// How many attempts of a kind may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindLimit {
    /// Which of the limited kinds it is.
    pub(crate) no: usize,
    pub(crate) slots: u32,
    pub(crate) running: u32,
}

/// What retries have left of a queue's starts: credit in hundredths of a start. Each start of a job that never failed adds its percents,
/// each start of a retry takes the rest of a hundred: so the two are in that proportion, and retries never come in a crowd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryBudget {
    percent: u8,
    credit: u8,
}

impl RetryBudget {
    const FULL: u8 = 100;

    /// With nothing yet.
    pub(crate) fn new(percent: u8) -> Self {
        Self { percent: percent.min(Self::FULL), credit: 0 }
    }

    pub(crate) const fn has(self) -> bool {
        self.credit >= Self::FULL - self.percent
    }

    pub(crate) fn started(&mut self, is_retry: bool) {
        self.credit = if is_retry {
            self.credit.saturating_sub(Self::FULL - self.percent)
        } else {
            (self.credit + self.percent).min(Self::FULL)
        };
    }
}

/// The whole of it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: ShardSettings,
    pub(crate) queues: Vec<Queue>,
    pub(crate) queue_names: BTreeMap<Name, QueueNo>,
    pub(crate) kinds: Vec<KindEntry>,
    pub(crate) kind_names: BTreeMap<Name, u32>,
    /// The kinds that have a limit, in the order of their lanes.
    pub(crate) limited_kinds: Vec<u32>,
    pub(crate) policies: BTreeMap<PolicyNo, RetryPolicy>,
    pub(crate) policy_nos: BTreeMap<RetryPolicy, PolicyNo>,
    /// Policies that were loaded from one store only: from the journal, or from the twin.
    pub(crate) policies_once: BTreeSet<PolicyNo>,
    /// Policies that some loaded job, live or retained, has. Judged once, when all are loaded.
    pub(crate) policies_used: BTreeSet<PolicyNo>,
    pub(crate) jobs: Slab<Live>,
    /// What is ready, in lanes that have limits of their own: see [`State::lanes`].
    pub(crate) lines: Lines,
    pub(crate) limits: Limits,
    /// What is set over the limits that the code says.
    pub(crate) overrides: BTreeMap<LimitOf, Override>,
    pub(crate) stubs: Slab<Stub>,
    pub(crate) index: Index,
    pub(crate) running: Map<LeaseToken, Slot>,
    /// The records of claims that have open attempts.
    pub(crate) claims_open: BTreeMap<ClaimsNo, OpenClaims>,
    /// Their entries whose attempts have ended, by job.
    pub(crate) claims_spent: Map<JobId, Spent>,
    pub(crate) watchers: Map<JobId, Vec<Request>>,
    pub(crate) pages: Pages,
    pub(crate) next_arrival: i64,
    pub(crate) next_token: u64,
    /// How many suspects may run at once; `u32::MAX`: as many as there are slots.
    pub(crate) suspects_max: u32,
    pub(crate) suspects_running: u32,
    pub(crate) draining: bool,
    /// Orders that are under way, or ended not long ago.
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) schedules: Schedules,
    /// The keys that are taken: of the journal's queues, and of the volatile ones.
    pub(crate) keys: [Keys; 2],
    pub(crate) flows: Flows,
    /// Records of claims that were loaded and not yet judged.
    pub(crate) loaded_claims: Vec<Claims>,
    /// Attempts whose ends the journal has lost, of jobs whose ids others have by now.
    pub(crate) ends_lost: Vec<Claim>,
    /// Acknowledgements refused since the start for a token that was not current.
    pub(crate) stale_acks: u64,
}

impl State {
    pub(crate) fn new(settings: ShardSettings) -> Self {
        let hash = FixedState::with_seed(settings.seed);
        let mut state = Self {
            queues: Vec::new(),
            queue_names: BTreeMap::new(),
            kinds: Vec::new(),
            kind_names: BTreeMap::new(),
            limited_kinds: Vec::new(),
            policies: BTreeMap::new(),
            policy_nos: BTreeMap::new(),
            policies_once: BTreeSet::new(),
            policies_used: BTreeSet::new(),
            jobs: Slab::new(),
            lines: Lines::new(),
            limits: Limits::new(&settings.shared),
            overrides: BTreeMap::new(),
            stubs: Slab::new(),
            index: Index::new(hash.clone()),
            running: Map::with_hasher(hash.clone()),
            claims_open: BTreeMap::new(),
            claims_spent: Map::with_hasher(hash.clone()),
            watchers: Map::with_hasher(hash.clone()),
            flows: Flows::new(hash.clone()),
            pages: Pages::new(hash),
            next_arrival: 1,
            next_token: 1,
            suspects_max: u32::MAX,
            suspects_running: 0,
            draining: false,
            orders: BTreeMap::new(),
            schedules: Schedules::default(),
            keys: [Keys::default(), Keys::default()],
            loaded_claims: Vec::new(),
            ends_lost: Vec::new(),
            stale_acks: 0,
            settings,
        };
        for kind in state.settings.kinds.clone() {
            let no = state.intern_kind(&kind.name);
            let limit = kind.slots.map(|slots| KindLimit { no: state.limited_kinds.len(), slots, running: 0 });
            state.limited_kinds.extend(limit.is_some().then_some(no));
            state.kinds[no as usize] =
                KindEntry { name: kind.name, is_handled: true, retry: kind.retry, timeout_ms: kind.timeout_ms, limit };
        }
        for queue in state.settings.queues.clone() {
            state.add_queue(queue, true);
        }
        state
    }

    pub(crate) fn queue(&self, no: QueueNo) -> &Queue {
        &self.queues[no.0 as usize]
    }

    pub(crate) fn queue_no(&self, name: &Name) -> Option<QueueNo> {
        self.queue_names.get(name).copied()
    }

    /// Where this id is.
    pub(crate) fn place_of(&self, id: JobId) -> Option<Place> {
        self.index.find(id, |place| match place {
            Place::Live(slot) => self.jobs.get(slot).is_some_and(|live| live.id == id),
            Place::Ended(slot) => self.stubs.get(slot).is_some_and(|stub| stub.id == id),
        })
    }

    pub(crate) fn live(&self, id: JobId) -> Option<(Slot, &Live)> {
        match self.place_of(id) {
            Some(Place::Live(slot)) => Some((slot, &self.jobs[slot])),
            _ => None,
        }
    }

    pub(crate) fn stub(&self, id: JobId) -> Option<(Slot, &Stub)> {
        match self.place_of(id) {
            Some(Place::Ended(slot)) => Some((slot, &self.stubs[slot])),
            _ => None,
        }
    }

    pub(crate) fn policy_of<'a>(&'a self, live: &Live) -> &'a RetryPolicy {
        let own = live.more().policy.and_then(|no| self.policies.get(&no));
        let kind = &self.kinds[live.kind as usize];
        own.or(kind.retry.as_ref()).unwrap_or(&self.queue(live.queue).settings.retry)
    }

    /// How long an attempt of this job may run from now on: the job's own word, then its kind's, then its queue's; and no longer
    /// than to its deadline.
    pub(crate) fn timeout_ms_of(&self, live: &Live, now: Now) -> Option<u64> {
        let kind = &self.kinds[live.kind as usize];
        let timeout = live.more().timeout_ms.ms().or(kind.timeout_ms).or(self.queue(live.queue).settings.timeout_ms);
        [timeout, live.left_ms(now)].into_iter().flatten().min()
    }

    /// Lanes of a queue: a limited kind has two of its own, all other kinds share the first two; the second of a pair is for suspects.
    /// Where the share of retries is bounded, they have as many of their own behind these. So what may not go is in nobody's way, and
    /// nobody walks past it.
    pub(crate) fn lanes(&self) -> usize {
        2 * (self.limited_kinds.len() + 1)
    }

    /// The lane of a job within its queue.
    pub(crate) fn lane_of(&self, live: &Live) -> usize {
        let pair = self.kinds[live.kind as usize].limit.map_or(0, |limit| limit.no + 1);
        let is_apart = live.is_retry() && self.queue(live.queue).budget.is_some();
        2 * pair + usize::from(live.is_suspect()) + if is_apart { self.lanes() } else { 0 }
    }

    /// Whether it is for retries alone.
    pub(crate) fn is_for_retries(&self, lane: usize) -> bool {
        lane >= self.lanes()
    }

    /// How many more suspects may run.
    pub(crate) const fn suspects_free(&self) -> u32 {
        self.suspects_max.saturating_sub(self.suspects_running)
    }

    /// How many more attempts of the kinds of this lane may run.
    pub(crate) fn kind_free(&self, lane: usize) -> u32 {
        let lane = lane.checked_sub(self.lanes()).unwrap_or(lane);
        let kind = (lane / 2).checked_sub(1).map(|no| &self.kinds[self.limited_kinds[no] as usize]);
        kind.and_then(|kind| kind.limit).map_or(u32::MAX, |limit| limit.slots.saturating_sub(limit.running))
    }

    /// Whether the first of this lane may go, as far as the lane goes.
    pub(crate) fn is_lane_open(&self, lane: usize) -> bool {
        (lane.is_multiple_of(2) || self.suspects_free() > 0) && self.kind_free(lane) > 0
    }

    /// Why a job of this tenant, which counts for so many starts, may not start, as far as its key goes.
    pub(crate) fn key_closed(&self, tenant: Slot, weight: u32, now: Mono) -> Option<Closed> {
        let limiters = &self.lines.tenants[tenant].limiters;
        limiters.iter().find_map(|slot| self.limits.keys.all[*slot].limiter.closed(weight, now))
    }

    /// Whether someone here can run it, its turn granted.
    pub(crate) fn can_run(&self, queue: QueueNo, kind: u32) -> bool {
        self.queue(queue).is_configured && self.kinds[kind as usize].is_handled
    }

    /// All slots of all queues, as configured.
    pub(crate) fn slots_total(&self) -> u32 {
        let configured = self.queues.iter().filter(|queue| queue.is_configured);
        configured.fold(0, |sum, queue| sum.saturating_add(queue.settings.slots))
    }

    pub(crate) fn state_of(live: &Live) -> JobState {
        match live.spot {
            Spot::Delayed => JobState::Delayed,
            Spot::Line | Spot::Loading => JobState::Ready,
            Spot::Running => JobState::Running,
            Spot::Parked => JobState::Parked,
            Spot::Waiting => JobState::Waiting,
        }
    }

    /// The head as the journal keeps it.
    pub(crate) fn head_of(&self, live: &Live, names: &mut WaveNames) -> Head {
        let (queue, more) = (self.queue(live.queue), live.more());
        Head {
            queue: names.of(queue.level(), &queue.settings.name),
            priority: live.priority,
            arrival: live.arrival,
            created: live.created,
            due: live.due.time(),
            due_by_wall: live.due_by_wall,
            expires: more.expires.time(),
            deadline: more.deadline.time(),
            timeout_ms: more.timeout_ms.ms(),
            policy: more.policy,
            attempts_ended: more.attempts_ended,
            failures: more.failures,
            lost: more.lost,
            cancel_requested: live.cancel_requested,
        }
    }
}

impl Queue {
    pub(crate) fn new(settings: QueueSettings, is_configured: bool, shares: Vec<usize>) -> Self {
        Self {
            is_configured,
            slots: 0,
            worker_slots: 0,
            paused: false,
            bucket: settings.rate.map(|rate| Bucket::empty(rate, Mono(0))),
            guard: guarded(settings.breaker),
            budget: settings.retry_budget_percent.map(RetryBudget::new),
            shares,
            delay: BTreeSet::new(),
            at: BTreeSet::new(),
            leases: BTreeSet::new(),
            expiry: BTreeSet::new(),
            ticks: BTreeSet::new(),
            windows: BTreeSet::new(),
            flows: BTreeSet::new(),
            calling_off: BTreeSet::new(),
            elders: BTreeSet::new(),
            ready: 0,
            running: 0,
            parked: 0,
            delayed: 0,
            waiting: 0,
            ended: [EndedList::EMPTY; 4],
            done: Pace::new(),
            failed: Pace::new(),
            counters: Counters::new(settings.name.clone()),
            settings,
        }
    }

    pub(crate) const fn level(&self) -> Level {
        self.settings.level
    }

    /// Jobs that wait: what the depth limit counts.
    pub(crate) fn depth(&self) -> u64 {
        self.ready + self.delayed + self.parked + self.waiting
    }

    pub(crate) fn retained(&self) -> u64 {
        self.ended.iter().map(|list| list.count).sum()
    }
}
