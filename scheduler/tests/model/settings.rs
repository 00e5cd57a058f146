//! What the model is played with: three queues, one of each level, small limits, and little memory or much.

use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::breaker::Breaker;
use windlass_scheduler::job::Name;
use windlass_scheduler::limit::{Draw, KeyLimits, Limit, SharedLimit};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{
    Keep, KeepDone, KindSettings, Level, QueueSettings, Retention, ShardSettings, WhenFull,
};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use super::world::Job;
use super::{KINDS, QUEUES};

fn queue(name: &str, level: Level) -> QueueSettings {
    let keep = |count_max| Keep { age_ms: 2_000, count_max, bytes_max: 60 };
    QueueSettings {
        slots: 2,
        level,
        retry: RetryPolicy { backoff: Backoff::Fixed { delay_ms: 30 }, attempts_max: 3, jitter_percent: 0 },
        payload_bytes_max: 64,
        retention: Retention { keep_done: KeepDone::All, done: keep(3), dead: keep(2), dropped: keep(2) },
        ..QueueSettings::new(Name::from(name))
    }
}

/// From no room for any body to room for all.
pub(crate) fn memory() -> impl Strategy<Value = u64> {
    select(vec![0, 2_000, 3_500, 5_000, u64::MAX])
}

pub(crate) fn settings(memory_bytes_max: u64) -> ShardSettings {
    let mut ram = queue(QUEUES[0], Level::Memory);
    ram.retention.keep_done = KeepDone::None;
    ram.timeout_ms = Some(100);
    let mut tiny = queue(QUEUES[1], Level::Process);
    tiny.retention.keep_done = KeepDone::WithOutput;
    (tiny.depth_max, tiny.when_full) = (2, WhenFull::Wait { waiters_max: 2 });
    tiny.rate = Some(Rate { jobs: 3, period_ms: 40, burst: 2 });
    let mut safe = queue(QUEUES[2], Level::Durable);
    (safe.slots, safe.depth_max) = (3, 5);
    safe.retention.dropped.count_max = 1;
    let mut kinds: Vec<_> = KINDS[..2].iter().map(|kind| KindSettings::from(*kind)).collect();
    kinds[1].slots = Some(2);
    kinds[1].timeout_ms = Some(80);
    kinds[1].retry = Some(RetryPolicy { backoff: Backoff::Fixed { delay_ms: 20 }, attempts_max: 2, jitter_percent: 0 });
    let rate = |jobs, burst| Some(Rate { jobs, period_ms: 50, burst });
    // One that opens again and again, for longer each time: by the failure of one that tries.
    let breaker =
        |failures, attempts| Some(Breaker { failures, attempts, pause_ms: 30, pause_ms_max: 90, probes: failures });
    tiny.breaker = breaker(2, 2);
    ram.keys.each.breaker = breaker(2, 3);
    (ram.retry_budget_percent, safe.retry_budget_percent) = (Some(50), Some(20));
    ram.slots = 3;
    ram.keys.each.slots = Some(1);
    ram.keys.of.insert("a".into(), Limit { slots: Some(2), ..Limit::NONE });
    ram.key_weights.insert("b".into(), 2);
    safe.keys.of.insert("b".into(), Limit { rate: rate(2, 3), ..Limit::NONE });
    safe.ages_after_ms = Some(60);
    ram.ages_after_ms = Some(100);
    safe.key_weights.insert("a".into(), 2);
    tiny.shares.push(Name::from("api"));
    safe.shares.push(Name::from("api"));
    let keys =
        KeyLimits { each: Limit { slots: Some(2), rate: rate(5, 2), breaker: breaker(1, 4) }, ..KeyLimits::default() };
    let all = Limit { slots: Some(4), rate: rate(20, 4), breaker: breaker(2, 3) };
    let shared = vec![SharedLimit { name: Name::from("api"), all, keys, draw: Draw::Weighted }];
    let settings = ShardSettings { shared, ..ShardSettings::new(1, 7, vec![ram, tiny, safe], kinds) };
    ShardSettings { unknown_kinds: true, bulk_jobs_max: 3, memory_bytes_max, ..settings }
}

pub(crate) fn start() -> Now {
    Now { mono: Mono(50), wall: Timestamp(1_000_000) }
}

/// What the settings say of a kind that they know.
pub(crate) fn kind<'a>(settings: &'a ShardSettings, name: &Name) -> Option<&'a KindSettings> {
    settings.kinds.iter().find(|kind| kind.name == *name)
}

/// The job's own word, then its kind's, then its queue's.
pub(crate) fn timeout_ms(settings: &ShardSettings, job: &Job, now: Now) -> Option<u64> {
    let of_kind = || kind(settings, &job.kind).and_then(|kind| kind.timeout_ms);
    let left = job.ends_by.map(|ends_by| ends_by.saturating_sub(now.wall.0));
    job.timeout_ms.or_else(of_kind).or(settings.queues[job.queue].timeout_ms).into_iter().chain(left).min()
}
