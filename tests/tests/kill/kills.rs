//! A hundred kills in one directory.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::image::Image;
use crate::oracle::Oracle;
use crate::pipe::Line;
use crate::process::{Heard, Life, Orders, PATIENCE};
use crate::say;
use crate::trap::{Moment, Trap};

/// Kills that count: attempts ran and jobs waited.
const KILLS: usize = 102;
/// Lives that may be spent on them.
const LIVES_MAX: u16 = 250;
/// How long a life goes on after it is busy.
const LIFE_MS_MAX: u64 = 150;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    AtRandom,
    Inside(Trap),
}

/// Lets a child live, hears all that it says, and kills it.
fn one_life(oracle: &mut Oracle, orders: &Orders, chance: &mut Chance) -> Death {
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
                    death = Some(Death::Inside(trap));
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
            death = Some(Death::AtRandom);
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

/// Kills so often, and says how many kills of which sort there were.
fn kill(oracle: &mut Oracle, directory: &Path, seed: u64) -> (usize, usize) {
    let mut chance = Chance::new(seed);
    let (mut at_random, mut inside, mut idle) = (0, 0, 0);
    let mut places = std::collections::BTreeMap::new();
    while at_random + inside < KILLS {
        oracle.life += 1;
        assert!(oracle.life <= LIVES_MAX, "too few lives were busy: {at_random} + {inside} kills, {idle} idle");
        let mut orders = Orders::new("work", oracle.life, directory);
        orders.seed = chance.next();
        // One kill in three is for a trap, and the traps go round.
        if inside * 2 < at_random + 1 {
            orders.trap = Some(Trap::number(inside as u64, 1 + chance.below(60)));
        }
        let death = one_life(oracle, &orders, &mut chance);
        let was_busy = oracle.is_busy();
        let image = Image::of(directory, |no| !oracle.is_over(no));
        let (open, waiting) = (image.open().count(), image.live.values().filter(|live| live.open.is_none()).count());
        oracle.judge(&image);
        match death {
            _ if !was_busy || open == 0 || waiting == 0 => idle += 1,
            Death::AtRandom => at_random += 1,
            Death::Inside(trap) => {
                inside += 1;
                *places.entry(trap.place()).or_insert(0) += 1;
            }
        }
    }
    say(&format!("{} lives, {idle} of them killed with nothing running or waiting, and not counted", oracle.life));
    say(&format!("kills inside the journal: {places:?}"));
    (at_random, inside)
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
    let (at_random, inside) = kill(&mut oracle, directory.path(), seed);
    let took = began.elapsed();
    assert!(inside * 3 >= at_random + inside, "{at_random} at random, {inside} inside the journal");

    oracle.life += 1;
    let life: Life = Orders::new("drain", oracle.life, directory.path()).spawn();
    let (lines, status) = life.bury();
    oracle.hear_all(&lines);
    assert!(lines.contains(&Line::Bye) && status.success(), "the last life ended with {status}");
    let image = Image::of(directory.path(), |_| true);
    oracle.judge(&image);
    let (done, dead) = oracle.verdict(&image);
    say(&format!(
        "{at_random} kills at random and {inside} inside the journal in {took:.1?}; {done} jobs done, {dead} dead"
    ));
    say(&format!("{:?}", oracle.seen));
}
