//! Durations and sizes in words, and back: what is printed is read back as the same number.
//!
//! Reading is that of the crates `humantime` and `bytesize`, less what would change a number unseen: months and years (of
//! what length?), fractions of a byte, parts of a millisecond. Printing is our own, since theirs rounds, or speaks of months.

use std::fmt::Write;

use bytesize::ByteSize;

use crate::range::Unit;

/// What durations are printed in, the largest first, with their milliseconds.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// What sizes are printed in, the largest first.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// What no year agrees on. `M` is a month to the crate, and a minute to most who write it.
const VAGUE: [&str; 8] = ["M", "month", "months", "y", "yr", "yrs", "year", "years"];
/// A longer text, or number in it, is no duration, and could overflow the parser.
const DURATION_BYTES_MAX: usize = 64;
const DIGITS_MAX: usize = 12;

/// A number in words: `2h 30m`, `256 KiB`.
pub(super) fn say(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Count => value.to_string(),
        Unit::Ms => duration(value),
        Unit::Bytes => size(value),
    }
}

/// All units that are in it.
fn duration(ms: u64) -> String {
    let (mut text, mut left) = (String::new(), ms);
    for (unit, unit_ms) in DURATIONS {
        if left >= unit_ms {
            let _ = write!(text, "{}{}{unit}", if text.is_empty() { "" } else { " " }, left / unit_ms);
            left %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The largest unit that divides it.
fn size(bytes: u64) -> String {
    let (unit, unit_bytes) =
        SIZES.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)).unwrap_or(("B", 1));
    format!("{} {unit}", bytes / unit_bytes)
}

/// Milliseconds of a duration in words, or why it is none.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    if text.len() > DURATION_BYTES_MAX || digits > DIGITS_MAX {
        return Err(format!("more than {DURATION_BYTES_MAX} bytes or {DIGITS_MAX} digits"));
    }
    if let Some(unit) = text.split(|c: char| !c.is_alphabetic()).find(|word| VAGUE.contains(word)) {
        return Err(format!("`{unit}` has no fixed length, days have"));
    }
    // The crate takes a lone zero for a duration.
    if text.chars().all(|c| c.is_ascii_digit()) {
        return Err("without a unit".to_owned());
    }
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err("finer than a millisecond".to_owned());
    }
    u64::try_from(duration.as_millis()).map_err(|_| "too long".to_owned())
}

/// Bytes of a size in words, or why it is none.
pub(super) fn size_bytes(text: &str) -> Result<u64, String> {
    if text.contains('.') {
        return Err("a fraction, where whole numbers are exact".to_owned());
    }
    if text.trim().chars().all(|c| c.is_ascii_digit()) {
        return Err("without a unit".to_owned());
    }
    // What is too large for it is the largest of all, and out of every range.
    text.trim().parse::<ByteSize>().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_the_units_that_are_in_them_and_read_back() {
        let printed = [
            (0, "0s"),
            (1, "1ms"),
            (30_000, "30s"),
            (90_000, "1m 30s"),
            (9_000_000, "2h 30m"),
            (86_400_000, "1d"),
            (31 * 86_400_000, "31d"),
            (90_061_001, "1d 1h 1m 1s 1ms"),
        ];
        for (ms, text) in printed {
            assert_eq!((duration(ms).as_str(), duration_ms(text)), (text, Ok(ms)));
        }
        let longest = duration(u64::MAX);
        assert_eq!(duration_ms(&longest), Ok(u64::MAX), "{longest}");
    }

    #[test]
    fn other_ways_to_write_a_duration_are_read() {
        let read =
            [("90s", 90_000), ("1.5h", 5_400_000), ("2 hours 30 min", 9_000_000), ("1w", 604_800_000), ("0s", 0)];
        for (text, ms) in read {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_exact_duration_is_refused_and_nothing_overflows() {
        let reasons = [
            ("", "without a unit"),
            ("30", "without a unit"),
            ("0", "without a unit"),
            ("5M", "`M` has no fixed length"),
            ("1 year", "`year` has no fixed length"),
            ("30 parsecs", "unknown time unit"),
            ("-5s", "expected number"),
            ("1500us", "finer than a millisecond"),
            ("18446744073709551615s 1000ms", "more than"),
            ("999999999999w 999999999999w 999999999999w", "too long"),
        ];
        for (text, reason) in reasons {
            let refused = duration_ms(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn sizes_are_printed_in_the_largest_unit_that_divides_them_and_read_back() {
        let printed = [
            (0, "0 B"),
            (1_000, "1000 B"),
            (1_024, "1 KiB"),
            (262_144, "256 KiB"),
            (1_572_864, "1536 KiB"),
            (1 << 30, "1 GiB"),
            (1 << 60, "1048576 TiB"),
        ];
        for (bytes, text) in printed {
            assert_eq!((size(bytes).as_str(), size_bytes(text)), (text, Ok(bytes)));
        }
        assert_eq!(size_bytes("9007199254740993 B"), Ok(9_007_199_254_740_993), "f64 would round it");
    }

    #[test]
    fn other_ways_to_write_a_size_are_read_and_what_is_no_exact_size_is_refused() {
        assert_eq!([size_bytes("256KiB"), size_bytes("1 kb")], [Ok(262_144), Ok(1_000)]);
        for (text, reason) in
            [("1.5 MiB", "fraction"), ("64", "without a unit"), ("", "without a unit"), ("4 cups", "unit")]
        {
            let refused = size_bytes(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
