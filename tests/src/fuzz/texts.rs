//! Texts that come from outside: ids, cursors, names, cron patterns. Any text is taken or refused, and what is taken is written as
//! something that is taken as the same.

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use windlass::{Cursor, JobId, Name, OrderId, Schedule};

use crate::script::step;

/// The text as each of them.
pub(crate) fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    comes_back::<JobId>(text);
    comes_back::<OrderId>(text);
    comes_back::<Cursor>(text);
    fires_later_and_later(text);
    if Name::is_valid(text) {
        assert_eq!(Name::from(text).as_str(), text);
        assert!(text.len() <= Name::BYTES_MAX);
    }
}

/// As a cron pattern, and as a time zone.
fn fires_later_and_later(text: &str) {
    let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for schedule in [
        Schedule::cron("a", text, &step("a")).zone("Europe/Berlin"),
        Schedule::cron("a", "@hourly", &step("a")).zone(text),
    ] {
        match schedule.upcoming(start, 3) {
            Ok(fires) => {
                assert!(fires.iter().all(|fire| fire.at > start) && fires.is_sorted_by(|one, next| one.at < next.at));
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{text:?} is refused without a word"),
        }
    }
}

fn comes_back<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            assert!(written.parse::<T>().is_ok_and(|again| again == value), "{text:?} is written as {written:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "{text:?} is refused without a word"),
    }
}
