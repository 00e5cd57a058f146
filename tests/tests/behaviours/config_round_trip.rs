//! Whatever an engine can go by is written and read back as the same, in both formats.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use windlass::{
    CircuitBreaker, Durability, Engine, EngineConfig, KeepDone, KindConfig, Limit, MemoryJournal, Priority,
    QueueConfig, RateLimit, Retention, RetryPolicy, SharedLimit,
};

/// The most that is allowed, and round numbers as people write them.
const DURATION_MS_MAX: u64 = 36_500 * 24 * 60 * 60 * 1_000;

/// The longest time between two looks at the numbers.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Boxed, since hundreds of them are in one configuration: side by side they are more than the stack of a test holds.
fn number(least: u64, most: u64) -> BoxedStrategy<u64> {
    let round = move |unit: u64| (1..=100_u64).prop_map(move |n| (n * unit).clamp(least, most));
    prop_oneof![Just(least), Just(most), least..=most, round(1), round(1_000), round(1 << 10), round(1 << 20)].boxed()
}

fn duration(least_ms: u64) -> BoxedStrategy<Duration> {
    let round = prop_oneof![Just(1_000_u64), Just(60_000), Just(3_600_000), Just(86_400_000), Just(604_800_000)];
    let round = (0..1_000_u64, round).prop_map(move |(n, unit)| (n * unit).clamp(least_ms, DURATION_MS_MAX));
    prop_oneof![number(least_ms, DURATION_MS_MAX), round].prop_map(Duration::from_millis).boxed()
}

fn retry() -> BoxedStrategy<RetryPolicy> {
    let two = || (duration(0), duration(0));
    let policy = prop_oneof![
        two().prop_map(|(a, b)| RetryPolicy::exponential(a.min(b)).cap(a.max(b))),
        (two(), duration(0)).prop_map(|((a, b), step)| RetryPolicy::linear(a.min(b), step).cap(a.max(b))),
        duration(0).prop_map(RetryPolicy::fixed),
        vec(duration(0), 0..4).prop_map(|delays| RetryPolicy::list(&delays)),
        Just(RetryPolicy::never()),
        Just(RetryPolicy::default()),
    ];
    (policy, option::of(1..=u32::MAX), option::of(0..=100_u8))
        .prop_map(|(policy, attempts, jitter)| {
            let policy = attempts.into_iter().fold(policy, RetryPolicy::attempts);
            jitter.into_iter().fold(policy, RetryPolicy::jitter_percent)
        })
        .boxed()
}

fn retention() -> impl Strategy<Value = Retention> {
    let keep = prop_oneof![Just(KeepDone::None), Just(KeepDone::WithOutput), Just(KeepDone::All)];
    let limits = || (duration(0), number(0, u64::from(u32::MAX)), number(0, 1 << 60));
    (keep, limits(), limits(), limits()).prop_map(|(keep, done, dead, dropped)| {
        let retention = Retention::default().keep_done(keep).done(done.0, done.1, done.2);
        retention.dead(dead.0, dead.1, dead.2).dropped(dropped.0, dropped.1, dropped.2)
    })
}

type Numbers = (u32, u8, u64, Option<usize>, usize, usize);
type Times = (Option<Duration>, Option<Duration>, Duration, Option<Duration>);
type Rate = Option<(u32, Duration, u32)>;
type Breaker = Option<CircuitBreaker>;
type KeyLimit = (Option<u32>, Rate, Breaker);
type Keys = (KeyLimit, BTreeMap<String, (Option<KeyLimit>, Option<u32>)>, u32);
type Limits = (Times, (Rate, Breaker, Option<u8>, Keys));
type Parts = (Numbers, Limits, Durability, RetryPolicy, Retention);

