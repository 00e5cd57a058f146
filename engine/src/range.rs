//! How far numbers may go: one place for all of them, whether they come with a call, from code or from a file.
//!
//! Owns the limits and the comparison with them. Never says where a number stood: whoever read it knows. The guide's page
//! on limits lists them, and a test holds it to that.

use windlass_scheduler::breaker::Breaker;
use windlass_scheduler::job::When;
use windlass_scheduler::limit::Share;
use windlass_scheduler::recurrence::Schedule;
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::unique::UniqueKey;

use crate::error::{ConfigError, OutOfRange};
use crate::trace::CONTEXT_BYTES_MAX;

/// What a number counts. A file says it in words: `"30s"`, `"256 KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
}

/// A number that can be set: what code calls it, its unit, the least and the most allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) field: &'static str,
    /// Code says milliseconds and bytes as they are.
    #[cfg_attr(not(feature = "config-file"), expect(dead_code, reason = "only files say it in words"))]
    pub(crate) unit: Unit,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// A hundred years: longer than anybody waits, and so short that no clock overflows.
const DURATION_MS_MAX: u64 = 36_500 * 24 * 60 * 60 * 1_000;
/// An exbibyte: more than a disk has.
const BYTES_MAX: u64 = 1 << 60;
/// More of anything than fits into memory.
const COUNT_MAX: u64 = u32::MAX as u64;

/// More attempts at once than a process has any use for.
pub(crate) const CONCURRENCY: Range = Range::count("concurrency", 1, 100_000);
/// Code's type has no other.
#[cfg(feature = "config-file")]
pub(crate) const PRIORITY: Range = Range::count("priority", 0, 255);
pub(crate) const DEPTH: Range = Range::count("depth_max", 1, COUNT_MAX);
pub(crate) const WAITERS: Range = Range::count("wait_when_full", 1, COUNT_MAX);
pub(crate) const PAYLOAD: Range = Range::bytes("payload_bytes_max", 1, 16 << 20);
pub(crate) const RESULT: Range = Range::bytes("result_bytes_max", 0, 16 << 20);
pub(crate) const TIMEOUT: Range = Range::ms("attempt_timeout in ms", 1);
pub(crate) const START_WITHIN: Range = Range::ms("start_within in ms", 1);
pub(crate) const AGES_AFTER: Range = Range::ms("ages_after in ms", 1);
pub(crate) const ABORT_AFTER: Range = Range::ms("abort_after in ms", 0);
/// From two on a job is under suspicion, and the third time has to find it alone.
pub(crate) const LOST: Range = Range::count("lost_max", ShardSettings::LOST_MAX as u64, COUNT_MAX);
pub(crate) const DISK_FREE: Range = Range::bytes("disk_free_bytes_min", 0, BYTES_MAX);
/// Zero: never. More than a day is another thing.
pub(crate) const METRICS_INTERVAL: Range =
    Range { max: 24 * 60 * 60 * 1_000, ..Range::ms("metrics_interval in ms", 0) };
