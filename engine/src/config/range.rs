//! How far numbers may go: one place for all of them.

use crate::error::ConfigError;

/// More attempts at once than a process has any use for.
pub(super) const CONCURRENCY_MAX: u64 = 100_000;
/// So far that no clock overflows.
pub(super) const TIMEOUT_MS_MAX: u64 = u64::MAX / 4;

/// Checks settings: the field, its value, the least and the most allowed.
pub(super) fn in_range(
    what: &'static str,
    name: &str,
    ranges: &[(&'static str, u64, u64, u64)],
) -> Result<(), ConfigError> {
    match ranges.iter().find(|(_, value, min, max)| value < min || value > max) {
        None => Ok(()),
        Some(&(field, value, min, max)) => {
            Err(ConfigError::Range { what, name: name.to_owned(), field, value, min, max })
        }
    }
}
