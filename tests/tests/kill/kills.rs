//! A hundred kills in one directory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use windlass_tests::chance::Chance;
use windlass_tests::kill::image::Image;
use windlass_tests::kill::lives::{AT_RANDOM, drained, one_life};
use windlass_tests::kill::oracle::Oracle;
use windlass_tests::kill::process::Orders;
use windlass_tests::kill::say;
use windlass_tests::kill::trap::Trap;

/// Where the process dies by itself, between two instructions of ours: nothing of the call was done, or all of it and
/// nobody was told. The parent's kills, also those inside a call, are some microseconds late and hit what they hit.
const FAILPOINTS: [&str; 4] = ["append-before", "append-after", "sync-before", "sync-after"];
/// The kills that there have to be at each place, with attempts running and jobs waiting.
const PLAN: [(&str, usize); 9] = [
    (FAILPOINTS[0], 10),
    (FAILPOINTS[1], 10),
    (FAILPOINTS[2], 10),
    (FAILPOINTS[3], 10),
    ("append-during", 3),
    ("sync-during", 3),
    ("watermark-before", 4),
    ("watermark-after", 4),
    (AT_RANDOM, 54),
];
/// Lives that may be spent on them.
const LIVES_MAX: u16 = 260;
/// How long a life goes on after it is busy.
const LIFE_MS: Range<u64> = 0..150;

/// How many kills that count there were at each place.
type Tally = BTreeMap<&'static str, usize>;

/// The place that is furthest behind the plan; `None` when the plan is carried out.
fn furthest_behind(tally: &Tally) -> Option<&'static str> {
    let made = |place: &str| tally.get(place).copied().unwrap_or(0);
    let open = PLAN.into_iter().filter(|(place, wanted)| made(place) < *wanted);
    open.min_by_key(|(place, wanted)| made(place) * 1_000 / wanted).map(|(place, _)| place)
}

/// Kills until the plan is carried out.
fn kill(oracle: &mut Oracle, directory: &Path, seed: u64) -> Tally {
    let mut chance = Chance::new(seed);
    let mut idle = 0;
    let mut tally = Tally::new();
    while let Some(place) = furthest_behind(&tally) {
        oracle.life += 1;
        assert!(oracle.life <= LIVES_MAX, "too few lives were busy: {tally:?}, {idle} idle");
        let mut orders = Orders::new("work", oracle.life, directory);
        orders.seed = chance.next();
        orders.trap = Trap::at(place, 1 + chance.below(60));
        let place = one_life(oracle, &orders, &mut chance, LIFE_MS);
        let was_busy = oracle.is_busy();
        let image = Image::of(directory, |no| !oracle.is_over(no));
        let (open, waiting) = (image.open().count(), image.live.values().filter(|live| live.open.is_none()).count());
        oracle.judge(&image);
        if !was_busy || open == 0 || waiting == 0 {
            idle += 1;
        } else {
            *tally.entry(place).or_insert(0) += 1;
        }
    }
    say(&format!("{} lives, {idle} of them killed with nothing running or waiting, and not counted", oracle.life));
    tally
}

/// I11: accepted = live + retained + purged + quarantined, counted from outside after every kill. I2: what was told stands
/// in the journal, each start too. I4: no two attempts of a job at a time, no number used twice.
#[test]
fn nothing_is_lost_and_nothing_is_invented_by_a_hundred_kills_in_one_directory() {
    let seed = Chance::seed(20_261_123);
    say(&format!("a hundred kills: seed {seed}"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut oracle = Oracle::default();
    let began = Instant::now();
    let tally = kill(&mut oracle, directory.path(), seed);
    let took = began.elapsed();
    let kills: usize = tally.values().sum();
    let at_failpoints: usize = FAILPOINTS.iter().map(|place| tally.get(place).copied().unwrap_or(0)).sum();
    say(&format!("{kills} kills in {took:.1?}, {at_failpoints} of them at failpoints of append and sync: {tally:?}"));
    assert!(kills >= 100, "a hundred kills are {kills}");
    assert!(at_failpoints * 3 >= kills, "less than a third at failpoints of append and sync: {tally:?}");
    assert!(PLAN.iter().all(|(place, wanted)| tally.get(place) >= Some(wanted)), "less than planned: {tally:?}");

    let (done, dead) = drained(&mut oracle, directory.path());
    say(&format!("{done} jobs done, {dead} dead"));
    say(&format!("{:?}", oracle.seen));
}
