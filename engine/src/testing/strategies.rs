//! Policies, scripts and ids for `proptest`: random ones, which shrink to short scripts and plain policies.
//!
//! ```
//! use proptest::prelude::*;
//! use windlass::testing::{strategies, timeline};
//! # use windlass::{RetryPolicy, SEC, HOUR};
//! # fn policy() -> RetryPolicy { RetryPolicy::exponential(SEC).attempts(5) }
//!
//! proptest! {
//! # /*
//!     #[test]
//! # */
//!     fn five_failures_are_the_end_whatever_else_happens(script in strategies::scripts()) {
//!         let life = timeline(&policy(), script);
//!         prop_assert!(life.failures() <= 5, "{life}");
//!     }
//! }
//! # fn main() { five_failures_are_the_end_whatever_else_happens() }
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use windlass_scheduler::job::JobId;

use super::script::{Play, Script};
use crate::config::{HOUR, RetryPolicy, ms};

/// Plays of a script before it goes on for ever in one way.
const PLAYS_MAX: usize = 12;
/// The longest delay that a handler of a random script asks for.
const ASKED_MS_MAX: u64 = 3_600_000;

/// All sorts of policies that an engine takes, with up to 12 attempts and delays up to an hour.
pub fn policies() -> impl Strategy<Value = RetryPolicy> {
    policies_within(1..=12, Duration::ZERO..=HOUR)
}

/// All sorts of policies with so many attempts, and with delays (before jitter) and caps in this range.
///
/// # Panics
/// Where a range is empty, or no engine would take what is in it.
pub fn policies_within(
    attempts: RangeInclusive<u32>,
    delays: RangeInclusive<Duration>,
) -> impl Strategy<Value = RetryPolicy> {
    let (min, max) = (ms(*delays.start()), ms(*delays.end()));
    assert!(!attempts.is_empty() && *attempts.start() > 0, "a policy has at least one attempt, not {attempts:?}");
    assert!(min <= max, "no delay is in {delays:?}");
    let delay = || (min..=max).prop_map(Duration::from_millis);
    // Sorted, so that no first delay is over its cap.
    let pair = (min..=max, min..=max).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let pair = pair.prop_map(|(first, cap)| (Duration::from_millis(first), Duration::from_millis(cap)));
    let step = (0..=max - min).prop_map(Duration::from_millis);
    let backoff = prop_oneof![
        delay().prop_map(RetryPolicy::fixed),
        vec(delay(), 1..6).prop_map(|delays| RetryPolicy::list(&delays)),
        (pair.clone(), step).prop_map(|((first, cap), step)| RetryPolicy::linear(first, step).cap(cap)),
        pair.prop_map(|(first, cap)| RetryPolicy::exponential(first).cap(cap)),
    ];
    (backoff, attempts, 0..=100_u8)
        .prop_map(|(policy, attempts, percent)| policy.attempts(attempts).jitter_percent(percent))
}

/// Every way in which one attempt can go.
pub fn plays() -> impl Strategy<Value = Play> {
    let time = || (0..=ASKED_MS_MAX).prop_map(Duration::from_millis);
    prop_oneof![
        8 => failures(),
        1 => Just(Play::Permanent),
        2 => time().prop_map(Play::Snooze),
        1 => Just(Play::Lost),
        1 => Just(Play::Succeed),
        1 => Just(Play::Cancel),
    ]
}

/// The ways of failing that leave it to the rules whether the job is tried again.
fn failures() -> impl Strategy<Value = Play> {
    let time = (0..=ASKED_MS_MAX).prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(Play::Fail),
        1 => Just(Play::Panic),
        1 => Just(Play::TimeOut),
        2 => time.prop_map(Play::RetryAfter),
    ]
}

/// Scripts of all that can happen, up to 12 attempts; after them the job succeeds, or fails for ever.
pub fn scripts() -> impl Strategy<Value = Script> {
    scripts_of(plays())
}

/// Scripts of failures that are tried again, up to 12; after them the job succeeds, or fails for ever.
pub fn failure_scripts() -> impl Strategy<Value = Script> {
    scripts_of(failures())
}

/// Scripts of up to 12 of these plays; after them the job succeeds, or fails for ever.
pub fn scripts_of(plays: impl Strategy<Value = Play>) -> impl Strategy<Value = Script> {
    let then = prop_oneof![Just(Play::Succeed), Just(Play::Fail)];
    (vec(plays, 0..=PLAYS_MAX), then).prop_map(|(plays, then)| Script::from(plays).then(then))
}

/// Ids of jobs, from which jitter comes.
pub fn job_ids() -> impl Strategy<Value = JobId> {
    any::<u128>().prop_map(|id| JobId(uuid::Uuid::from_u128(id)))
}
