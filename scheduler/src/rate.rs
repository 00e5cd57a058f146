//! A rate: so many starts in a time, and how many of them may come at once.
//!
//! Owns the arithmetic, which is the generic cell rate algorithm (ITU-T I.371), a token bucket that remembers one moment: when it will
//! be full. Never reads a clock, and rounds nothing: moments are counted in fractions of a millisecond that the rate divides.

use crate::time::Mono;

/// So many starts in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Starts in one period. At least 1.
    pub jobs: u32,
    /// The period in milliseconds. At least 1.
    pub period_ms: u64,
    /// Starts that may come at once, after a time without any. At least 1.
    pub burst: u32,
}

impl Rate {
    /// How long all of a burst takes to be there again, in 1/`jobs` ms.
    const fn span(self) -> u128 {
        self.burst as u128 * self.period_ms as u128
    }
}

/// How much of a rate is used up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) rate: Rate,
    /// When it will be full, in 1/`jobs` ms of the monotonic clock.
    full_at: u128,
}

impl Bucket {
    /// One that nothing is in.
    pub(crate) const fn empty(rate: Rate, now: Mono) -> Self {
        Self { rate, full_at: now.0 as u128 * rate.jobs as u128 + rate.span() }
    }

    fn at(&self, now: Mono) -> u128 {
        u128::from(now.0) * u128::from(self.rate.jobs)
    }

    /// Starts that are free now.
    pub(crate) fn free(&self, now: Mono) -> u64 {
        let now = self.at(now);
        let left = (now + self.rate.span()).saturating_sub(self.full_at.max(now)) / u128::from(self.rate.period_ms);
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Whether a job that counts for so many starts is free to start. One that counts for more than a burst goes once a burst is there,
    /// and what it takes beyond is owed: the long run is kept, and nobody waits for ever.
    pub(crate) fn has(&self, weight: u32, now: Mono) -> bool {
        self.free(now) >= u64::from(weight.min(self.rate.burst))
    }

    /// When a job that counts for so many starts is free to start, if it is not.
    pub(crate) fn next(&self, weight: u32) -> Mono {
        let wanted = u128::from(weight.min(self.rate.burst)) * u128::from(self.rate.period_ms);
        self.moment((self.full_at + wanted).saturating_sub(self.rate.span()))
    }

    /// When all of it is there again, as if nothing had started.
    pub(crate) fn full_at(&self) -> Mono {
        self.moment(self.full_at)
    }

    fn moment(&self, at: u128) -> Mono {
        Mono(u64::try_from(at.div_ceil(u128::from(self.rate.jobs))).unwrap_or(u64::MAX))
    }

    /// So many start.
    pub(crate) fn take(&mut self, starts: u64, now: Mono) {
        self.full_at = self.full_at.max(self.at(now)) + u128::from(starts) * u128::from(self.rate.period_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_one_after_the_other() {
        let rate = Rate { jobs: 3, period_ms: 1_000, burst: 2 };
        let mut bucket = Bucket::empty(rate, Mono(500));
        assert_eq!((bucket.free(Mono(500)), bucket.next(1)), (0, Mono(834)));
        assert_eq!((bucket.free(Mono(833)), bucket.free(Mono(834)), bucket.free(Mono(1_167))), (0, 1, 2));
        assert_eq!(bucket.free(Mono(900_000)), 2, "no more than a burst");
        bucket.take(2, Mono(900_000));
        assert_eq!((bucket.free(Mono(900_000)), bucket.next(1)), (0, Mono(900_334)));
        // Three in a second, exactly, however often that is.
        let (mut starts, mut now) = (0, Mono(900_000));
        while now < Mono(1_900_000) {
            now = bucket.next(1).max(now);
            starts += bucket.free(now);
            bucket.take(bucket.free(now), now);
        }
        assert_eq!(starts, 3_000);
    }

    #[test]
    fn the_ends_of_the_ranges_do_not_overflow() {
        let rate = Rate { jobs: u32::MAX, period_ms: u64::MAX, burst: u32::MAX };
        let mut bucket = Bucket::empty(rate, Mono(u64::MAX));
        bucket.take(1_000_000, Mono(u64::MAX));
        assert_eq!((bucket.free(Mono(u64::MAX)), bucket.next(1)), (0, Mono(u64::MAX)));
    }
}
