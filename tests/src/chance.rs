//! Chance from a seed that is printed first, so that a red run can be repeated.

/// A small generator (`SplitMix64`).
pub struct Chance(u64);

impl Chance {
    /// From this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From the environment variable `WINDLASS_SEED`, or else this one.
    pub fn seed(otherwise: u64) -> u64 {
        std::env::var("WINDLASS_SEED").map_or(otherwise, |seed| seed.parse().expect("WINDLASS_SEED is a number"))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this bound.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A place in something of this length, which is not 0.
    pub const fn pick(&mut self, len: usize) -> usize {
        // Shorter than any pointer reaches.
        #[allow(clippy::cast_possible_truncation)]
        let place = self.below(len as u64) as usize;
        place
    }
}
