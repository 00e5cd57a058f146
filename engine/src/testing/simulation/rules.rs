//! How a service's queues are to be judged: read off its own configuration.

use windlass_scheduler::history::{Bound, Rules};
use windlass_scheduler::job::Name;
use windlass_scheduler::limit::{KeyLimits, Limit, LimitOf};
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{Keep, KeepDone, Level};

use super::recorder::Recorder;
use crate::builder::EngineBuilder;
use crate::config::{EngineConfig, SharedLimit, ms};

/// What is kept so long and in such numbers is kept for ever, as far as a simulation goes.
const FOR_EVER: Keep = Keep { age_ms: 10 * 365 * 86_400_000, count_max: 1_000_000, bytes_max: 1 << 30 };
/// What the level `Process` may lose with the power, and a tick.
const WINDOW_MS: u64 = 1_010;
/// A time-out is seen by a clock that counts in milliseconds.
const TICK_MS: u64 = 10;

fn is_kept(keep: Keep) -> bool {
    keep.age_ms >= FOR_EVER.age_ms && keep.count_max >= FOR_EVER.count_max && keep.bytes_max >= FOR_EVER.bytes_max
}

/// No delay of this policy is shorter.
fn shortest_ms(policy: &RetryPolicy) -> u64 {
    let delays: Vec<u64> = match &policy.backoff {
        Backoff::List { delays_ms } => delays_ms.to_vec(),
        backoff => vec![backoff.delay_ms(1)],
    };
    let shortest = delays.into_iter().min().unwrap_or(0);
    shortest - shortest.saturating_mul(u64::from(policy.jitter_percent.min(100))) / 100
}

/// Tells the rules of all queues.
///
/// # Panics
/// Where the configuration is refused.
pub(super) fn tell<A: Send + Sync + 'static>(builder: &EngineBuilder<A>, recorder: &Recorder) {
    let config = builder.effective_config();
    let config = config.unwrap_or_else(|error| panic!("the simulated service cannot start: {error}"));
    let (has_own_policies, has_own_slots) = (
        config.kinds.iter().any(|kind| kind.settings.retry.is_some()),
        config.kinds.iter().any(|kind| kind.settings.slots.is_some()),
    );
    let has_own_times = config.kinds.iter().any(|kind| kind.settings.timeout_ms.is_some());
    let has_threads = builder.has_blocking_handlers();
    let Some(mut tale) = recorder.tale() else { return };
    let is_exact = tale.faults.store_permille == 0;
    // A batch waits for the one before it.
    let batch_ms = 2 * tale.faults.store_pause_max.map_or(0, ms);
    // What was adopted after a failure of the store is claimed anew before anything else is asked of it.
    let adopted_ms = if is_exact { 0 } else { 2 * batch_ms };
    for queue in &config.queues {
        let settings = &queue.settings;
        let retention = &settings.retention;
        let keeps_done = retention.keep_done == KeepDone::All && is_kept(retention.done);
        let timeout_ms = settings.timeout_ms.filter(|_| !has_own_times);
        let rules = Rules {
            queue: Name::from(queue.name()),
            level: settings.level,
            slots: settings.slots,
            failures_max: if has_own_policies { u32::MAX } else { settings.retry.attempts_max },
            retry_ms_min: if has_own_policies { 0 } else { shortest_ms(&settings.retry) },
            attempt_ms_max: timeout_ms.map(|timeout_ms| timeout_ms + ms(queue.abort_after) + adopted_ms + TICK_MS),
            start_ms_max: is_exact.then_some(batch_ms),
            window_ms_max: (is_exact && settings.level == Level::Process).then_some(WINDOW_MS + batch_ms),
            keeps: [keeps_done, is_kept(retention.dead), is_kept(retention.dropped), is_kept(retention.dropped)],
            // Threads begin in any order.
            is_in_order: !(has_own_slots
                || has_threads
                || settings.ages_after_ms.is_some()
                || settings.retry_budget_percent.is_some()),
        };
        tale.priorities.insert(rules.queue.clone(), settings.priority);
        if rules.level == Level::Memory {
            tale.volatile.insert(rules.queue.clone());
        }
        tale.say_rules(rules);
    }
    for bound in bounds(&config) {
        tale.say_bound(bound);
    }
}

/// The limits of queues, of keys, and of what queues share. A limit of each key is not of those that have one of their own.
fn bounds(config: &EngineConfig) -> Vec<Bound> {
    let of_keys = |keys: &KeyLimits| if keys.of.is_empty() { keys.each } else { Limit::NONE };
    let mut all = Vec::new();
    let mut add = |of, queues: &[Name], is_of_keys, Limit { slots, rate, .. }| {
        all.push(Bound { of, queues: queues.to_vec(), is_of_keys, slots, rate });
    };
    for queue in &config.queues {
        let (name, settings) = (Name::from(queue.name()), &queue.settings);
        let queues = [name.clone()];
        add(LimitOf::Queue(name.clone()), &queues, false, Limit { rate: settings.rate, ..Limit::NONE });
        add(LimitOf::EachKey(name), &queues, true, of_keys(&settings.keys));
    }
    for SharedLimit { core, .. } in &config.limits {
        let queues = config.queues.iter().filter(|queue| queue.settings.shares.contains(&core.name));
        let queues: Vec<Name> = queues.map(|queue| Name::from(queue.name())).collect();
        add(LimitOf::Shared(core.name.clone()), &queues, false, core.all);
        add(LimitOf::SharedEachKey(core.name.clone()), &queues, true, of_keys(&core.keys));
    }
    all
}
