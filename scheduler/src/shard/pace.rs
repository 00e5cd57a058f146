//! How much has happened lately: a ring of seconds on the monotonic clock, so that no set clock can bend a rate.
//!
//! Soft: not remembered, and empty after a start. Adding and asking cost the same, whatever happened.

use crate::time::Mono;

/// Seconds that are told of.
pub(crate) const SECONDS: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) struct Pace {
    counts: [u32; SECONDS as usize],
    /// The second that the ring stands at: its place is filled, the next one is the oldest.
    second: u64,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; SECONDS as usize], second: 0 }
    }

    pub(crate) fn add(&mut self, now: Mono) {
        self.turn(now);
        let place = &mut self.counts[(self.second % SECONDS) as usize];
        *place = place.saturating_add(1);
    }

    /// What was added in the last 60 seconds, the running one included.
    pub(crate) fn last_minute(&self, now: Mono) -> u64 {
        let mut ring = self.clone();
        ring.turn(now);
        ring.counts.iter().copied().map(u64::from).sum()
    }

    fn turn(&mut self, now: Mono) {
        let second = now.0 / 1_000;
        for passed in (self.second + 1..=second).rev().take(SECONDS as usize) {
            self.counts[(passed % SECONDS) as usize] = 0;
        }
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let mut pace = Pace::new();
        for second in [0, 0, 30, 59] {
            pace.add(Mono(second * 1_000));
        }
        let at = |second: u64| pace.last_minute(Mono(second * 1_000 + 999));
        assert_eq!([at(59), at(60), at(89), at(90), at(119), at(1_000_000)], [4, 2, 2, 1, 0, 0]);
    }
}
