//! The seed that a random test begins with: from the environment, so that a failure can be seen again.

use std::hash::{BuildHasher, Hasher};

/// The variable of the environment that says it.
pub(crate) const SEED: &str = "WINDLASS_SEED";

/// What the environment says (decimal, or hexadecimal with `0x`), or any.
///
/// # Panics
/// Where what the environment says is no number: a seed that is ignored shows another failure.
pub(crate) fn seed() -> u64 {
    let any = || std::hash::RandomState::new().build_hasher().finish();
    std::env::var(SEED).map_or_else(|_| any(), |text| parsed(&text))
}

fn parsed(text: &str) -> u64 {
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    number.unwrap_or_else(|_| panic!("{SEED} is `{text}`: a number of 64 bits is wanted, in decimal or with 0x"))
}

/// How to see the failure of the current test again.
pub(crate) fn again(seed: u64) -> String {
    let name = std::thread::current().name().filter(|name| *name != "main").unwrap_or_default().to_owned();
    format!("{SEED}={seed} cargo test {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_in_both_ways() {
        assert_eq!([parsed("77"), parsed("0x4d")], [77, 77]);
        assert!(again(7).starts_with("WINDLASS_SEED=7 cargo test testing::seed"), "{}", again(7));
    }

    #[test]
    #[should_panic(expected = "WINDLASS_SEED is `abc`")]
    fn a_seed_that_is_none_is_told() {
        parsed("abc");
    }
}
