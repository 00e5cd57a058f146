//! Who wants to be told of what: a notice leaves when what it tells of is remembered at its queue's level (I2).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::State;
use super::Decision;
use crate::attempt::Failure;
use crate::effect::{Effect, Notice, NoticeOf};
use crate::job::Body;

/// Tells that a live attempt of this job has failed, and what came of it. `counts`: the failure counts for the retry policy.
/// `body`: the job's, as far as the attempt had it, for where memory does not.
pub(crate) fn tell(
    state: &State,
    slot: Slot,
    what: NoticeOf,
    failure: &Failure,
    counts: bool,
    body: Option<Arc<Body>>,
    decision: &mut Decision,
) {
    let wanted = state.settings.notices;
    let is_wanted = match what {
        NoticeOf::Dead => wanted.dead,
        NoticeOf::Retry { .. } => wanted.retry,
    };
    if !is_wanted {
        return;
    }
    let live = &state.jobs[slot];
    let queue = &state.queue(live.queue).settings;
    let notice = Notice {
        what,
        id: live.id,
        kind: state.kinds[live.kind as usize].name.clone(),
        queue: queue.name.clone(),
        attempt: live.attempt(),
        failures: live.more().failures + u32::from(counts),
        failure: failure.clone(),
        created: live.created,
        body: live.body.clone().or(body),
    };
    decision.effects.push((Mark::from(queue.level), Effect::Notice(Box::new(notice))));
}
