//! The lives of children in one directory: how each ends, and the last one, in which everything comes to its end.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::kill::image::Image;
use crate::kill::oracle::Oracle;
use crate::kill::pipe::Line;
use crate::kill::process::{Heard, Orders, PATIENCE};
use crate::kill::trap::Moment;

/// The place of a kill that the clock chose.
pub const AT_RANDOM: &str = "at random";

/// How long a life that hands in nothing may wait for something to do.
const IDLE: Duration = Duration::from_secs(2);

/// Lets a child work, for so long after it is busy, hears all that it says, and kills it. Tells where: a trap that no call comes to is a kill at
/// random.
pub fn one_life(oracle: &mut Oracle, orders: &Orders, chance: &mut Chance, life_ms: Range<u64>) -> &'static str {
    let mut life = orders.spawn();
    // One that hands in nothing may find that all is done, or waits in a queue that is paused.
    let hands_in = orders.role == "work";
    let guard = Instant::now() + if hands_in { PATIENCE } else { IDLE };
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
                if until.is_some() {
                    // Its moment has come: now, or with the next line after which it is busy.
                    (is_due, until) = (true, None);
                } else {
                    assert!(!hands_in, "life {}: no attempt ran for {PATIENCE:?}", orders.life);
                    life.kill();
                    death = Some(AT_RANDOM);
                }
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
            let ms =
                if orders.trap.is_some() { 2_000 } else { life_ms.start + chance.below(life_ms.end - life_ms.start) };
            until = Some(Instant::now() + Duration::from_millis(ms));
        }
        if death.is_some() {
            until = Some(Instant::now() + PATIENCE);
        }
    }
    let (rest, status) = life.bury();
    oracle.hear_all(&rest);
    death.unwrap_or_else(|| panic!("life {}: it ended by itself: {status}", orders.life))
}

/// The life that ends everything, and its judgement: how many jobs are done and dead.
pub fn drained(oracle: &mut Oracle, directory: &Path) -> (usize, usize) {
    oracle.life += 1;
    let (lines, status) = Orders::new("drain", oracle.life, directory).spawn().bury();
    oracle.hear_all(&lines);
    assert!(lines.contains(&Line::Bye) && status.success(), "the last life ended with {status}");
    let image = Image::of(directory, |_| true);
    oracle.judge(&image);
    oracle.verdict(&image)
}
