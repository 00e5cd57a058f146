//! Every setting of a seed.

use std::time::Duration;

use windlass::testing::Faults;
use windlass::{
    CatchUp, CircuitBreaker, Draft, Durability, EngineBuilder, HOUR, KeepDone, KindConfig, Limit, MIN, Overlap,
    Priority, QueueConfig, RateLimit, Retention, RetryPolicy, SEC, Schedule, SharedLimit,
};

use super::handler::{Act, Press, act, press};
use crate::chance::Chance;

/// The names of the queues; a seed has the first few.
const QUEUES: [&str; 3] = ["one", "two", "three"];
/// The name of what they share.
const SHARED: &str = "all";

/// What a seed plays with.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) time: Duration,
    pub(super) faults: Faults,
    pub(super) queues: Vec<QueueConfig>,
    pub(super) names: Vec<&'static str>,
    pub(super) callers: u64,
    /// Between two calls of a caller.
    pub(super) pause: Duration,
    /// One call in so many is an operator's.
    pub(super) operator_every: u64,
    /// Verbs on many jobs are among them.
    pub(super) has_orders: bool,
    /// Different keys of uniqueness; 0: no job has one.
    pub(super) keys: u64,
    /// Different limit keys; 0: no job has one.
    pub(super) limit_keys: u64,
    /// One job in so many blocks a thread of its own. Such threads race, so that seeds with them need not repeat exactly.
    pub(super) press_every: Option<u64>,
    /// One call in so many hands in a flow.
    pub(super) flows_every: Option<u64>,
    memory_bytes_max: u64,
    kind_slots: Option<u32>,
    schedules: Vec<Tick>,
    /// A limit that all queues share.
    shared: Option<SharedLimit>,
}

/// A job that comes back.
#[derive(Clone, Debug)]
struct Tick {
    queue: &'static str,
    period: Duration,
    jitter: Duration,
    catch_up: CatchUp,
    overlap: Overlap,
    seed: u64,
}

fn ms(chance: &mut Chance, max: u64) -> Duration {
    Duration::from_millis(1 + chance.below(max))
}

fn policy(chance: &mut Chance) -> RetryPolicy {
    let first = ms(chance, 5_000);
    let policy = match chance.below(5) {
        0 => RetryPolicy::fixed(first),
        1 => RetryPolicy::linear(first, ms(chance, 3_000)).cap(first + MIN),
        2 => RetryPolicy::exponential(first).cap(first + MIN),
        3 => RetryPolicy::list(&[first, ms(chance, 10_000), ms(chance, 10)]),
        _ => RetryPolicy::never(),
    };
    let jitter = u8::try_from(chance.below(101)).unwrap_or(0);
    policy.attempts(1 + u32::try_from(chance.below(6)).unwrap_or(0)).jitter_percent(jitter)
}

fn retention(chance: &mut Chance) -> Retention {
    let age = HOUR * 24 * 365 * 20;
    let retention = match chance.below(3) {
        // What is kept for ever can be counted to the last job.
        0 | 1 => Retention::default().done(age, 10_000_000, 1 << 40).dead(age, 10_000_000, 1 << 40),
        _ => Retention::default().done(ms(chance, 600_000), 5, 2_000).dead(ms(chance, 600_000), 3, 1_000),
    };
    let retention = match chance.below(3) {
        0 | 1 => retention.dropped(age, 10_000_000, 1 << 40),
        _ => retention.dropped(SEC, 2, 500),
    };
    let keep = [KeepDone::All, KeepDone::All, KeepDone::WithOutput, KeepDone::None];
    retention.keep_done(keep[chance.pick(keep.len())])
}

fn queue(chance: &mut Chance, name: &str) -> QueueConfig {
    let levels = [Durability::Memory, Durability::Process, Durability::Durable, Durability::Durable];
    let depth_max = if chance.below(3) == 0 { 3 + chance.below(10) } else { 10_000 };
    let mut queue = QueueConfig::new(name)
        .durability(levels[chance.pick(levels.len())])
        .concurrency(1 + u32::try_from(chance.below(5)).unwrap_or(0))
        .depth_max(depth_max)
        .retry(policy(chance))
        .retention(retention(chance))
        .abort_after(ms(chance, 2_000))
        .priority(Priority(u8::try_from(chance.below(256)).unwrap_or(0)));
    if chance.below(2) == 0 {
        queue = queue.wait_when_full(1 + chance.pick(4));
    }
    if chance.below(2) == 0 {
        queue = queue.attempt_timeout(ms(chance, 20_000));
    }
    if chance.below(4) == 0 {
        queue = queue.rate_limit(rate(chance));
    }
    if chance.below(5) == 0 {
        queue = queue.ages_after(ms(chance, 20_000));
    }
    if chance.below(5) == 0 {
        queue = queue.circuit_breaker(breaker(chance));
    }
    if chance.below(4) == 0 {
        queue = queue.retry_budget_percent(u8::try_from(chance.below(101)).unwrap_or(0));
    }
    if chance.below(3) == 0 {
        queue = queue.per_key(limit(chance)).key_weight("1", few(chance)).share_weight(few(chance));
    }
    queue
}

fn few(chance: &mut Chance) -> u32 {
    u32::try_from(1 + chance.below(8)).unwrap_or(1)
}

fn rate(chance: &mut Chance) -> RateLimit {
    RateLimit::new(few(chance), ms(chance, 4_000)).burst(few(chance))
}

