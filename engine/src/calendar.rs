//! Cron patterns and time zones, for the core's schedules: croner and jiff, and nothing of our own.
//!
//! Owns what has been parsed. Never decides whether a schedule fires: it says when a pattern's instants are. Where clocks are
//! changed, it goes by the rule of Vixie cron, which croner keeps: a fixed time that does not exist that day comes at the end of
//! the gap, one that exists twice comes the first time; of patterns with `*` or steps in hours, minutes or seconds nothing
//! comes in a gap, and everything twice where an hour exists twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use windlass_scheduler::recurrence::Calendar;
use windlass_scheduler::time::Timestamp;

/// A pattern in a zone, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    cron: Cron,
    zone: TimeZone,
}

/// Which of the words mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaningless {
    Pattern(String),
    Zone,
}

impl Pattern {
    pub(crate) fn new(pattern: &str, zone: &str) -> Result<Self, Meaningless> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|error| Meaningless::Pattern(error.to_string()))?;
        let zone = TimeZone::get(zone).map_err(|_| Meaningless::Zone)?;
        Ok(Self { cron, zone })
    }

    fn zoned(&self, at: Timestamp) -> Option<jiff::Zoned> {
        // Instants are whole seconds.
        let second = jiff::Timestamp::from_second(i64::try_from(at.0 / 1_000).ok()?).ok()?;
        Some(second.to_zoned(self.zone.clone()))
    }

    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        instant(&self.cron.find_next_occurrence(&self.zoned(after)?, false).ok()?)
    }

    fn last(&self, until: Timestamp) -> Option<Timestamp> {
        instant(&self.cron.find_previous_occurrence(&self.zoned(until)?, true).ok()?)
    }

    /// The moment as the zone's clocks show it, and whether they are changed that day.
    pub(crate) fn local(&self, at: Timestamp) -> Option<(String, bool)> {
        let zoned = self.zoned(at)?;
        let offset = |zoned: Result<jiff::Zoned, jiff::Error>| zoned.map(|zoned| zoned.offset()).ok();
        let is_changed = offset(zoned.start_of_day()) != offset(zoned.end_of_day());
        Some((zoned.to_string(), is_changed))
    }
}

fn instant(zoned: &jiff::Zoned) -> Option<Timestamp> {
    u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Timestamp)
}

/// Patterns that are remembered at most: a few are shared by many schedules.
const KNOWN_MAX: usize = 10_000;

/// A pattern and a zone's name.
type Words = (Box<str>, Box<str>);

/// Patterns that were parsed, which takes longer than to ask one: 13 µs, and 1.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    known: Mutex<HashMap<Words, Result<Arc<Pattern>, Meaningless>>>,
}

impl Patterns {
    pub(crate) fn get(&self, pattern: &str, zone: &str) -> Result<Arc<Pattern>, Meaningless> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let key = (Box::from(pattern), Box::from(zone));
        known.entry(key).or_insert_with(|| Pattern::new(pattern, zone).map(Arc::new)).clone()
    }
}

impl Calendar for Patterns {
    fn next(&self, pattern: &str, zone: &str, after: Timestamp) -> Option<Timestamp> {
        self.get(pattern, zone).ok()?.next(after)
    }

    fn last(&self, pattern: &str, zone: &str, until: Timestamp) -> Option<Timestamp> {
        self.get(pattern, zone).ok()?.last(until)
    }
}
