//! Who is told that a breaker opens or closes: the operator, at once; nothing of it is remembered.

use alloc::boxed::Box;

use super::super::outbox::Mark;
use super::super::state::{Live, State};
use super::Decision;
use crate::breaker::{Circuit, Guard, Heard};
use crate::effect::Effect;
use crate::lease::LeaseToken;
use crate::limit::LimitOf;
use crate::time::{Mono, Now};

/// Whether a job may have a breaker over it.
pub(crate) fn are_there(state: &State, live: &Live) -> bool {
    let queue = state.queue(live.queue);
    queue.guard.is_some() || !queue.shares.is_empty() || !state.lines.tenants[live.tenant].limiters.is_empty()
}

/// Tells of the breakers that open or close by how an attempt of this job ends.
pub(crate) fn tell(
    state: &State,
    live: &Live,
    token: LeaseToken,
    heard: Option<Heard>,
    now: Now,
    decision: &mut Decision,
) {
    let queue = state.queue(live.queue);
    let news = |guard: &Option<Box<Guard>>| moved(guard.as_deref()?, token, heard, now.mono);
    let mut tell = |of, circuit| decision.effects.push((Mark::Sealed, Effect::Tripped { of, circuit }));
    if let Some(circuit) = news(&queue.guard) {
        tell(LimitOf::Queue(queue.settings.name.clone()), circuit);
    }
    for place in &queue.shares {
        let shared = &state.limits.shared[*place];
        if let Some(circuit) = news(&shared.limiter.guard) {
            tell(LimitOf::Shared(shared.settings.name.clone()), circuit);
        }
    }
    for slot in &state.lines.tenants[live.tenant].limiters {
        let of = &state.limits.keys.all[*slot];
        if let Some(circuit) = news(&of.limiter.guard) {
            tell(state.of_key(of.scope, &of.key), circuit);
        }
    }
}

/// Where a breaker stands then, if that is news.
fn moved(guard: &Guard, token: LeaseToken, heard: Option<Heard>, now: Mono) -> Option<Circuit> {
    let before = guard.circuit(now);
    if matches!(before, Circuit::Closed { .. }) && heard != Some(Heard::Failure) {
        return None;
    }
    let mut after = guard.clone();
    after.ended(token, heard, now);
    let circuit = after.circuit(now);
    let is_news = match circuit {
        Circuit::Closed { .. } => !matches!(before, Circuit::Closed { .. }),
        Circuit::Open { .. } => !matches!(before, Circuit::Open { .. }),
        Circuit::HalfOpen { .. } => false,
    };
    is_news.then_some(circuit)
}
