//! What the driver tells the core at the start: the queues, the kinds that have a handler, the limits.
//!
//! Every limit carries its unit in its name. The engine checks what users write; the core trusts these numbers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::breaker::Breaker;
use crate::job::{Name, Priority};
use crate::limit::{KeyLimits, Limit, SharedLimit};
use crate::rate::Rate;
use crate::recurrence::{NoCalendar, Schedule, SharedCalendar};
use crate::retry::RetryPolicy;
use crate::state::EndState;

/// How much a queue's Ok is worth, named by what it loses. Ordered: later is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// In memory: lost with the process.
    Memory,
    /// Written: survives the process, not the loss of power.
    Process,
    /// Synced: survives the loss of power.
    Durable,
}

/// What a full queue does with a new job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses it.
    Refuse,
    /// Lets the caller wait for room, as long as not more than this many already do.
    Wait {
        /// Callers that may wait at once.
        waiters_max: usize,
    },
}

/// Which jobs that succeeded are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepDone {
    /// None of them.
    None,
    /// Those that left an output.
    WithOutput,
    /// All of them.
    All,
}

/// How long, how many and how much is retained. Whichever limit is met first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Milliseconds since the end.
    pub age_ms: u64,
    /// Jobs.
    pub count_max: u64,
    /// Bytes of payload, output and error.
    pub bytes_max: u64,
}

/// What a queue retains of the jobs that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Which successes are kept at all.
    pub keep_done: KeepDone,
    /// For how long successes are kept.
    pub done: Keep,
    /// For how long dead letters are kept.
    pub dead: Keep,
    /// For how long cancelled and expired jobs are kept, each.
    pub dropped: Keep,
}

impl Retention {
    /// The limits for this end.
    #[must_use]
    pub const fn keep(&self, state: EndState) -> &Keep {
        match state {
            EndState::Done => &self.done,
            EndState::Dead => &self.dead,
            EndState::Cancelled | EndState::Expired => &self.dropped,
        }
    }
}

impl Default for Retention {
    /// Successes for a day (10,000, 64 MiB), dead letters for 30 days (100,000, 256 MiB), the rest for a day.
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
        const MIB: u64 = 1 << 20;
        let day = Keep { age_ms: DAY_MS, count_max: 10_000, bytes_max: 64 * MIB };
        let month = Keep { age_ms: 30 * DAY_MS, count_max: 100_000, bytes_max: 256 * MIB };
        Self { keep_done: KeepDone::All, done: day, dead: month, dropped: day }
    }
}

/// One queue, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Its name.
    pub name: Name,
    /// Attempts that may run at once.
    pub slots: u32,
    /// Starts in a time, retries among them; `None`: as many as there are slots for.
    pub rate: Option<Rate>,
    /// When nothing more may start, since most attempts fail; `None`: never.
    pub breaker: Option<Breaker>,
    /// Of a hundred starts at most so many are retries, as long as a job may go that has not failed; `None`: any number. 0 to 100.
    pub retry_budget_percent: Option<u8>,
    /// The limits of each key in this queue.
    pub keys: KeyLimits,
    /// The limits that it shares with others, by name.
    pub shares: Vec<Name>,
    /// Starts in one turn of this queue, among those that it shares a limit with. At least 1.
    pub share_weight: u32,
    /// Starts in one turn of a key; 1 of those that are not here.
    pub key_weights: BTreeMap<Box<str>, u32>,
    /// The priority of jobs that state none.
    pub priority: Priority,
    /// After so many milliseconds in line a job goes before all that have not waited so long, whatever its priority; `None`: never.
    pub ages_after_ms: Option<u64>,
    /// The retry policy of jobs that have none of their own, looked up at each failure.
    pub retry: RetryPolicy,
    /// How long an attempt may run in milliseconds, for jobs that do not say; `None`: for ever.
    pub timeout_ms: Option<u64>,
    /// How long a ready job may wait, in milliseconds, before the queue counts as late; `None`: nothing is promised.
    pub start_within_ms: Option<u64>,
    /// What Ok means.
    pub level: Level,
    /// Jobs that may wait (ready, delayed or parked) before new ones are refused.
    pub depth_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// The largest payload in bytes.
    pub payload_bytes_max: usize,
    /// The largest output in bytes.
    pub result_bytes_max: usize,
    /// What is retained.
    pub retention: Retention,
}

impl QueueSettings {
    /// What limits all of it.
    #[must_use]
    pub const fn limit(&self) -> Limit {
        Limit { slots: Some(self.slots), rate: self.rate, breaker: self.breaker }
    }