/// One is a ring, if a useless one.
pub(crate) const EVENTS: Range = Range::count("events_kept_max", 1, 100_000_000);
pub(crate) const EVENTS_BYTES: Range = Range::bytes("events_kept_bytes_max", 1, 1 << 40);
/// With less there is no room for the journal's own tables; more is more than a machine has.
pub(crate) const MEMORY: Range = Range::bytes("memory_bytes_max", 16 << 20, 1 << 46);
/// More starts than a process comes to.
pub(crate) const RATE_JOBS: Range = Range::count("rate_limit.jobs", 1, 10_000_000);
pub(crate) const RATE_PERIOD: Range = Range::ms("rate_limit.per in ms", 1);
pub(crate) const RATE_BURST: Range = Range::count("rate_limit.burst", 1, 10_000_000);
pub(crate) const BREAKER_FAILURES: Range = Range::count("circuit_breaker.failures", 1, Breaker::ATTEMPTS_MAX as u64);
pub(crate) const BREAKER_ATTEMPTS: Range = Range::count("circuit_breaker.attempts", 1, Breaker::ATTEMPTS_MAX as u64);
pub(crate) const BREAKER_PAUSE: Range = Range::ms("circuit_breaker.pause in ms", 1);
pub(crate) const BREAKER_PAUSE_MAX: Range = Range::ms("circuit_breaker.pause_max in ms", 1);
pub(crate) const BREAKER_PROBES: Range = Range::count("circuit_breaker.probes", 1, Breaker::PROBES_MAX as u64);
pub(crate) const RETRY_BUDGET: Range = Range::count("retry_budget_percent", 0, 100);
/// It stands in memory with every job that has it.
pub(crate) const LIMIT_KEY: Range = Range::bytes("bytes of a limit key", 1, Share::KEY_BYTES_MAX as u64);
/// What counts for more is a rate of its own.
pub(crate) const WEIGHT: Range = Range::count("weight", 1, Share::WEIGHT_MAX as u64);
/// None holds up everything of a key.
pub(crate) const KEY_CONCURRENCY: Range = Range::count("per_key.concurrency", 0, 100_000);
/// A turn, not a shift.
pub(crate) const KEY_WEIGHT: Range = Range::count("weight of a key", 1, 1_000);
pub(crate) const SHARE_WEIGHT: Range = Range::count("share_weight", 1, 100_000);
/// Each is looked at for every start.
pub(crate) const SHARES: Range = Range::count("shared limits of a queue", 0, 8);
/// Of those that differ from the rest; each stands in memory.
pub(crate) const KEYS: Range = Range::count("keys with limits of their own", 0, 100_000);
pub(crate) const DELAY: Range = Range::ms("retry delay in ms", 0);
/// A rule that needs more of them is a function: `Job::retry`.
pub(crate) const DELAYS: Range = Range::count("retry delays", 0, 1_000);
pub(crate) const ATTEMPTS: Range = Range::count("retry attempts", 1, COUNT_MAX);
pub(crate) const JITTER: Range = Range::count("retry jitter_percent", 0, 100);

/// A hundred years are as good as never.
pub(crate) const PERIOD: Range = Range::ms("period in ms", 1);
/// More than a day is another schedule.
pub(crate) const START_JITTER: Range = Range { max: 24 * 60 * 60 * 1_000, ..Range::ms("jitter in ms", 0) };
/// All of them come at once.
pub(crate) const CATCH_UP: Range = Range::count("missed instants to catch up with", 1, Schedule::CATCH_UP_MAX as u64);

/// Labels, not a data store.
pub(crate) const TAGS: Range = Range::count("tags", 0, 16);
pub(crate) const TAG: Range = Range::bytes("bytes of a tag", 0, LABEL_BYTES_MAX);
pub(crate) const CORRELATION_ID: Range = Range::bytes("bytes of the correlation id", 0, LABEL_BYTES_MAX);
pub(crate) const TRACE_CONTEXT: Range = Range::bytes("bytes of the trace context", 0, CONTEXT_BYTES_MAX as u64);
/// It stands in keys on disk, and in memory while it is taken.
pub(crate) const UNIQUE_KEY: Range = Range::bytes("bytes of a unique key", 1, UniqueKey::BYTES_MAX as u64);
/// Whatever comes again after a year is another thing.
pub(crate) const UNIQUE_WINDOW: Range =
    Range { max: 365 * 24 * 60 * 60 * 1_000, ..Range::ms("unique window in ms", 1) };
