//! The same fields as in `read`, the other way: every one that is set, so that what is read back is the same.

use serde::ser::{Serialize, SerializeMap, Serializer};
use windlass_scheduler::retry::{Backoff, RetryPolicy as CorePolicy};
use windlass_scheduler::settings::{Keep, Retention, WhenFull};

use super::limits;
use super::read::{KEEP, LEVELS, NEVER, PRIORITIES};
use super::words::say;
use crate::config::whole::Wide;
use crate::config::{EngineConfig, KindConfig, QueueConfig, RetryPolicy, ms};
use crate::range::Unit;

/// A value to be written.
pub(super) enum Written {
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<Written>),
    Table(Table),
}

/// Fields in the order in which they are written.
#[derive(Default)]
pub(super) struct Table(pub(super) Vec<(String, Written)>);

impl Table {
    pub(super) fn put(&mut self, name: &str, value: Written) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.put(name, Written::Number(number));
    }

    pub(super) fn word(&mut self, name: &str, word: &str) {
        self.put(name, Written::Text(word.to_owned()));
    }

    pub(super) fn duration(&mut self, name: &str, ms: u64) {
        self.put(name, Written::Text(say(Unit::Ms, ms)));
    }

    fn size(&mut self, name: &str, bytes: u64) {
        self.put(name, Written::Text(say(Unit::Bytes, bytes)));
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

/// The word for a value.
fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    words.iter().find(|(_, meaning)| meaning == value).map(|(word, _)| *word)
}

/// The whole of it.
pub(super) fn config(config: &EngineConfig) -> Table {
    let mut all = Table::default();
    let wide = wide(&config.wide);
    // A text without any table says nothing, and is refused as an oversight.
    if !wide.0.is_empty() || config.queues.is_empty() && config.kinds.is_empty() && config.limits.is_empty() {
        all.put("engine", Written::Table(wide));
    }
    let mut queues = Table::default();
    for one in &config.queues {
        queues.put(one.name(), Written::Table(queue(one)));
    }
    if !queues.0.is_empty() {
        all.put("queues", Written::Table(queues));
    }
    let mut kinds = Table::default();
    for one in &config.kinds {
        kinds.put(one.name(), Written::Table(kind(one)));
    }
    if !kinds.0.is_empty() {
        all.put("kinds", Written::Table(kinds));
    }
    let mut shared = Table::default();
    for one in &config.limits {
        shared.put(one.name(), Written::Table(limits::shared_table(one)));
    }
    if !shared.0.is_empty() {
        all.put("limits", Written::Table(shared));
    }
    all
}

fn wide(wide: &Wide) -> Table {
    let mut table = Table::default();
    if let Some(bytes) = wide.disk_free_bytes_min {
        table.size("disk_free_bytes_min", bytes);
    }
    if let Some(bytes) = wide.memory_bytes_max {
        table.size("memory_bytes_max", bytes);
    }
    if let Some(times) = wide.lost_max {
        table.number("lost_max", times.into());
    }
    if let Some(flag) = wide.allow_unknown_kinds {
        table.put("allow_unknown_kinds", Written::Flag(flag));
    }
    if let Some(flag) = wide.single_runtime {
        table.put("single_runtime", Written::Flag(flag));
    }
    if let Some(events) = wide.events_kept_max {
        table.number("events_kept_max", events);
    }
    if let Some(bytes) = wide.events_kept_bytes_max {
        table.size("events_kept_bytes_max", bytes);
    }
    if let Some(flag) = wide.events_from_start {
        table.put("events_from_start", Written::Flag(flag));
    }
    if let Some(ms) = wide.metrics_interval_ms {
        table.duration("metrics_interval", ms);
    }
    table
}

fn queue(queue: &QueueConfig) -> Table {
    let (mut table, settings) = (Table::default(), &queue.settings);
    table.number("concurrency", u64::from(settings.slots));
    if let Some(rate) = settings.rate {
        table.put("rate_limit", Written::Table(limits::rate_table(rate)));
    }
    if let Some(breaker) = settings.breaker {
        table.put("circuit_breaker", Written::Table(limits::breaker_table(breaker)));
    }
    limits::queue_table(settings, &mut table);
    if let Some(percent) = settings.retry_budget_percent {
        table.number("retry_budget_percent", u64::from(percent));
    }
    match word_of(&PRIORITIES, &settings.priority) {
        Some(word) => table.word("priority", word),
        None => table.number("priority", u64::from(settings.priority.0)),
    }
    if let Some(ms) = settings.ages_after_ms {
        table.duration("ages_after", ms);
    }
    if let Some(ms) = settings.start_within_ms {
        table.duration("start_within", ms);
    }
    if let Some(ms) = settings.timeout_ms {
        table.duration("attempt_timeout", ms);
    }
    table.duration("abort_after", ms(queue.abort_after));
    table.word("durability", word_of(&LEVELS, &settings.level).unwrap_or_default());
    table.number("depth_max", settings.depth_max);
    if let WhenFull::Wait { waiters_max } = settings.when_full {
        table.number("wait_when_full", waiters_max as u64);
    }
    table.size("payload_bytes_max", settings.payload_bytes_max as u64);
    table.size("result_bytes_max", settings.result_bytes_max as u64);
    table.put("retry", retry(&settings.retry));
    table.put("retention", Written::Table(retention(&settings.retention)));
    table
}

fn kind(kind: &KindConfig) -> Table {
    let mut table = Table::default();
    if let Some(queue) = &kind.queue {
        table.word("queue", queue);
    }
    if let Some(slots) = kind.settings.slots {
        table.number("concurrency", u64::from(slots));
    }
    if let Some(ms) = kind.settings.timeout_ms {
        table.duration("attempt_timeout", ms);
    }
    if let Some(policy) = &kind.settings.retry {
        table.put("retry", retry(policy));
    }
    table
}

fn retry(policy: &CorePolicy) -> Written {
    if policy == RetryPolicy::never().core() {
        return Written::Text(NEVER.to_owned());
    }
    let mut table = Table::default();
    match &policy.backoff {
        Backoff::Exponential { first_ms, cap_ms } => {
            table.word("backoff", "exponential");
            table.duration("first", *first_ms);
            table.duration("cap", *cap_ms);
        }
        Backoff::Linear { first_ms, step_ms, cap_ms } => {
            table.word("backoff", "linear");
            table.duration("first", *first_ms);
            table.duration("step", *step_ms);
            table.duration("cap", *cap_ms);
        }
        Backoff::Fixed { delay_ms } => {
            table.word("backoff", "fixed");
            table.duration("delay", *delay_ms);
        }
        Backoff::List { delays_ms } => {
            table.word("backoff", "list");
            let delays = delays_ms.iter().map(|ms| Written::Text(say(Unit::Ms, *ms))).collect();
            table.put("delays", Written::List(delays));
        }
    }
    table.number("attempts", u64::from(policy.attempts_max));
    table.number("jitter_percent", u64::from(policy.jitter_percent));
    Written::Table(table)
}

fn retention(retention: &Retention) -> Table {
    let mut table = Table::default();
    table.word("keep_done", word_of(&KEEP, &retention.keep_done).unwrap_or_default());
    for (name, keep) in [("done", retention.done), ("dead", retention.dead), ("dropped", retention.dropped)] {
        table.put(name, Written::Table(kept(keep)));
    }
    table
}

fn kept(keep: Keep) -> Table {
    let mut table = Table::default();
    table.duration("age", keep.age_ms);
    table.number("count_max", keep.count_max);
    table.size("bytes_max", keep.bytes_max);
    table
}
