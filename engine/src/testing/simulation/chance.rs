//! All chance of a simulation, from one seed: `proptest`'s generator, whose algorithm is fixed by name.

use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// A source of chance that can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Chance(TestRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 on, below this; 0 where there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    pub(crate) fn permille(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }

    /// A time that is short more often than long, with this mean.
    pub(crate) fn around(&mut self, mean: Duration) -> Duration {
        // 53 bits make a fraction that is neither 0 nor more than 1.
        #[allow(clippy::cast_precision_loss)]
        let fraction = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64((-fraction.ln()).min(8.0))
    }
}
