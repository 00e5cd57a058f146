//! Which fields there are, and what each sets.
//!
//! Owns the reading half of the table of fields; `write` has the other. What is left out keeps the default of code.

use std::time::Duration;

use windlass_scheduler::job::Priority;
use windlass_scheduler::settings::{Keep, KeepDone, Level};

use super::document::Document;
use super::error::{ConfigFileError, ConfigProblem};
use super::fields::{Field, Fields, Read};
use super::limits;
use super::words;
use crate::config::retry::first_over_cap;
use crate::config::whole::Wide;
use crate::config::{EngineConfig, KindConfig, QueueConfig, Retention, RetryPolicy};
use crate::range::{self, KeepRanges, Unit};

pub(super) const PRIORITIES: [(&str, Priority); 4] =
    [("urgent", Priority::URGENT), ("high", Priority::HIGH), ("normal", Priority::NORMAL), ("low", Priority::LOW)];
pub(super) const LEVELS: [(&str, Level); 3] =
    [("memory", Level::Memory), ("process", Level::Process), ("durable", Level::Durable)];
pub(super) const KEEP: [(&str, KeepDone); 3] =
    [("none", KeepDone::None), ("with-output", KeepDone::WithOutput), ("all", KeepDone::All)];
pub(super) const NEVER: &str = "never";

const ALL: [&str; 4] = ["engine", "queues", "kinds", "limits"];
const WIDE: &[&str] = &[
    "disk_free_bytes_min",
    "memory_bytes_max",
    "lost_max",
    "allow_unknown_kinds",
    "single_runtime",
    "events_kept_max",
    "events_kept_bytes_max",
    "events_from_start",
    #[cfg(feature = "metrics")]
    "metrics_interval",
];
const QUEUE: [&str; 20] = [
    "concurrency",
    "rate_limit",
    "circuit_breaker",
    "per_key",
    "keys",
    "shares",
    "share_weight",
    "priority",
    "ages_after",
    "start_within",
    "attempt_timeout",
    "abort_after",
    "durability",
    "depth_max",
    "wait_when_full",
    "payload_bytes_max",
    "result_bytes_max",
    "retry",
    "retry_budget_percent",
    "retention",
];
const KIND: [&str; 4] = ["queue", "concurrency", "attempt_timeout", "retry"];
const RETRY: [&str; 8] = ["backoff", "first", "step", "cap", "delay", "delays", "attempts", "jitter_percent"];
const RETENTION: [&str; 4] = ["keep_done", "done", "dead", "dropped"];
const KEPT: [&str; 3] = ["age", "count_max", "bytes_max"];

/// How delays grow, and the fields that go with it.
#[derive(Clone, Copy)]
enum Growth {
    Exponential,
    Linear,
    Fixed,
    List,
}

const GROWTHS: [(&str, Growth); 4] = [
    ("exponential", Growth::Exponential),
    ("linear", Growth::Linear),
    ("fixed", Growth::Fixed),
    ("list", Growth::List),
];

impl Growth {
    fn said(self) -> String {
        format!("backoff \"{}\"", GROWTHS[self as usize].0)
    }

    /// The fields beside `backoff`.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Exponential => &["first", "cap", "attempts", "jitter_percent"],
            Self::Linear => &["first", "step", "cap", "attempts", "jitter_percent"],
            Self::Fixed => &["delay", "attempts", "jitter_percent"],
            Self::List => &["delays", "attempts", "jitter_percent"],
        }
    }
}

/// The whole of it.
pub(super) fn config(document: &Document<'_>) -> Read<EngineConfig> {
    let all = Field::root(document).table(&ALL, "a table")?;
    let mut config = EngineConfig::default();
    if let Some(field) = all.get("engine") {
        config.wide = wide(&field.table(WIDE, "a table of settings")?, &mut config)?;
    }
    if let Some(field) = all.get("queues") {
        for field in field.named("a table of queues, each by its name,")? {
            config.places.insert(format!("queues.{}", field.name), field.place());
            config.queues.push(queue(field)?);
        }
    }
    if let Some(field) = all.get("kinds") {
        for field in field.named("a table of kinds, each by its name,")? {
            config.places.insert(format!("kinds.{}", field.name), field.place());
            config.kinds.push(kind(field)?);
        }
    }
    if let Some(field) = all.get("limits") {
        for field in field.named("a table of shared limits, each by its name,")? {
            config.places.insert(format!("limits.{}", field.name), field.place());
            config.limits.push(limits::shared(field)?);
        }
    }
    Ok(config)
}

