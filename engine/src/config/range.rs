//! How far numbers may go: one place for all of them, whether they come from code or from a file.
//!
//! Owns the limits and the comparison with them. Never says where a number stood: whoever read it knows.

use crate::error::ConfigError;

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
pub(crate) const ABORT_AFTER: Range = Range::ms("abort_after in ms", 0);
pub(crate) const DISK_FREE: Range = Range::bytes("disk_free_bytes_min", 0, BYTES_MAX);
pub(crate) const DELAY: Range = Range::ms("retry delay in ms", 0);
pub(crate) const ATTEMPTS: Range = Range::count("retry attempts", 1, COUNT_MAX);
pub(crate) const JITTER: Range = Range::count("retry jitter_percent", 0, 100);

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
}

/// Checks what is set against its ranges.
pub(super) fn in_range(what: &'static str, name: &str, values: &[(Range, u64)]) -> Result<(), ConfigError> {
    match values.iter().find(|(range, value)| !range.has(*value)) {
        None => Ok(()),
        Some((range, value)) => Err(ConfigError::Range {
            what,
            name: name.to_owned(),
            field: range.field,
            value: *value,
            min: range.min,
            max: range.max,
        }),
    }
}
