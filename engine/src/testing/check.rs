//! Runs a property of retries over random scripts and ids, and says how to see its failure again.
//!
//! Owns the runner. The seed comes from `WINDLASS_SEED`, or from nowhere; it is printed with the smallest life that fails.

use std::fmt::Display;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestCaseResult, TestError, TestRng, TestRunner};

use super::retries::Retries;
use super::script::Script;
use super::seed::{again, seed};
use super::strategies::{job_ids, scripts};
use super::timeline::Timeline;

/// Whether a property holds: a `bool`, nothing at all (it asserts, and panics), or a `Result`.
pub trait Holds {
    /// Why it does not.
    ///
    /// # Errors
    /// That.
    fn holds(self) -> Result<(), String>;
}

impl Holds for () {
    fn holds(self) -> Result<(), String> {
        Ok(())
    }
}

impl Holds for bool {
    fn holds(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it does not hold".to_owned()) }
    }
}

impl<E: Display> Holds for Result<(), E> {
    fn holds(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// Checks that a property holds for the life of each job that goes by this policy (or these [`Retries`]): 256 random ones, with
/// all that can happen in them. The property says so with a `bool` or a `Result`, or asserts.
///
/// ```
/// use windlass::testing;
/// use windlass::{MIN, RetryPolicy, SEC};
///
/// let policy = RetryPolicy::exponential(SEC).cap(MIN).attempts(5);
/// testing::check(&policy, |life| life.failures() <= 5);
/// ```
///
/// # Panics
/// Where it does not: with the smallest life that shows it, as a table, and the seed. `WINDLASS_SEED` in the environment brings
/// the same lives again, `PROPTEST_CASES` says how many.
#[track_caller]
pub fn check<V: Holds>(retries: impl Into<Retries>, property: impl Fn(&Timeline) -> V) {
    check_with(retries, scripts(), property);
}

/// As [`check`], with scripts of this strategy's.
///
/// ```
/// use windlass::testing::{self, strategies};
/// use windlass::{MIN, RetryPolicy, SEC};
///
/// let policy = RetryPolicy::exponential(SEC).cap(MIN).attempts(5);
/// testing::check_with(&policy, strategies::failure_scripts(), |life| life.attempts().len() <= 5);
/// ```
///
/// # Panics
/// As [`check`].
#[track_caller]
pub fn check_with<V: Holds>(
    retries: impl Into<Retries>,
    scripts: impl Strategy<Value = Script>,
    property: impl Fn(&Timeline) -> V,
) {
    let retries = retries.into();
    if let Err(failure) = falsify(&retries, scripts, &property, seed()) {
        panic!("{failure}");
    }
}

/// Looks for a life for which it does not hold: what to tell of it.
fn falsify<V: Holds>(
    retries: &Retries,
    scripts: impl Strategy<Value = Script>,
    property: &impl Fn(&Timeline) -> V,
    seed: u64,
) -> Result<(), String> {
    // The seed is printed, and a file of failures would be one more place to look.
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng(seed));
    let life = |(id, script): &(_, Script)| retries.clone().id(*id).timeline(script);
    let outcome = runner.run(&(job_ids(), scripts), |case| judge(property, &life(&case)));
    let (reason, case) = match outcome {
        Ok(()) => return Ok(()),
        Err(TestError::Fail(reason, case)) => (reason, case),
        Err(TestError::Abort(reason)) => return Err(format!("the property could not be checked: {reason}")),
    };
    let (script, life) = (&case.1, life(&case));
    Err(format!(
        "a property of retries does not hold: {reason}\n\n{life}\n\nscript: {script}\nseed: {seed}; see it again with\n    {}\n",
        again(seed)
    ))
}

fn judge<V: Holds>(property: &impl Fn(&Timeline) -> V, life: &Timeline) -> TestCaseResult {
    property(life).holds().map_err(TestCaseError::fail)
}

/// The random numbers of a seed.
fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    for (byte, seed) in bytes.iter_mut().zip(seed.to_le_bytes().iter().cycle()) {
        *byte = *seed;
    }
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{RetryPolicy, SEC};

    #[test]
    fn a_failure_is_shrunk_and_tells_its_seed_and_its_life() {
        let retries = Retries::new(RetryPolicy::fixed(SEC).attempts(9).jitter_percent(0));
        let told = |seed| falsify(&retries, scripts(), &|life: &Timeline| life.failures() < 3, seed).unwrap_err();
        let text = told(7);
        for part in ["does not hold", "script: error, error, error, success ever after", "WINDLASS_SEED=7 cargo test"] {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
        assert_eq!(text, told(7), "a seed brings the same failure");
    }

    #[test]
    fn a_panic_and_an_error_are_told_as_well() {
        let retries = Retries::new(RetryPolicy::never());
        let asserts = |life: &Timeline| assert!(!life.is_dead(), "one failure was too many");
        let text = falsify(&retries, scripts(), &asserts, 1).unwrap_err();
        assert!(text.contains("one failure was too many"), "{text}");
        let errs = |_: &Timeline| Err::<(), _>("as it says");
        assert!(falsify(&retries, scripts(), &errs, 1).unwrap_err().contains("as it says"));
        assert_eq!(falsify(&retries, scripts(), &|_: &Timeline| (), 1), Ok(()));
    }
}
