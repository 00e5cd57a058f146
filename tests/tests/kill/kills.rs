//! A hundred kills in one directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::image::Image;
use crate::oracle::Oracle;
use crate::pipe::Line;
use crate::process::{Heard, Life, Orders, PATIENCE};
use crate::say;
use crate::trap::{Moment, Trap};

const AT_RANDOM: &str = "at random";
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
const LIFE_MS_MAX: u64 = 150;

/// How many kills that count there were at each place.
type Tally = BTreeMap<&'static str, usize>;

/// Lets a child live, hears all that it says, and kills it. Tells where: a trap that no call comes to is a kill at
/// random.
fn one_life(oracle: &mut Oracle, orders: &Orders, chance: &mut Chance) -> &'static str {
    let mut life = orders.spawn();
    let guard = Instant::now() + PATIENCE;
    let mut until = None;
    let mut death = None;
    let mut is_due = false;
    loop {
        match life.hear(until.unwrap_or(guard)) {
            Heard::Line(line) => {
                oracle.hear(&line);
                if let (Line::Trap(_), Some(trap)) = (&line, orders.trap) {
                    death = Some(trap.place());
                    if trap.moment == Moment::During {
                        life.kill();
                    }
                }
            }
            Heard::Nothing if death.is_none() => {
                assert!(until.is_some(), "life {}: no attempt ran for {PATIENCE:?}", orders.life);
                // Its moment has come: now, or with the next line after which it is busy.
                (is_due, until) = (true, None);
            }
            Heard::Nothing => panic!("life {}: it survived its death", orders.life),
            Heard::TheEnd => break,
        }
        if is_due && death.is_none() && oracle.is_busy() {
            life.kill();
            death = Some(AT_RANDOM);
        }
        if until.is_none() && !is_due && death.is_none() && oracle.is_busy() {
            // A trap that no call comes to does not hold up the others for long.
            let ms = if orders.trap.is_some() { 2_000 } else { chance.below(LIFE_MS_MAX) };
            until = Some(Instant::now() + Duration::from_millis(ms));
        }
        if death.is_some() {
            until = Some(guard);
        }
    }
    let (rest, status) = life.bury();
    oracle.hear_all(&rest);
    death.unwrap_or_else(|| panic!("life {}: it ended by itself: {status}", orders.life))
}

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
        let place = one_life(oracle, &orders, &mut chance);
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

    oracle.life += 1;
    let life: Life = Orders::new("drain", oracle.life, directory.path()).spawn();
    let (lines, status) = life.bury();
    oracle.hear_all(&lines);
    assert!(lines.contains(&Line::Bye) && status.success(), "the last life ended with {status}");
    let image = Image::of(directory.path(), |_| true);
    oracle.judge(&image);
    let (done, dead) = oracle.verdict(&image);
    say(&format!("{done} jobs done, {dead} dead"));
    say(&format!("{:?}", oracle.seen));
}
