//! Cron in time zones against an oracle that knows no cron library: it walks through three years minute by minute, and looks at
//! what the clocks of each zone show.
//!
//! The rule for days on which clocks are changed. Fixed times (one hour, one minute): in a gap they come at its end, in a repeated
//! hour once, the first time. All others go by what clocks show: nothing in a gap, everything in both of two like hours.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use windlass::{Schedule, ScheduleError};
use windlass_tests::script::step;

/// Europe, America with a half hour in its offset, half an hour of daylight saving, the southern half, a clock that goes back for
/// Ramadan, one that never changes, and one that is a quarter of an hour off.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Kathmandu",
];
const FROM: &str = "2025-01-01T00:00:00Z";
const UNTIL: &str = "2028-01-01T00:00:00Z";

/// A pattern, in words and as a question to a clock.
struct Pattern {
    words: &'static str,
    is_fixed: bool,
    matches: fn(DateTime) -> bool,
}

const fn pattern(words: &'static str, is_fixed: bool, matches: fn(DateTime) -> bool) -> Pattern {
    Pattern { words, is_fixed, matches }
}

fn is_weekday(at: DateTime) -> bool {
    (1..=5).contains(&at.weekday().to_monday_one_offset())
}

const PATTERNS: [Pattern; 9] = [
    pattern("30 2 * * *", true, |at| (at.hour(), at.minute()) == (2, 30)),
    pattern("0 2 * * *", true, |at| (at.hour(), at.minute()) == (2, 0)),
    pattern("15 1 * * *", true, |at| (at.hour(), at.minute()) == (1, 15)),
    pattern("0 3 * * 1-5", true, |at| (at.hour(), at.minute()) == (3, 0) && is_weekday(at)),
    pattern("0 0 1 * *", true, |at| (at.day(), at.hour(), at.minute()) == (1, 0, 0)),
    pattern("0 0 2 29 2 *", true, |at| (at.month(), at.day(), at.hour(), at.minute()) == (2, 29, 2, 0)),
    pattern("30 * * * *", false, |at| at.minute() == 30),
    pattern("*/20 1-3 * * *", false, |at| (1..=3).contains(&at.hour()) && at.minute() % 20 == 0),
    pattern("0 2,14 * * *", false, |at| matches!(at.hour(), 2 | 14) && at.minute() == 0),
];

fn minutes(from: DateTime, until: DateTime) -> impl Iterator<Item = DateTime> {
    let minute = jiff::SignedDuration::from_mins(1);
    std::iter::successors(Some(from), move |at| Some(at.saturating_add(minute))).take_while(move |at| *at < until)
}

/// What each pattern has in this zone.
fn oracle(zone: &TimeZone) -> Vec<BTreeSet<i64>> {
    let mut instants = vec![BTreeSet::new(); PATTERNS.len()];
    let (from, until): (Timestamp, Timestamp) = (FROM.parse().unwrap(), UNTIL.parse().unwrap());
    let mut before = zone.to_datetime(Timestamp::from_second(from.as_second() - 60).unwrap());
    for second in (from.as_second()..until.as_second()).step_by(60) {
        let at = Timestamp::from_second(second).unwrap();
        let shown = zone.to_datetime(at);
        let minute = jiff::SignedDuration::from_mins(1);
        let is_repeated = match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, .. } => zone.to_offset(at) != before,
            _ => false,
        };
        let skipped = minutes(before.saturating_add(minute), shown);
        let skipped: Vec<_> = if shown > before { skipped.collect() } else { Vec::new() };
        for (pattern, instants) in PATTERNS.iter().zip(&mut instants) {
            let is_shown = (pattern.matches)(shown) && !(pattern.is_fixed && is_repeated);
            let was_skipped = pattern.is_fixed && skipped.iter().any(|at| (pattern.matches)(*at));
            if is_shown || was_skipped {
                instants.insert(second);
            }
        }
        before = shown;
    }
    instants
}

fn time(text: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(text.parse::<Timestamp>().unwrap().as_second().unsigned_abs())
}

#[test]
fn every_instant_of_three_years_is_where_an_independent_oracle_has_it() {
    let mut changes = 0;
    for zone in ZONES {
        let expected = oracle(&TimeZone::get(zone).unwrap());
        for (pattern, expected) in PATTERNS.iter().zip(expected) {
            let schedule = Schedule::cron("a", pattern.words, &step("a")).zone(zone);
            let fires = schedule.upcoming(time(FROM) - Duration::from_secs(1), expected.len() + 1).unwrap();
            let seconds = |at: SystemTime| i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
            let until = seconds(time(UNTIL));
            let found: BTreeSet<_> = fires.iter().map(|fire| seconds(fire.at)).filter(|at| *at < until).collect();
            let wrong: Vec<_> = found.symmetric_difference(&expected).map(|at| Timestamp::from_second(*at)).collect();
            assert!(wrong.is_empty(), "`{}` in {zone}: {wrong:?}", pattern.words);
            changes += fires.iter().filter(|fire| fire.is_clock_change).count();
        }
    }
    assert!(changes > 100, "clocks were changed on days of {changes} instants only");
}

#[test]
fn a_day_on_which_clocks_are_changed_is_marked() {
    let night = Schedule::cron("a", "30 2 * * *", &step("a")).zone("Europe/Berlin");
    let fires = night.upcoming(time("2027-03-27T00:00:00Z"), 3).unwrap();
    let shown: Vec<_> = fires.iter().map(|fire| (fire.local.as_str(), fire.is_clock_change)).collect();
    assert_eq!(
        shown,
        [
            ("2027-03-27T02:30:00+01:00[Europe/Berlin]", false),
            ("2027-03-28T03:00:00+02:00[Europe/Berlin]", true),
            ("2027-03-29T02:30:00+02:00[Europe/Berlin]", false),
        ]
    );
}

#[test]
fn words_that_mean_nothing_are_refused_with_what_to_do() {
    let text = |schedule: Schedule| schedule.upcoming(UNIX_EPOCH, 1).unwrap_err().to_string();
    let wrong = text(Schedule::cron("nightly", "0 25 * * *", &step("a")));
    assert!(wrong.contains("`nightly`") && wrong.contains("`0 25 * * *`") && wrong.contains("five fields"), "{wrong}");
    let nowhere = Schedule::cron("nightly", "0 2 * * *", &step("a")).zone("Europe/Atlantis");
    assert!(matches!(nowhere.upcoming(UNIX_EPOCH, 1), Err(ScheduleError::Zone { .. })));
    assert!(text(nowhere).contains("`Europe/Atlantis`"));
}