fn wide(fields: &Fields<'_>, config: &mut EngineConfig) -> Read<Wide> {
    for field in WIDE.iter().filter_map(|name| fields.get(name)) {
        config.places.insert(format!("engine.{}", field.name), field.place());
    }
    Ok(Wide {
        disk_free_bytes_min: fields.number("disk_free_bytes_min", &range::DISK_FREE)?,
        memory_bytes_max: fields.number("memory_bytes_max", &range::MEMORY)?,
        lost_max: fields.number("lost_max", &range::LOST)?,
        allow_unknown_kinds: fields.get("allow_unknown_kinds").map(|field| field.flag()).transpose()?,
        single_runtime: fields.get("single_runtime").map(|field| field.flag()).transpose()?,
        events_kept_max: fields.number("events_kept_max", &range::EVENTS)?,
        events_kept_bytes_max: fields.number("events_kept_bytes_max", &range::EVENTS_BYTES)?,
        events_from_start: fields.get("events_from_start").map(|field| field.flag()).transpose()?,
        metrics_interval_ms: fields.number("metrics_interval", &range::METRICS_INTERVAL)?,
    })
}

fn queue(field: Field<'_>) -> Read<QueueConfig> {
    let mut queue = QueueConfig::new(field.name);
    let fields = field.table(&QUEUE, "a table of settings")?;
    if let Some(attempts) = fields.number("concurrency", &range::CONCURRENCY)? {
        queue = queue.concurrency(attempts);
    }
    if let Some(field) = fields.get("rate_limit") {
        queue = queue.rate_limit(limits::rate(field)?);
    }
    if let Some(field) = fields.get("circuit_breaker") {
        queue = queue.circuit_breaker(limits::breaker(field)?);
    }
    if let Some(percent) = fields.number("retry_budget_percent", &range::RETRY_BUDGET)? {
        queue = queue.retry_budget_percent(percent);
    }
    limits::of_queue(&fields, &mut queue.settings)?;
    if let Some(field) = fields.get("priority") {
        queue = queue.priority(priority(&field)?);
    }
    if let Some(ms) = fields.number("ages_after", &range::AGES_AFTER)? {
        queue = queue.ages_after(Duration::from_millis(ms));
    }
    if let Some(ms) = fields.number("start_within", &range::START_WITHIN)? {
        queue = queue.start_within(Duration::from_millis(ms));
    }
    if let Some(ms) = fields.number("attempt_timeout", &range::TIMEOUT)? {
        queue = queue.attempt_timeout(Duration::from_millis(ms));
    }
    if let Some(ms) = fields.number("abort_after", &range::ABORT_AFTER)? {
        queue = queue.abort_after(Duration::from_millis(ms));
    }
    if let Some(field) = fields.get("durability") {
        queue = queue.durability(field.word(&LEVELS, &[])?);
    }
    if let Some(jobs) = fields.number("depth_max", &range::DEPTH)? {
        queue = queue.depth_max(jobs);
    }
    if let Some(field) = fields.get("wait_when_full") {
        if !field.is_number() {
            return Err(field.other_type("a number of callers that may wait (left out, a full queue refuses)"));
        }
        queue = queue.wait_when_full(field.number(&range::WAITERS)?);
    }
    if let Some(bytes) = fields.number("payload_bytes_max", &range::PAYLOAD)? {
        queue = queue.payload_bytes_max(bytes);
    }
    if let Some(bytes) = fields.number("result_bytes_max", &range::RESULT)? {
        queue = queue.result_bytes_max(bytes);
    }
    if let Some(field) = fields.get("retry") {
        queue = queue.retry(retry(field)?);
    }
    if let Some(field) = fields.get("retention") {
        queue = queue.retention(retention(&field.table(&RETENTION, "a table of settings")?)?);
    }
    Ok(queue)
}

fn priority(field: &Field<'_>) -> Read<Priority> {
    if field.is_text() {
        return field.word(&PRIORITIES, &["or a number from 0 to 255"]);
    }
    if !field.is_number() {
        return Err(field.other_type("a word such as \"high\", or a number from 0 to 255,"));
    }
    field.number(&range::PRIORITY).map(Priority)
}

