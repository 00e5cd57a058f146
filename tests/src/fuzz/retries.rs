//! Retry policies: whatever numbers they have, no delay is beyond its cap and its jitter, and none comes after the last
//! attempt.

use std::sync::Arc;

use uuid::Uuid;
use windlass_scheduler::job::JobId;
use windlass_scheduler::retry::{Backoff, RetryPolicy};

use super::input::Input;

/// A policy of the core, and the delay after some failures of a job.
pub(crate) fn policies(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (backoff, longest_ms) = backoff(&mut input);
    let attempts_max = u32::try_from(input.number()).unwrap_or(u32::MAX);
    let policy = RetryPolicy { backoff, attempts_max, jitter_percent: input.byte() };
    let id = JobId(Uuid::from_u128(u128::from(input.u64()) << 64 | u128::from(input.u64())));
    let some = u32::try_from(input.number()).unwrap_or(u32::MAX);
    for failures in [1, 2, 3, some, attempts_max.saturating_sub(1), attempts_max] {
        let exact_ms = policy.backoff.delay_ms(failures);
        assert!(exact_ms <= longest_ms, "{policy:?}: {exact_ms} ms after failure {failures}");
        let delay_ms = policy.delay_ms(failures, id);
        assert_eq!(delay_ms.is_some(), failures < attempts_max, "{policy:?} after failure {failures}");
        assert_eq!(delay_ms, policy.delay_ms(failures, id), "a replay gives another delay");
        let span = u128::from(exact_ms) * u128::from(policy.jitter_percent.min(100)) / 100;
        let around = u128::from(exact_ms) - span..=u128::from(exact_ms) + span;
        let is_near = |delay_ms: u64| around.contains(&u128::from(delay_ms));
        assert!(delay_ms.is_none_or(is_near), "{policy:?}: {delay_ms:?} after failure {failures}");
    }
}

/// With the longest delay that it may give.
fn backoff(input: &mut Input<'_>) -> (Backoff, u64) {
    let (first_ms, cap_ms) = (input.number(), input.number());
    match input.below(4) {
        0 => (Backoff::Fixed { delay_ms: first_ms }, first_ms),
        1 => (Backoff::Linear { first_ms, step_ms: input.number(), cap_ms }, cap_ms),
        2 => (Backoff::Exponential { first_ms, cap_ms }, cap_ms),
        _ => {
            let delays: Vec<_> = (0..input.below(5)).map(|_| input.number()).collect();
            let longest = delays.iter().copied().max().unwrap_or(0);
            (Backoff::List { delays_ms: Arc::from(delays) }, longest)
        }
    }
}
