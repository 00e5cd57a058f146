//! The end of an attempt: what becomes of its job. One step, so that the acknowledgement, the result and the follow-ups
//! stand together or not at all.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::{Live, State};
use super::notice::tell;
use super::{Decision, end_job, retain, trips};
use crate::attempt::{AttemptLog, AttemptResult, Failure, FailureKind, Logged, Outcome, Output};
use crate::breaker::Heard;
use crate::bug;
use crate::command::Request;
use crate::effect::{Answer, Effect, NoticeOf};
use crate::event::Event;
use crate::job::{Body, JobId, NewJob};
use crate::lease::LeaseToken;
use crate::refusal::Refusal;
use crate::retry::Verdict;
use crate::settings::Level;
use crate::state::EndState;
use crate::time::Now;

/// What comes with an attempt's end.
pub(crate) struct With {
    /// The job's body, for notices, as far as the attempt had it.
    pub(crate) body: Option<Arc<Body>>,
    pub(crate) log: Option<Arc<AttemptLog>>,
}

/// What an attempt's end means for its job. A token that is not current changes nothing (I4).
pub(crate) fn end(state: &State, token: LeaseToken, outcome: Outcome, with: With, now: Now) -> Decision {
    let mut decision = Decision::default();
    let any = || state.running.values().min().filter(|_| bug!(TokenUnchecked));
    let Some(slot) = state.running.get(&token).or_else(any).copied() else {
        return decision.event(Event::StaleAck);
    };
    let live = &state.jobs[slot];
    if let Some(max) = suspects_after(state, slot) {
        decision.events.push(Event::SuspectsMaxSet { max });
    }
    if live.cancel_requested && !matches!(outcome, Outcome::Done { .. }) {
        let failure = failure_of(outcome);
        close(slot, failure.clone(), now, false, with.log, &mut decision);
        end_job(state, slot, EndState::Cancelled, now, Output::None, failure, &mut decision);
        return decision;
    }
    if trips::are_there(state, live) {
        trips::tell(state, live, token, heard(&outcome), now, &mut decision);
    }
    let verdict = state.policy_of(live).verdict(&outcome, live.more().failures, live.id);
    let logged = |result| with.log.clone().map(|log| Box::new(Logged { result, log }));
    match outcome {
        Outcome::Done { output, follow_ups: jobs } => {
            // A job that is forgotten at once needs no log.
            let retention = &state.queue(live.queue).settings.retention;
            let is_kept = |_: &_| retain::is_kept(live, retention, EndState::Done, &output, None);
            let logged = logged(AttemptResult::Succeeded).filter(is_kept);
            decision.events.push(Event::AttemptEnded { slot, now, heard: Some(Heard::Success), logged });
            end_job(state, slot, EndState::Done, now, output, None, &mut decision);
            follow(state, live, jobs, now, &mut decision);
        }
        Outcome::Failed { failure, .. } => failed(state, slot, failure, verdict, with, now, &mut decision),
        Outcome::Snoozed { delay_ms } => {
            let logged = logged(AttemptResult::Snoozed);
            decision.events.push(Event::AttemptEnded { slot, now, heard: None, logged });
            decision.events.push(match delay_ms {
                0 => Event::Returned { slot, arrival: state.next_arrival, now },
                _ => Event::Delayed { slot, delay_ms, now, is_retry: false },
            });
        }
        Outcome::Cancelled { reason } => {
            let failure = Failure::new(FailureKind::Error, reason);
            let logged = logged(AttemptResult::Cancelled);
            decision.events.push(Event::AttemptEnded { slot, now, heard: None, logged });
            end_job(state, slot, EndState::Cancelled, now, Output::None, Some(failure), &mut decision);
        }
        Outcome::Released => {
            let logged = logged(AttemptResult::Released);
            decision.events.push(Event::AttemptEnded { slot, now, heard: None, logged });
            decision.events.push(Event::Returned { slot, arrival: live.arrival, now });
        }
    }
    decision
}

/// What follows a success comes in with it. Memory alone would know of a job sooner than the journal of the success: such
/// jobs wait for that, or they would have run though a crash takes the success back.
fn follow(state: &State, parent: &Live, jobs: Vec<NewJob>, now: Now, decision: &mut Decision) {
    if jobs.is_empty() {
        return;
    }
    let level = state.queue(parent.queue).level();
    let is_too_soon = |job: &NewJob| {
        let to = state.queue_no(&job.queue).map(|no| state.queue(no).level());
        level != Level::Memory && to == Some(Level::Memory) && !bug!(FollowUpsEarly)
    };
    let (later, mut at_once): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_too_soon);
    // One with its parent's id is its parent, who has just ended.
    at_once.retain(|job| job.id != parent.id);
    if !at_once.is_empty() {
        decision.follow_ups = Some((at_once, now));
    }
    if !later.is_empty() {
        decision.effects.push((Mark::to_run(level), Effect::FollowUps(later)));
    }
}