fn kind(field: Field<'_>) -> Read<KindConfig> {
    let mut kind = KindConfig::new(field.name);
    let fields = field.table(&KIND, "a table of settings")?;
    if let Some(field) = fields.get("queue") {
        kind = kind.queue(field.text("a queue's name")?);
    }
    if let Some(attempts) = fields.number("concurrency", &range::CONCURRENCY)? {
        kind = kind.concurrency(attempts);
    }
    if let Some(ms) = fields.number("attempt_timeout", &range::TIMEOUT)? {
        kind = kind.attempt_timeout(Duration::from_millis(ms));
    }
    if let Some(field) = fields.get("retry") {
        kind = kind.retry(retry(field)?);
    }
    Ok(kind)
}

fn retry(field: Field<'_>) -> Read<RetryPolicy> {
    if field.is_text() {
        field.word(
            &[(NEVER, ())],
            &["or a table such as { backoff = \"exponential\", first = \"2s\", attempts = 8 }"],
        )?;
        return Ok(RetryPolicy::never());
    }
    let fields = field.table(&RETRY, "\"never\", or a table of settings,")?;
    let growth = fields.get("backoff").map(|field| field.word(&GROWTHS, &[])).transpose()?;
    let growth = growth.unwrap_or(Growth::Exponential);
    let mut known = growth.fields().to_vec();
    known.push("backoff");
    if let Some(field) = fields.other_than(&known) {
        return Err(field.wrong(ConfigProblem::Unfit { with: growth.said(), allowed: growth.fields() }));
    }
    let mut policy = grown(&fields, growth)?;
    let cap = fields.number("cap", &range::DELAY)?;
    if let Some(ms) = cap {
        policy = policy.cap(Duration::from_millis(ms));
    }
    if let Some(attempts) = fields.number("attempts", &range::ATTEMPTS)? {
        policy = policy.attempts(attempts);
    }
    if let Some(percent) = fields.number("jitter_percent", &range::JITTER)? {
        policy = policy.jitter_percent(percent);
    }
    match first_over_cap(policy.core()) {
        Some((first_ms, cap_ms)) => {
            let unsaid = if cap.is_none() { " (the default)" } else { "" };
            let (first, cap) = (words::say(Unit::Ms, first_ms), words::say(Unit::Ms, cap_ms) + unsaid);
            Err(fields.of.wrong(ConfigProblem::FirstOverCap { first, cap }))
        }
        None => Ok(policy),
    }
}

/// The policy with its delays, before what all policies have.
fn grown(fields: &Fields<'_>, growth: Growth) -> Read<RetryPolicy> {
    let delay = |name| fields.number(name, &range::DELAY).map(|ms| ms.map(Duration::from_millis));
    let needed = |name| delay(name)?.ok_or_else(|| missing(fields, growth, name));
    Ok(match growth {
        Growth::Exponential => RetryPolicy::exponential(delay("first")?.unwrap_or(Duration::from_secs(2))),
        Growth::Linear => RetryPolicy::linear(needed("first")?, needed("step")?),
        Growth::Fixed => RetryPolicy::fixed(needed("delay")?),
        Growth::List => {
            let delays = fields.get("delays").ok_or_else(|| missing(fields, growth, "delays"))?;
            let delays = delays.list("a list of durations", &range::DELAYS)?;
            let delays = delays.iter().map(|delay| delay.number(&range::DELAY).map(Duration::from_millis));
            RetryPolicy::list(&delays.collect::<Read<Vec<_>>>()?)
        }
    })
}

fn missing(fields: &Fields<'_>, growth: Growth, field: &'static str) -> ConfigFileError {
    fields.of.wrong(ConfigProblem::Missing { field, because: growth.said() })
}

fn retention(fields: &Fields<'_>) -> Read<Retention> {
    let mut retention = Retention::default();
    if let Some(field) = fields.get("keep_done") {
        retention = retention.keep_done(field.word(&KEEP, &[])?);
    }
    for (name, ranges, keep) in [
        ("done", range::KEEP_DONE, &mut retention.core.done),
        ("dead", range::KEEP_DEAD, &mut retention.core.dead),
        ("dropped", range::KEEP_DROPPED, &mut retention.core.dropped),
    ] {
        if let Some(field) = fields.get(name) {
            *keep = kept(&field.table(&KEPT, "a table of settings")?, &ranges, *keep)?;
        }
    }
    Ok(retention)
}

fn kept(fields: &Fields<'_>, ranges: &KeepRanges, default: Keep) -> Read<Keep> {
    Ok(Keep {
        age_ms: fields.number("age", &ranges.age)?.unwrap_or(default.age_ms),
        count_max: fields.number("count_max", &ranges.count)?.unwrap_or(default.count_max),
        bytes_max: fields.number("bytes_max", &ranges.bytes)?.unwrap_or(default.bytes_max),
    })
}
