//! Limits in files, both ways: of queues, of their keys, and of several queues together.

use std::time::Duration;

use windlass_scheduler::breaker::Breaker;
use windlass_scheduler::job::Name;
use windlass_scheduler::limit::{Draw, KeyLimits, Limit as CoreLimit};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::settings::QueueSettings;

use super::error::ConfigProblem;
use super::fields::{Field, Fields, Read};
use super::write::{Table, Written};
use crate::config::{CircuitBreaker, RateLimit, SharedLimit};
use crate::range::{self, Range};

const RATE: [&str; 3] = ["jobs", "per", "burst"];
const BREAKER: [&str; 5] = ["failures", "attempts", "pause", "pause_max", "probes"];
const EACH: [&str; 3] = ["concurrency", "rate_limit", "circuit_breaker"];
const KEY: [&str; 5] = ["concurrency", "rate_limit", "circuit_breaker", "unlimited", "weight"];
const SHARED_KEY: [&str; 4] = ["concurrency", "rate_limit", "circuit_breaker", "unlimited"];
const SHARED: [&str; 6] = ["concurrency", "rate_limit", "circuit_breaker", "per_key", "keys", "draw"];
const DRAWS: [(&str, Draw); 2] = [("weighted", Draw::Weighted), ("strict", Draw::Strict)];

pub(super) fn rate(field: Field<'_>) -> Read<RateLimit> {
    let fields = field.table(&RATE, "a table such as { jobs = 50, per = \"1s\" }")?;
    let because = || "a rate".to_owned();
    let needed = |field| fields.of.wrong(ConfigProblem::Missing { field, because: because() });
    let jobs = fields.number("jobs", &range::RATE_JOBS)?.ok_or_else(|| needed("jobs"))?;
    let per = fields.number("per", &range::RATE_PERIOD)?.ok_or_else(|| needed("per"))?;
    let limit = RateLimit::new(jobs, Duration::from_millis(per));
    let burst = fields.number("burst", &range::RATE_BURST)?;
    Ok(burst.into_iter().fold(limit, RateLimit::burst))
}

pub(super) fn breaker(field: Field<'_>) -> Read<CircuitBreaker> {
    let fields = field.table(&BREAKER, "a table such as { failures = 10, attempts = 20, pause = \"30s\" }")?;
    let because = || "a circuit breaker".to_owned();
    let needed = |field| fields.of.wrong(ConfigProblem::Missing { field, because: because() });
    let failures = fields.number("failures", &range::BREAKER_FAILURES)?.ok_or_else(|| needed("failures"))?;
    let attempts = Range { min: u64::from(failures), ..range::BREAKER_ATTEMPTS };
    let attempts = fields.number("attempts", &attempts)?.ok_or_else(|| needed("attempts"))?;
    let mut breaker = CircuitBreaker::new(failures, attempts);
    if let Some(ms) = fields.number("pause", &range::BREAKER_PAUSE)? {
        breaker = breaker.pause(Duration::from_millis(ms));
    }
    let pause_max = Range { min: breaker.core.pause_ms, ..range::BREAKER_PAUSE_MAX };
    if let Some(ms) = fields.number("pause_max", &pause_max)? {
        breaker = breaker.pause_max(Duration::from_millis(ms));
    }
    let probes = fields.number("probes", &range::BREAKER_PROBES)?;
    Ok(probes.into_iter().fold(breaker, CircuitBreaker::probes))
}

/// What a queue says of limits beyond its own.
pub(super) fn of_queue(fields: &Fields<'_>, settings: &mut QueueSettings) -> Read<()> {
    settings.keys = keys(fields, &KEY)?;
    if let Some(field) = fields.get("keys") {
        for field in field.keyed("a table of keys", &range::LIMIT_KEY)? {
            let name = field.name.into();
            if let Some(weight) = field.table(&KEY, "a table of settings")?.number("weight", &range::KEY_WEIGHT)? {
                settings.key_weights.insert(name, weight);
            }
        }
    }
    if let Some(field) = fields.get("shares") {
        let names = field.list("a list of names of shared limits", &range::SHARES)?;
        let names = names.iter().map(|name| name.text("the name of a shared limit").map(Name::from));
        settings.shares = names.collect::<Read<Vec<_>>>()?;
    }
    if let Some(starts) = fields.number("share_weight", &range::SHARE_WEIGHT)? {
        settings.share_weight = starts;
    }
    Ok(())
}

