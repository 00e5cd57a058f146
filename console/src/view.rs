//! What is shown: the engine's answers as JSON and pages have them. Times are RFC 3339 texts, durations milliseconds.
//!
//! Owns the shapes, and nothing of how they are got. What a shape has once been given stays: fields are only added.

pub(crate) mod dead;
pub(crate) mod events;
pub(crate) mod flows;
pub(crate) mod jobs;
pub(crate) mod limits;
pub(crate) mod overview;
pub(crate) mod pace;
pub(crate) mod schedules;

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use windlass::{Failure, FailureKind, Timestamp};

/// A time, which is shown in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub(crate) SystemTime);

impl From<SystemTime> for When {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl From<Timestamp> for When {
    fn from(at: Timestamp) -> Self {
        Self(UNIX_EPOCH.checked_add(Duration::from_millis(at.0)).unwrap_or(UNIX_EPOCH))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::try_from(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970, as histories and the engine have a time.
pub(crate) fn since_1970(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The word for a kind of failure.
pub(crate) fn failure_word(failure: &Failure) -> &'static str {
    match failure.kind {
        FailureKind::Error => "error",
        FailureKind::Permanent => "permanent error",
        FailureKind::Panic => "panic",
        FailureKind::TimedOut => "timeout",
        FailureKind::Decode => "unreadable payload",
        FailureKind::Lost => "process died",
    }
}