fn queue() -> impl Strategy<Value = Parts> {
    let usize_of = |n: u64| usize::try_from(n).unwrap();
    let numbers = (
        1..=100_000_u32,
        prop_oneof![prop::sample::select(vec![0_u8, 64, 128, 192]), any::<u8>()],
        number(1, u64::from(u32::MAX)),
        option::of(number(1, u64::from(u32::MAX)).prop_map(usize_of)),
        number(1, 16 << 20).prop_map(usize_of),
        number(0, 16 << 20).prop_map(usize_of),
    );
    let times = (option::of(duration(1)), option::of(duration(1)), duration(0), option::of(duration(1)));
    let key = (option::of(key_limit()), option::of(1..=1_000_u32));
    let keys = (key_limit(), btree_map(".{1,20}", key, 0..3), 1..=100_000_u32);
    let rate = (rate(), breaker(), option::of(0..=100_u8), keys);
    let level = prop_oneof![Just(Durability::Memory), Just(Durability::Process), Just(Durability::Durable)];
    (numbers, (times, rate), level, retry(), retention())
}

fn rate() -> impl Strategy<Value = Rate> {
    option::of((1..=10_000_000_u32, duration(1), 1..=10_000_000_u32))
}

fn key_limit() -> impl Strategy<Value = KeyLimit> {
    (option::of(0..=100_000_u32), rate(), breaker())
}

fn breaker() -> impl Strategy<Value = Breaker> {
    let counts = (1..=1_000_u32, 1..=1_000_u32, 1..=1_000_u32);
    option::of((counts, duration(1), duration(1)).prop_map(|((a, b, probes), pause, longest)| {
        let breaker = CircuitBreaker::new(a.min(b), a.max(b)).probes(probes);
        breaker.pause(pause.min(longest)).pause_max(pause.max(longest))
    }))
}

fn limit_of(rate: Rate) -> Option<RateLimit> {
    rate.map(|(jobs, per, burst)| RateLimit::new(jobs, per).burst(burst))
}

fn of_key((slots, rate, breaker): KeyLimit) -> Limit {
    let limit = slots.into_iter().fold(Limit::new(), Limit::concurrency);
    let limit = breaker.into_iter().fold(limit, Limit::circuit_breaker);
    limit_of(rate).into_iter().fold(limit, Limit::rate_limit)
}

fn queue_of(
    name: &str,
    (numbers, (times, (rate, breaker, budget, keys)), level, retry, retention): &Parts,
) -> QueueConfig {
    let queue = QueueConfig::new(name)
        .concurrency(numbers.0)
        .priority(Priority(numbers.1))
        .depth_max(numbers.2)
        .payload_bytes_max(numbers.4)
        .result_bytes_max(numbers.5)
        .abort_after(times.2)
        .durability(*level)
        .retry(retry.clone())
        .retention(*retention);
    let mut queue = limit_of(*rate).into_iter().fold(queue, QueueConfig::rate_limit);
    queue = (*breaker).into_iter().fold(queue, QueueConfig::circuit_breaker);
    queue = (*budget).into_iter().fold(queue, QueueConfig::retry_budget_percent);
    queue = queue.per_key(of_key(keys.0)).share_weight(keys.2);
    for (key, (limit, weight)) in &keys.1 {
        queue = limit.iter().fold(queue, |queue, limit| queue.key(key, of_key(*limit)));
        queue = weight.iter().fold(queue, |queue, weight| queue.key_weight(key, *weight));
    }
    let queue = numbers.3.into_iter().fold(queue, QueueConfig::wait_when_full);
    let queue = times.3.into_iter().fold(queue, QueueConfig::ages_after);
    let queue = times.0.into_iter().fold(queue, QueueConfig::attempt_timeout);
    times.1.into_iter().fold(queue, QueueConfig::start_within)
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.:/-]{1,20}"
}

fn kind() -> impl Strategy<Value = (Option<u32>, Option<Duration>, Option<RetryPolicy>, Option<usize>)> {
    (option::of(1..=100_000_u32), option::of(duration(1)), option::of(retry()), option::of(0..4_usize))
}