pub(super) fn shared(field: Field<'_>) -> Read<SharedLimit> {
    let mut shared = SharedLimit::new(field.name);
    let fields = field.table(&SHARED, "a table of settings")?;
    shared.core.all = limit(&fields, &range::CONCURRENCY)?;
    shared.core.keys = keys(&fields, &SHARED_KEY)?;
    if let Some(field) = fields.get("draw") {
        shared.core.draw = field.word(&DRAWS, &[])?;
    }
    Ok(shared)
}

fn limit(fields: &Fields<'_>, concurrency: &Range) -> Read<CoreLimit> {
    Ok(CoreLimit {
        slots: fields.number("concurrency", concurrency)?,
        rate: fields.get("rate_limit").map(rate).transpose()?.map(|limit| limit.core),
        breaker: fields.get("circuit_breaker").map(breaker).transpose()?.map(|breaker| breaker.core),
    })
}

fn keys(fields: &Fields<'_>, allowed: &'static [&'static str]) -> Read<KeyLimits> {
    let mut keys = KeyLimits::default();
    if let Some(field) = fields.get("per_key") {
        keys.each = limit(&field.table(&EACH, "a table such as { concurrency = 2 }")?, &range::KEY_CONCURRENCY)?;
    }
    if let Some(field) = fields.get("keys") {
        for field in field.keyed("a table of keys, each with its limits,", &range::LIMIT_KEY)? {
            let name = field.name.into();
            let fields = field.table(allowed, "a table of settings")?;
            let own = limit(&fields, &range::KEY_CONCURRENCY)?;
            let unlimited = fields.get("unlimited").map(|field| field.flag()).transpose()?.unwrap_or_default();
            if unlimited && !own.is_none() {
                let with = "`unlimited`".to_owned();
                return Err(fields.of.wrong(ConfigProblem::Unfit { with, allowed: &["weight"] }));
            }
            if unlimited || !own.is_none() {
                keys.of.insert(name, own);
            }
        }
    }
    Ok(keys)
}

pub(super) fn rate_table(rate: Rate) -> Table {
    let mut table = Table::default();
    table.number("jobs", u64::from(rate.jobs));
    table.duration("per", rate.period_ms);
    table.number("burst", u64::from(rate.burst));
    table
}

pub(super) fn breaker_table(breaker: Breaker) -> Table {
    let mut table = Table::default();
    table.number("failures", u64::from(breaker.failures));
    table.number("attempts", u64::from(breaker.attempts));
    table.duration("pause", breaker.pause_ms);
    table.duration("pause_max", breaker.pause_ms_max);
    table.number("probes", u64::from(breaker.probes));
    table
}

fn limit_table(limit: &CoreLimit) -> Table {
    let mut table = Table::default();
    if let Some(slots) = limit.slots {
        table.number("concurrency", u64::from(slots));
    }
    if let Some(rate) = limit.rate {
        table.put("rate_limit", Written::Table(rate_table(rate)));
    }
    if let Some(breaker) = limit.breaker {
        table.put("circuit_breaker", Written::Table(breaker_table(breaker)));
    }
    table
}

/// What a queue says of limits beyond its own.
pub(super) fn queue_table(settings: &QueueSettings, table: &mut Table) {
    let mut named: Vec<_> = settings.keys.of.keys().chain(settings.key_weights.keys()).collect();
    named.sort_unstable();
    named.dedup();
    keys_table(&settings.keys, named.into_iter(), |key| settings.key_weights.get(key).copied(), table);
    if !settings.shares.is_empty() {
        let names = settings.shares.iter().map(|name| Written::Text(name.to_string()));
        table.put("shares", Written::List(names.collect()));
    }
    table.number("share_weight", u64::from(settings.share_weight));
}

fn keys_table<'a>(
    keys: &KeyLimits,
    named: impl Iterator<Item = &'a Box<str>>,
    weight: impl Fn(&str) -> Option<u32>,
    table: &mut Table,
) {
    if !keys.each.is_none() {
        table.put("per_key", Written::Table(limit_table(&keys.each)));
    }
    let mut all = Table::default();
    for key in named {
        let own = keys.of.get(key);
        let mut one = own.map(limit_table).unwrap_or_default();
        if own.is_some_and(CoreLimit::is_none) {
            one.put("unlimited", Written::Flag(true));
        }
        if let Some(weight) = weight(key) {
            one.number("weight", u64::from(weight));
        }
        all.put(key, Written::Table(one));
    }
    if !all.0.is_empty() {
        table.put("keys", Written::Table(all));
    }
}

pub(super) fn shared_table(shared: &SharedLimit) -> Table {
    let (mut table, core) = (limit_table(&shared.core.all), &shared.core);
    keys_table(&core.keys, core.keys.of.keys(), |_| None, &mut table);
    if core.draw == Draw::Strict {
        table.word("draw", "strict");
    }
    table
}
