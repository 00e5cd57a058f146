//! The simulation: the real engine on a virtual clock, every setting, call, failure and death of it drawn from one seed.
//!
//! Owns what is drawn. The lives, the disk and the judge are those of [`windlass::testing`], which users have, too. A seed that
//! fails is printed first, with the history of the jobs that broke a law; it belongs into the list of the test target.

mod flows;
mod handler;
mod settings;
mod traffic;

use windlass::testing::{History, Seen, Simulation};

use self::settings::Settings;
use crate::until::Until;

/// What a number of seeds has seen.
#[derive(Clone, Debug, Default)]
pub struct Seeds {
    /// Seeds that were played.
    pub seeds: u64,
    /// Calls of the program, and starts and ends of attempts.
    pub operations: u64,
    /// Jobs whose acceptance was acknowledged.
    pub acknowledged: u64,
    /// Of these, jobs that are missing.
    pub missing: u64,
    /// Attempts that ran again for no other reason than that a process died.
    pub run_again: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Jobs that a loss of power took, as their level says.
    pub lost_to_power: u64,
    /// The first seed that broke a law, and how.
    pub failure: Option<(u64, String)>,
}

/// Plays one seed.
pub fn play(seed: u64) -> History {
    let settings = Settings::of(seed);
    let simulation = Simulation::new(seed).faults(settings.faults);
    let town = traffic::Town::new(&settings);
    simulation.run(settings.time, |builder| settings.service(builder), async |life| town.live(&life).await)
}

/// Whether a seed repeats itself exactly: blocking handlers have threads, and threads race.
pub fn is_repeatable(seed: u64) -> bool {
    Settings::of(seed).press_every.is_none()
}

/// Plays one seed after the other, from this one on, until the time is over or a law is broken.
pub fn torture(first: u64, until: Until) -> Seeds {
    let mut seeds = Seeds::default();
    while !until.is_over() && seeds.failure.is_none() {
        seeds.play(first.wrapping_add(seeds.seeds));
    }
    seeds
}

impl Seeds {
    /// Plays one more.
    pub fn play(&mut self, seed: u64) {
        let history = play(seed);
        self.add(history.seen(), history.events().len() as u64);
        if let Err(unlawful) = history.check() {
            self.failure.get_or_insert_with(|| (seed, format!("{unlawful}\n{:?}", Settings::of(seed))));
        }
    }

    /// These as well.
    pub fn add_all(&mut self, more: Self) {
        self.seeds += more.seeds;
        self.operations += more.operations;
        self.acknowledged += more.acknowledged;
        self.missing += more.missing;
        self.run_again += more.run_again;
        self.deaths += more.deaths;
        self.lost_to_power += more.lost_to_power;
        self.failure = self.failure.take().or(more.failure);
    }

    fn add(&mut self, seen: Seen, events: u64) {
        self.seeds += 1;
        self.operations += events;
        self.acknowledged += seen.accepted;
        self.missing += seen.missing;
        self.run_again += seen.run_again;
        self.deaths += seen.deaths;
        self.lost_to_power += seen.lost_to_power;
    }
}
