//! All layers that kill, cut and simulate, for as many minutes as one likes.
//!
//! Owns the division of the time, the sums, and what is said at the end. One thread kills processes: at each place in turn,
//! three reopenings each, then at random in lives of one to two seconds, all in one directory. The other one judges images of
//! power cuts, and simulates. The first thing that is wrong ends the run, and the seed and the way to see it again are said.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::images::{self, Budget};
use crate::kill::image::Image;
use crate::kill::lives::{drained, one_life};
use crate::kill::matrix;
use crate::kill::oracle::{Oracle, Seen};
use crate::kill::process::Orders;
use crate::simulation::{self, Seeds};
use crate::until::{self, Until};

/// Lives at random between two rounds of the matrix.
const LIVES: u32 = 25;
/// How long each of them works.
const LIFE_MS: std::ops::Range<u64> = 1_000..2_000;
/// Jobs that the oracle remembers before it begins anew, in another directory: more would slow it down.
const STORIES_MAX: usize = 120_000;
/// How long the layers of the second thread take turns.
const IMAGES: Duration = Duration::from_secs(30);
const SIMULATION: Duration = Duration::from_secs(15);
/// Each so-manieth image is drained by an engine.
const DRAIN: u64 = 40;

/// What the killing thread has seen.
#[derive(Clone, Debug, Default)]
pub struct Kills {
    /// Processes that were killed, or killed themselves.
    pub kills: u64,
    /// Directories, each drained at its end.
    pub directories: u64,
    /// Deaths by place.
    pub places: matrix::Tally,
    /// By all oracles.
    pub seen: Seen,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// By the killing thread.
    pub kills: Kills,
    /// Of images.
    pub images: images::Tally,
    /// Of the simulation.
    pub seeds: Seeds,
    /// What is wrong, and how to see it again.
    pub failures: Vec<String>,
}

impl Sum {
    /// Jobs that were accepted and are not there: there must be none.
    pub const fn missing(&self) -> u64 {
        self.kills.seen.missing + self.images.missing + self.seeds.missing
    }

    /// The last line.
    pub fn json(&self, minutes: f64) -> String {
        let (kills, images, seeds) = (&self.kills, &self.images, &self.seeds);
        let numbers = [
            ("operations", kills.seen.operations + images.operations + seeds.operations),
            ("acknowledged", kills.seen.acknowledged + images.acknowledged + seeds.acknowledged),
            ("missing", self.missing()),
            ("run_again", kills.seen.run_again + seeds.run_again),
            ("kills", kills.kills),
            ("images", images.images),
            ("seeds", seeds.seeds),
            ("refused", images.refused().values().sum()),
        ];
        let numbers = numbers.map(|(name, number)| format!(",\"{name}\":{number}")).concat();
        format!("{{\"minutes\":{minutes}{numbers}}}")
    }

    /// For people.
    pub fn report(&self) -> String {
        let (kills, images) = (&self.kills, &self.images);
        let mut lines = vec![
            format!("{} kills in {} directories, each drained at its end", kills.kills, kills.directories),
            format!("  by place: {:?}", kills.places),
            format!("  {:?}", kills.seen),
            format!(
                "{} images of {} runs with {} operations on files, {} drained by an engine; {} times a job had to be there",
                images.images, images.runs, images.operations, images.drained, images.demanded
            ),
        ];
        for (class, seen) in &images.classes {
            let images::OfClass { images, refused, behind, quarantined } = seen;
            let mut line = format!("  {class}: {images}");
            if !refused.is_empty() {
                let _ = write!(line, ", refused {refused:?}");
            }
            for (times, what) in
                [(behind, "lost what was synced since the last watermark"), (quarantined, "quarantined")]
            {
                if *times > 0 {
                    let _ = write!(line, ", {times} {what}");
                }
            }
            lines.push(line);
        }
        lines.push(format!("refusals by kind: {:?}", images.refused()));
        let Seeds { seeds, deaths, lost_to_power, .. } = &self.seeds;
        lines.push(format!(
            "{seeds} seeds simulated with {deaths} deaths; power took {lost_to_power} jobs that their level does not keep"
        ));
        lines.join("\n")
    }
}

/// Does it all.
pub fn run(seed: u64, until: Until) -> Sum {
    let mut sum = Sum::default();
    let mut chance = Chance::new(seed);
    let (killing, other) = (chance.next(), chance.next());
    let again = format!("WINDLASS_SEED={seed} make torture MINUTES=3");
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = Kills::default();
            let mut oracle = Oracle::default();
            let done = catch_unwind(AssertUnwindSafe(|| kill(killing, until, &mut oracle, &mut kills)));
            kills.seen.add(&oracle.seen);
            let failure = done.err().map(|panic| failure("kills", &text_of(panic.as_ref()), &again));
            (kills, failure)
        });
        let done = catch_unwind(AssertUnwindSafe(|| image(other, until, &mut sum)));
        if let Err(panic) = done {
            let failure = failure("images", &text_of(panic.as_ref()), &again);
            sum.failures.push(failure);
        }
        let (kills, failure) = killer.join().expect("what it does cannot panic");
        sum.kills = kills;
        sum.failures.extend(failure);
    });
    sum
}

/// Says it at once, and ends the others.
fn failure(layer: &str, what: &str, again: &str) -> String {
    until::stop();
    let text = format!("{layer}: WRONG. To see it again: {again}\n{what}");
    eprintln!("{text}");
    text
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

fn kill(seed: u64, until: Until, oracle: &mut Oracle, kills: &mut Kills) {
    let mut chance = Chance::new(seed);
    while !until.is_over() {
        kills.directories += 1;
        let directory = tempfile::tempdir().expect("a temporary directory");
        while !until.is_over() && oracle.stories() < STORIES_MAX {
            let mut places: Vec<_> = matrix::places().collect();
            while !places.is_empty() && !until.is_over() {
                let nth = usize::try_from(chance.below(places.len() as u64)).expect("a small number");
                let place = places.swap_remove(nth);
                kills.kills += matrix::die_at(oracle, directory.path(), place, &mut chance, &mut kills.places);
            }
            for _ in 0..LIVES {
                if until.is_over() {
                    break;
                }
                oracle.life += 1;
                let mut orders = Orders::new("work", oracle.life, directory.path());
                orders.seed = chance.next();
                let place = one_life(oracle, &orders, &mut chance, LIFE_MS);
                oracle.judge(&Image::of(directory.path(), |no| !oracle.is_over(no)));
                *kills.places.entry(place).or_default() += 1;
                kills.kills += 1;
            }
        }
        drained(oracle, directory.path());
        kills.seen.add(&std::mem::take(oracle).seen);
    }
}

fn image(seed: u64, until: Until, sum: &mut Sum) {
    let mut chance = Chance::new(seed);
    while !until.is_over() {
        let budget = Budget { until: until.or(Instant::now() + IMAGES), stride: 1, runs: u64::MAX, drain: DRAIN };
        if let Err(wrong) = images::torture(chance.next(), budget, &mut sum.images) {
            let again = format!("make torture REPEAT=\"{}\"", wrong.repeat);
            sum.failures.push(failure("images", &wrong.what, &again));
        }
        if until.is_over() {
            break;
        }
        let seeds = simulation::torture(chance.next(), until.or(Instant::now() + SIMULATION));
        if let Some((seed, wrong)) = &seeds.failure {
            let again =
                format!("WINDLASS_SEED={seed} WINDLASS_SEEDS=2 cargo test --package windlass-tests --test simulation");
            sum.failures.push(failure("simulation", wrong, &again));
        }
        sum.seeds.add_all(seeds);
    }
}