/// A valid configuration: kinds go to queues that there are.
fn config() -> impl Strategy<Value = EngineConfig> {
    let queues = btree_map(name(), queue(), 1..5);
    let (disk, memory) = (option::of(number(0, 1 << 60)), option::of(number(16 << 20, 1 << 46)));
    let events = (option::of(1..=100_000_000_u32), option::of(number(1, 1 << 40)), any::<bool>());
    let wide = (disk, memory, option::of(3..=u32::MAX), any::<bool>(), option::of(number(0, DAY_MS)), events);
    let shared = (
        option::of(1..=100_000_u32),
        rate(),
        breaker(),
        key_limit(),
        btree_map(".{1,20}", key_limit(), 0..3),
        any::<bool>(),
    );
    let all = (queues, btree_map(name(), kind(), 0..4), wide, btree_map(name(), shared, 0..3));
    all.prop_map(|(queues, kinds, (disk, memory, lost, single, interval, events), limits)| {
        // No kind has a handler here.
        let mut builder = Engine::builder().journal(MemoryJournal::new()).allow_unknown_kinds();
        let names: Vec<_> = queues.keys().cloned().collect();
        for (name, queue) in &queues {
            let queue = queue_of(name, queue);
            builder = builder.queue(limits.keys().fold(queue, |queue, limit| queue.shares(limit)));
        }
        for (name, (slots, rate, breaker, each, keys, is_strict)) in limits {
            let limit = slots.into_iter().fold(SharedLimit::new(&name), SharedLimit::concurrency);
            let limit = limit_of(rate).into_iter().fold(limit, SharedLimit::rate_limit).per_key(of_key(each));
            let limit = breaker.into_iter().fold(limit, SharedLimit::circuit_breaker);
            let limit = keys.into_iter().fold(limit, |limit, (key, own)| limit.key(&key, of_key(own)));
            builder = builder.shared_limit(if is_strict { limit.strict() } else { limit });
        }
        for (name, (slots, timeout, retry, queue)) in kinds {
            let kind = slots.into_iter().fold(KindConfig::new(&name), KindConfig::concurrency);
            let kind = timeout.into_iter().fold(kind, KindConfig::attempt_timeout);
            let kind = retry.into_iter().fold(kind, KindConfig::retry);
            let kind = queue.into_iter().fold(kind, |kind, no| kind.queue(&names[no % names.len()]));
            builder = builder.kind(kind);
        }
        let builder = disk.into_iter().fold(builder, windlass::EngineBuilder::disk_free_bytes_min);
        let builder = memory.into_iter().fold(builder, windlass::EngineBuilder::memory_bytes_max);
        let builder = lost.into_iter().fold(builder, windlass::EngineBuilder::lost_max);
        let interval = interval.map(Duration::from_millis);
        let builder = interval.into_iter().fold(builder, windlass::EngineBuilder::metrics_interval);
        let builder = if single { builder.single_runtime() } else { builder };
        let builder = events.0.into_iter().fold(builder, windlass::EngineBuilder::events_kept_max);
        let builder = events.1.into_iter().fold(builder, windlass::EngineBuilder::events_kept_bytes_max);
        let builder = if events.2 { builder.events_from_start() } else { builder };
        builder.effective_config().unwrap()
    })
}

#[test]
fn a_configuration_in_which_nothing_is_set_is_read_back_as_well() {
    for config in [EngineConfig::default(), EngineConfig::from_toml("[engine]").unwrap()] {
        let (toml, json) = (config.to_toml(), config.to_json());
        assert_eq!(EngineConfig::from_toml(&toml).unwrap(), config, "{toml}");
        assert_eq!(EngineConfig::from_json(&json).unwrap(), config, "{json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back_as_the_same(config in config()) {
        let (toml, json) = (config.to_toml(), config.to_json());
        prop_assert_eq!(&EngineConfig::from_toml(&toml).unwrap(), &config, "{}", toml);
        prop_assert_eq!(&EngineConfig::from_json(&json).unwrap(), &config, "{}", json);
        // And it is what an engine goes by: nothing is added to it, and nothing is lost.
        let again = Engine::builder().config(EngineConfig::from_toml(&toml).unwrap()).effective_config();
        prop_assert_eq!(again.unwrap(), config);
    }

    #[test]
    fn no_text_brings_the_readers_down(text in "\\PC{0,40}", line in "[a-z_.\\[\\]={}\"0-9 \n-]{0,60}") {
        for text in [&text, &line, &format!("[queues.mail]\n{line}"), &format!("{{\"queues\":{line}}}")] {
            let _ = (EngineConfig::from_toml(text), EngineConfig::from_json(text));
        }
        let _ = EngineConfig::from_toml(&format!("[queues.mail]\nstart_within = '''{text}'''\nresult_bytes_max='''{text}'''"));
    }
}
