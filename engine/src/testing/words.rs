//! Times and tables as a person reads them, for what a failing test prints.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// `1h 2m 3.5s`; nothing is rounded but what is below a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.0.as_secs(), self.0.subsec_millis());
        let (days, hours, minutes, seconds) = (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
        let mut text = String::new();
        for (count, unit) in [(days, "d "), (hours, "h "), (minutes, "m ")] {
            if count > 0 {
                let _ = write!(text, "{count}{unit}");
            }
        }
        if ms > 0 {
            let decimals = format!("{ms:03}");
            let _ = write!(text, "{seconds}.{}s", decimals.trim_end_matches('0'));
        } else if seconds > 0 || text.is_empty() {
            let _ = write!(text, "{seconds}s");
        }
        f.pad(text.trim_end())
    }
}

/// `1 job`, `2 jobs`.
pub(super) fn count(n: impl Into<u64>, what: &str) -> String {
    let n = n.into();
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_units_that_are_in_it() {
        let said = |ms| Time(Duration::from_millis(ms)).to_string();
        assert_eq!(
            [0, 1, 1_500, 60_000, 3_723_040, 90_000_000].map(said),
            ["0s", "0.001s", "1.5s", "1m", "1h 2m 3.04s", "1d 1h"]
        );
        assert_eq!(format!("{:>5}|", Time(Duration::from_secs(2))), "   2s|");
        assert_eq!((count(1_u64, "job"), count(2_u64, "job")), ("1 job".to_owned(), "2 jobs".to_owned()));
    }
}