pub(crate) const JOB_DELAY: Range = Range::ms("delay in ms", 0);
pub(crate) const EXPIRY: Range = Range::ms("expiry in ms", 0);
pub(crate) const DEADLINE: Range = Range::ms("deadline in ms", 0);
/// To the end of the year 9999: what calendars can print.
pub(crate) const TIME: Range = Range { max: 253_402_300_799_999, ..Range::ms("time in ms since 1970", 0) };
pub(crate) const EXTENSION: Range = Range::ms("extension in ms", 1);
/// A few numbers, not a report.
pub(crate) const PROGRESS: Range = Range::bytes("bytes of progress", 0, 4_096);
/// It stands beside its result.
pub(crate) const STEP_NAME: Range = Range::bytes("bytes of a step's name", 1, 128);
/// Whoever waits for its end reads what it left after it, and needs a while for that; a hundred years are as good as for ever.
pub(crate) const FLOW_KEEP: Range = Range::ms("time that a flow is kept in ms", 60_000);
/// As long: whoever waits reads why it failed.
pub(crate) const FLOW_KEEP_FAILED: Range = Range::ms("time that a failed flow is kept in ms", 60_000);
/// What an ack may overdraw a queue by (I9).
pub(crate) const FOLLOW_UPS: Range = Range::count("follow-up jobs", 0, 10_000);
/// An ack has to fit into one batch with everything that shares it.
pub(crate) const FOLLOW_UPS_BYTES: Range = Range::bytes("bytes of follow-up jobs", 0, 64 << 20);
/// A page is for a person, or one step of a program.
pub(crate) const PAGE: Range = Range::count("jobs on a page", 1, 1_000);
/// A question, not a data store: an order keeps its filter in the journal.
pub(crate) const FILTER_VALUES: Range = Range::count("values of one part of a filter", 0, 100);
/// As long as what it is compared with may be.
pub(crate) const FILTER_TEXT: Range = Range::bytes("bytes of a text in a filter", 0, LABEL_BYTES_MAX);
/// The greatest rate that means anything.
pub(crate) const RATE: Range = Range::count("jobs a second", 1, 1_000_000);

/// The longest label.
const LABEL_BYTES_MAX: u64 = 256;

/// The limits of what is kept of one sort of end.
#[derive(Debug)]
pub(crate) struct KeepRanges {
    pub(crate) age: Range,
    pub(crate) count: Range,
    pub(crate) bytes: Range,
}

macro_rules! keep {
    ($end:literal) => {
        KeepRanges {
            age: Range::ms(concat!("retention.", $end, ".age in ms"), 0),
            count: Range::count(concat!("retention.", $end, ".count_max"), 0, COUNT_MAX),
            bytes: Range::bytes(concat!("retention.", $end, ".bytes_max"), 0, BYTES_MAX),
        }
    };
}

pub(crate) const KEEP_DONE: KeepRanges = keep!("done");
pub(crate) const KEEP_DEAD: KeepRanges = keep!("dead");
pub(crate) const KEEP_DROPPED: KeepRanges = keep!("dropped");

impl Range {
    const fn count(field: &'static str, min: u64, max: u64) -> Self {
        Self { field, unit: Unit::Count, min, max }
    }

    const fn bytes(field: &'static str, min: u64, max: u64) -> Self {
        Self { field, unit: Unit::Bytes, min, max }
    }

    const fn ms(field: &'static str, min: u64) -> Self {
        Self { field, unit: Unit::Ms, min, max: DURATION_MS_MAX }
    }

    /// Whether a value is in it.
    pub(crate) const fn has(&self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }

    /// Refuses a value that is not in it.
    pub(crate) fn check(&self, value: u64) -> Result<(), OutOfRange> {
        let Self { field: what, min, max, .. } = *self;
        if self.has(value) { Ok(()) } else { Err(OutOfRange { what, value, min, max }) }
    }
}

/// Checks a time, which is so much later in this range, or one of the clock.
pub(crate) fn check_when(later: &Range, when: When) -> Result<(), OutOfRange> {
    match when {
        When::After(ms) => later.check(ms),
        When::At(time) => TIME.check(time.0),
    }
}

/// Checks what is set against its ranges.
pub(crate) fn in_range(what: &'static str, name: &str, values: &[(Range, u64)]) -> Result<(), ConfigError> {
    values.iter().try_for_each(|(range, value)| range.check(*value)).map_err(|refused| {
        let OutOfRange { what: field, value, min, max } = refused;
        ConfigError::Range { what, name: name.to_owned(), field, value, min, max }
    })
}
