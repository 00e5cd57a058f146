//! How many games the models play, and which.

use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// So many games of a model, or `WINDLASS_MODEL_CASES`: the same ones each time, so that who changes something is told of that alone. Others
/// are played with `WINDLASS_MODEL_SEED`, a number or `random`: see `make hunt`. What fails once belongs into a script, not into a file of seeds.
pub(crate) fn games(cases: u32, seed: u64) -> ProptestConfig {
    let said = |name| std::env::var(name).ok();
    let cases = said("WINDLASS_MODEL_CASES").map_or(cases, |cases| cases.parse().expect("a number of games"));
    let rng_seed = match said("WINDLASS_MODEL_SEED") {
        None => RngSeed::Fixed(seed),
        Some(seed) if seed == "random" => RngSeed::Random,
        Some(seed) => RngSeed::Fixed(seed.parse().expect("a number, or `random`")),
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}
