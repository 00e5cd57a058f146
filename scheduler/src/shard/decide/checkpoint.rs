//! What an attempt leaves for the next one of its job: only the live lease may say it.

use bytes::Bytes;

use super::super::outbox::Mark;
use super::super::state::State;
use super::Decision;
use crate::attempt::CHECKPOINT_BYTES_MAX;
use crate::command::Request;
use crate::effect::Answer;
use crate::event::Event;
use crate::job::JobId;
use crate::lease::LeaseToken;
use crate::refusal::Refusal;

/// Remembers how far the attempt got. One whose time is over may say so, too, as long as its code runs: that is when it
/// matters most.
pub(crate) fn checkpoint(
    state: &State,
    request: Request,
    id: JobId,
    token: LeaseToken,
    bytes: Bytes,
) -> Result<Decision, Refusal> {
    let slot = state.running.get(&token).copied().ok_or(Refusal::StaleLease { id })?;
    if bytes.len() > CHECKPOINT_BYTES_MAX {
        return Err(Refusal::CheckpointTooLarge { id, bytes: bytes.len(), bytes_max: CHECKPOINT_BYTES_MAX });
    }
    let mark = Mark::from(state.queue(state.jobs[slot].queue).level());
    Ok(Decision::default().event(Event::Checkpointed { slot, bytes }).reply(mark, request, Ok(Answer::Ok)))
}
