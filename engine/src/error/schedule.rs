//! What can be wrong with a schedule.

use std::sync::Arc;

use windlass_scheduler::refusal::Refusal;

use super::{ControlError, EnqueueError, OutOfRange};

/// Why a schedule cannot be. Nothing has changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A name that keys cannot carry.
    #[error("schedule name `{name}`: 1 to {bytes_max} letters, digits and `-_.:/` are allowed")]
    Name {
        /// The name.
        name: String,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
    /// The same schedule twice.
    #[error("schedule `{0}` is defined twice: give one of them another name")]
    Twice(String),
    /// Words that are no cron pattern.
    #[error(
        "schedule `{schedule}`: `{pattern}` is no cron pattern ({reason}): it takes five fields (minute, hour, day of month, \
         month, day of week), or six with seconds first"
    )]
    Pattern {
        /// The schedule.
        schedule: String,
        /// Its pattern.
        pattern: String,
        /// Why it is none.
        reason: String,
    },
    /// A name that is no time zone's.
    #[error(
        "schedule `{schedule}`: there is no time zone `{zone}`: take a name from the IANA list, like `Europe/Berlin`"
    )]
    Zone {
        /// The schedule.
        schedule: String,
        /// The name.
        zone: String,
    },
    /// A pattern without an instant.
    #[error("schedule `{schedule}`: `{pattern}` in `{zone}` never comes: look at its days and months")]
    Never {
        /// The schedule.
        schedule: String,
        /// Its pattern.
        pattern: String,
        /// Its zone.
        zone: String,
    },
    /// A number out of its range.
    #[error("schedule `{schedule}`: {error}")]
    Range {
        /// The schedule.
        schedule: String,
        /// The number.
        error: OutOfRange,
    },
    /// An option that a job of a schedule cannot have.
    #[error("schedule `{schedule}`: its jobs cannot have one {option}, for they are many: leave it out")]
    Option {
        /// The schedule.
        schedule: String,
        /// The option.
        option: &'static str,
    },
    /// Its job cannot be.
    #[error("schedule `{schedule}`: {error}")]
    Job {
        /// The schedule.
        schedule: String,
        /// Why.
        error: Arc<EnqueueError>,
    },
    /// Its jobs would be refused.
    #[error("schedule `{schedule}`: {refusal}")]
    Refused {
        /// The schedule.
        schedule: String,
        /// Why.
        refusal: Refusal,
    },
    /// The engine said no, or does not answer.
    #[error("schedule `{schedule}`: {error}")]
    Control {
        /// The schedule.
        schedule: String,
        /// What it said.
        error: Arc<ControlError>,
    },
}