fn failed(
    state: &State,
    slot: Slot,
    failure: Failure,
    verdict: Verdict,
    With { body, log }: With,
    now: Now,
    decision: &mut Decision,
) {
    let delay_ms = if let Verdict::Retried { delay_ms } = verdict { Some(delay_ms) } else { None };
    // No attempt would start any more: nobody has to wait for that to be told.
    let is_in_time = |delay_ms: &u64| state.jobs[slot].left_ms(now).is_none_or(|left_ms| *delay_ms < left_ms);
    let delay_ms = delay_ms.filter(is_in_time);
    let what = delay_ms.map_or(NoticeOf::Dead, |delay_ms| NoticeOf::Retry { delay_ms });
    tell(state, slot, what, &failure, true, body, decision);
    close(slot, Some(failure.clone()), now, true, log, decision);
    match delay_ms {
        Some(delay_ms) => decision.events.push(Event::Delayed { slot, delay_ms, now, is_retry: true }),
        None => end_job(state, slot, EndState::Dead, now, Output::None, Some(failure), decision),
    }
}

fn close(
    slot: Slot,
    failure: Option<Failure>,
    now: Now,
    counts: bool,
    log: Option<Arc<AttemptLog>>,
    decision: &mut Decision,
) {
    decision.events.push(if let Some(failure) = failure {
        let heard = heard_of(&failure).filter(|_| counts);
        Event::AttemptFailed { slot, failure, now, counts, heard, log }
    } else {
        let logged = log.map(|log| Box::new(Logged { result: AttemptResult::Snoozed, log }));
        Event::AttemptEnded { slot, now, heard: None, logged }
    });
}

/// What an outcome says about the attempts to come.
const fn heard(outcome: &Outcome) -> Option<Heard> {
    match outcome {
        Outcome::Done { .. } => Some(Heard::Success),
        Outcome::Failed { failure, .. } => heard_of(failure),
        Outcome::Snoozed { .. } | Outcome::Cancelled { .. } | Outcome::Released => None,
    }
}

/// What a failure says about the attempts to come: nothing, where it is the job's own.
const fn heard_of(failure: &Failure) -> Option<Heard> {
    match failure.kind {
        FailureKind::Error | FailureKind::Panic | FailureKind::TimedOut => Some(Heard::Failure),
        FailureKind::Permanent | FailureKind::Decode | FailureKind::Lost => None,
    }
}

/// What a cancelled job's record says of how its attempt ended.
fn failure_of(outcome: Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Failed { failure, .. } => Some(failure),
        Outcome::Cancelled { reason } => Some(Failure::new(FailureKind::Error, reason)),
        Outcome::Released => Some(Failure::new(FailureKind::Error, String::from("stopped with the engine"))),
        Outcome::Done { .. } | Outcome::Snoozed { .. } => None,
    }
}

/// A suspect that ends, however it ends, doubles the number of suspects that may run.
fn suspects_after(state: &State, slot: Slot) -> Option<u32> {
    let was_suspect = state.jobs[slot].run().is_some_and(|run| run.suspect);
    (was_suspect && state.suspects_max != u32::MAX).then(|| {
        let doubled = state.suspects_max.saturating_mul(2);
        if doubled >= state.slots_total() { u32::MAX } else { doubled }
    })
}

/// A lease gets another end, this long from now.
pub(crate) fn extend(
    state: &State,
    request: Request,
    id: JobId,
    token: LeaseToken,
    by_ms: u64,
    now: Now,
) -> Result<Decision, Refusal> {
    let slot = state.running.get(&token).copied().ok_or(Refusal::StaleLease { id })?;
    let run = state.jobs[slot].run();
    if run.is_some_and(|run| run.overdue) {
        return Err(Refusal::StaleLease { id });
    }
    let mut decision = Decision::default();
    // A lease without an end needs none.
    if run.is_some_and(|run| run.deadline.is_some()) {
        let by_ms = state.jobs[slot].left_ms(now).map_or(by_ms, |left_ms| by_ms.min(left_ms));
        decision.events.push(Event::Extended { slot, deadline: now.mono.plus_ms(by_ms) });
    }
    Ok(decision.reply(Mark::Sealed, request, Ok(Answer::Ok)))
}