fn breaker(chance: &mut Chance) -> CircuitBreaker {
    let (some, pause) = (few(chance), ms(chance, 20_000));
    CircuitBreaker::new(some, some + few(chance)).pause(pause).pause_max(pause + ms(chance, 60_000)).probes(few(chance))
}

fn limit(chance: &mut Chance) -> Limit {
    let limit = if chance.below(3) > 0 { Limit::new().concurrency(1 + few(chance) / 4) } else { Limit::new() };
    let limit = if chance.below(3) == 0 { limit.rate_limit(rate(chance)) } else { limit };
    if chance.below(4) == 0 { limit.circuit_breaker(breaker(chance)) } else { limit }
}

fn shared(chance: &mut Chance) -> SharedLimit {
    let shared = SharedLimit::new(SHARED).concurrency(few(chance)).per_key(limit(chance));
    let shared = if chance.below(2) == 0 { shared.strict() } else { shared };
    let shared = if chance.below(4) == 0 { shared.circuit_breaker(breaker(chance)) } else { shared };
    if chance.below(3) == 0 { shared.rate_limit(rate(chance)) } else { shared }
}

fn faults(chance: &mut Chance) -> Faults {
    let mut faults = Faults::new();
    // A seed in four has none of a sort: what only shows without the others must show as well.
    let mut some = |most: u64| {
        let is_on = chance.below(4) > 0;
        if is_on { u32::try_from(1 + chance.below(most)).unwrap_or(0) } else { 0 }
    };
    faults = faults.handlers_fail(some(200)).handlers_fail_after_their_work(some(100)).handlers_panic(some(50));
    faults = faults.handlers_hang(some(50)).store_fails(some(40)).power_fails(some(1_000));
    if chance.below(4) > 0 {
        faults = faults.crashes_every(ms(chance, 240_000));
    }
    if chance.below(3) == 0 {
        faults = faults.restarts_every(ms(chance, 240_000));
    }
    if chance.below(3) == 0 {
        faults = faults.store_is_slow(ms(chance, 15_000));
    }
    faults
}

fn tick(chance: &mut Chance, names: &[&'static str]) -> Tick {
    let catch_up = [CatchUp::Skip, CatchUp::Latest, CatchUp::All { max: 5 }];
    let overlap = [Overlap::Allow, Overlap::Skip, Overlap::Queue];
    Tick {
        queue: names[chance.pick(names.len())],
        period: SEC + ms(chance, 120_000),
        jitter: if chance.below(2) == 0 { ms(chance, 30_000) } else { Duration::ZERO },
        catch_up: catch_up[chance.pick(catch_up.len())],
        overlap: overlap[chance.pick(overlap.len())],
        seed: chance.next(),
    }
}

impl Tick {
    fn schedule(&self, name: &str) -> Schedule {
        let job = Act { seed: self.seed, depth: 0, ballast: Vec::new() };
        Schedule::every(name, self.period, Draft::new(&job).queue(self.queue))
            .jitter(self.jitter)
            .catch_up(self.catch_up)
            .overlap(self.overlap)
    }
}

impl Settings {
    pub(super) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let chance = &mut chance;
        let names: Vec<&'static str> = QUEUES.into_iter().take(1 + chance.pick(3)).collect();
        Self {
            time: MIN + ms(chance, 600_000),
            faults: faults(chance),
            queues: names.iter().map(|name| queue(chance, name)).collect(),
            callers: 1 + chance.below(5),
            pause: ms(chance, 20_000),
            operator_every: 2 + chance.below(10),
            has_orders: chance.below(10) == 0,
            press_every: (chance.below(8) == 0).then(|| 2 + chance.below(100)),
            memory_bytes_max: if chance.below(2) == 0 { 16 << 20 } else { 1 << 30 },
            kind_slots: (chance.below(4) == 0).then(|| 1 + u32::try_from(chance.below(3)).unwrap_or(0)),
            schedules: (0..chance.pick(3)).map(|_| tick(chance, &names)).collect(),
            keys: if chance.below(2) == 0 { 1 + chance.below(4) } else { 0 },
            limit_keys: if chance.below(2) == 0 { 1 + chance.below(4) } else { 0 },
            shared: (chance.below(3) == 0).then(|| shared(chance)),
            flows_every: (chance.below(3) == 0).then(|| 1 + chance.below(6)),
            names,
        }
    }

    pub(super) fn service(&self, builder: EngineBuilder<()>) -> EngineBuilder<()> {
        let builder = builder.memory_bytes_max(self.memory_bytes_max).handler(act);
        let mut builder = self.queues.iter().cloned().fold(builder, |builder, queue| {
            let shares = self.shared.is_some();
            builder.queue(if shares { queue.shares(SHARED) } else { queue })
        });
        if let Some(shared) = self.shared.clone() {
            builder = builder.shared_limit(shared);
        }
        let ticks = self.schedules.iter().zip(["tick", "tock"]).map(|(tick, name)| tick.schedule(name));
        let builder = ticks.fold(builder, EngineBuilder::schedule);
        let builder = match self.kind_slots {
            Some(slots) => builder.kind(KindConfig::new(<Act as windlass::Job>::KIND).concurrency(slots)),
            None => builder,
        };
        match self.press_every {
            Some(_) => {
                let press_goes_to = KindConfig::new(<Press as windlass::Job>::KIND).queue(self.names[0]);
                builder.blocking_handler(press).kind(press_goes_to)
            }
            None => builder,
        }
    }
}