    /// A queue with the defaults: 16 at once, durable, a million jobs deep, no timeout, no promise.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            slots: 16,
            rate: None,
            breaker: None,
            retry_budget_percent: None,
            keys: KeyLimits::default(),
            shares: Vec::new(),
            share_weight: 1,
            key_weights: BTreeMap::new(),
            priority: Priority::NORMAL,
            ages_after_ms: None,
            retry: RetryPolicy::default(),
            timeout_ms: None,
            start_within_ms: None,
            level: Level::Durable,
            depth_max: 1_000_000,
            when_full: WhenFull::Refuse,
            payload_bytes_max: 256 * 1_024,
            result_bytes_max: 64 * 1_024,
            retention: Retention::default(),
        }
    }
}

/// A kind that has a handler, with what its jobs go by instead of their queue's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindSettings {
    /// Its name.
    pub name: Name,
    /// The retry policy of its jobs that have none of their own, looked up at each failure; `None`: the queue's.
    pub retry: Option<RetryPolicy>,
    /// How long an attempt may run in milliseconds, for jobs that do not say; `None`: as the queue says.
    pub timeout_ms: Option<u64>,
    /// Attempts that may run at once, over all queues; `None`: as many as their slots.
    pub slots: Option<u32>,
}

impl KindSettings {
    /// A kind that goes by its queue's settings.
    #[must_use]
    pub const fn new(name: Name) -> Self {
        Self { name, retry: None, timeout_ms: None, slots: None }
    }
}

impl From<&str> for KindSettings {
    fn from(name: &str) -> Self {
        Self::new(Name::from(name))
    }
}

/// Everything that a shard is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSettings {
    /// The journal's term: part of every lease token.
    pub term: u64,
    /// The first term of this process: attempts of earlier ones died with theirs.
    pub first_term: u64,
    /// The key of the hash tables, so that nobody can choose ids that collide.
    pub seed: u64,
    /// The queues.
    pub queues: Vec<QueueSettings>,
    /// The kinds that have a handler.
    pub kinds: Vec<KindSettings>,
    /// Whether jobs of other kinds are accepted (and parked) rather than refused.
    pub unknown_kinds: bool,
    /// The most jobs that one enqueue takes.
    pub bulk_jobs_max: usize,
    /// The most bytes of bodies that one enqueue takes.
    pub bulk_bytes_max: usize,
    /// The most keys that are taken at a time: each is in memory, some until their windows end.
    pub unique_keys_max: usize,
    /// The most keys that take turns at a time, or whose rates are remembered: each is in memory.
    pub limit_keys_max: usize,
    /// The most steps that a flow has.
    pub flow_steps_max: usize,
    /// The most needs that the steps of a flow have together.
    pub flow_needs_max: usize,
    /// The most steps of flows that have ended are remembered: each is in memory.
    pub flow_steps_kept_max: usize,
    /// The limits that several queues share.
    pub shared: Vec<SharedLimit>,
    /// Bytes that heads, stubs and bodies may take in memory: bodies over it are on disk only.
    pub memory_bytes_max: u64,
    /// A job lost this often, the last time as the only running suspect, is dead: it kills the process.
    pub lost_max: u32,
    /// What somebody wants to be told of.
    pub notices: Notices,
    /// The schedules that the code has.
    pub schedules: BTreeMap<Name, Schedule>,
    /// Who knows cron and zones.
    pub calendar: SharedCalendar,
}

/// Which events somebody wants to be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Jobs that become dead letters.
    pub dead: bool,
    /// Failed attempts that are retried.
    pub retry: bool,
    /// Jobs of schedules, as they come in.
    pub ticks: bool,
}

impl ShardSettings {
    /// How often a job is lost in a row, unless said, until it is dead. Less would hit those that were merely there.
    pub const LOST_MAX: u32 = 3;
    /// How many needs the steps of a flow have together at most, unless said: each is in memory, from both ends.
    pub const FLOW_NEEDS_MAX: usize = 100_000;

    /// Settings with the default limits.
    #[must_use]
    pub fn new(term: u64, seed: u64, queues: Vec<QueueSettings>, kinds: Vec<KindSettings>) -> Self {
        Self {
            term,
            first_term: term,
            seed,
            queues,
            kinds,
            unknown_kinds: false,
            bulk_jobs_max: 100_000,
            bulk_bytes_max: 64 << 20,
            unique_keys_max: 1_000_000,
            limit_keys_max: 1_000_000,
            flow_steps_max: 10_000,
            flow_needs_max: Self::FLOW_NEEDS_MAX,
            flow_steps_kept_max: 200_000,
            shared: Vec::new(),
            memory_bytes_max: u64::MAX,
            lost_max: Self::LOST_MAX,
            notices: Notices { dead: false, retry: false, ticks: false },
            schedules: BTreeMap::new(),
            calendar: SharedCalendar(Arc::new(NoCalendar)),
        }
    }
}
