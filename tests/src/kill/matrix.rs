//! Each place at which a process can die, one after the other, and three reopenings after each.
//!
//! The places are before and after each call of the journal, and, for each change of state, the three points that a step
//! passes: handled and not written, written and not told, synced and not told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::kill::image::Image;
use crate::kill::lives::{AT_RANDOM, one_life};
use crate::kill::oracle::Oracle;
use crate::kill::process::{Heard, Orders, PATIENCE};
use crate::kill::trap::{Moment, Trap};

/// Lives that may be spent on one place.
const TRIES_MAX: u32 = 4;
/// Lives after each death.
pub const REOPENINGS: u64 = 3;

/// How many deaths there were at each place.
pub type Tally = BTreeMap<&'static str, u64>;

/// Places of the matrix: those where the process dies by itself.
pub fn places() -> impl Iterator<Item = &'static str> {
    Trap::places().filter(|place| Trap::at(place, 1).is_some_and(|trap| trap.moment != Moment::During))
}

/// The life that comes to this place.
fn role(place: &str) -> &'static str {
    match place.split('-').next() {
        Some("open" | "load" | "first") => "idle",
        Some("close") => "stop",
        _ => "work",
    }
}

/// Dies at this place, and comes back three times. Adds to the tally; gives how many processes were killed.
///
/// # Panics
/// The oracle finds something wrong.
pub fn die_at(
    oracle: &mut Oracle,
    directory: &Path,
    place: &'static str,
    chance: &mut Chance,
    tally: &mut Tally,
) -> u64 {
    let mut kills = 0;
    for _ in 0..TRIES_MAX {
        oracle.life += 1;
        let mut orders = Orders::new(role(place), oracle.life, directory);
        orders.seed = chance.next();
        orders.trap = Trap::at(place, 1 + chance.below(4));
        let died_at = one_life(oracle, &orders, chance, 0..100);
        oracle.judge(&Image::of(directory, |no| !oracle.is_over(no)));
        *tally.entry(died_at).or_default() += 1;
        kills += 1;
        if died_at != AT_RANDOM {
            break;
        }
    }
    for reopening in 0..REOPENINGS {
        oracle.life += 1;
        let role = if reopening == 1 { "work" } else { "idle" };
        let mut orders = Orders::new(role, oracle.life, directory);
        orders.seed = chance.next();
        cut_short(oracle, &orders, Duration::from_millis(2 + chance.below(60)));
        oracle.judge(&Image::of(directory, |no| !oracle.is_over(no)));
        kills += 1;
    }
    kills
}

/// A life that is killed after so long, wherever it is.
fn cut_short(oracle: &mut Oracle, orders: &Orders, after: Duration) {
    let mut life = orders.spawn();
    let until = Instant::now() + after;
    loop {
        match life.hear(until) {
            Heard::Line(line) => oracle.hear(&line),
            Heard::Nothing => break,
            Heard::TheEnd => panic!("life {}: it ended by itself, within {PATIENCE:?}", orders.life),
        }
    }
    life.kill();
    oracle.hear_all(&life.bury().0);
}
