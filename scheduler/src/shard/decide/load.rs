//! The end of loading: which attempts still run, which were lost with their process, and who is suspected for it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::State;
use super::claim::{claims_no, store_of};
use super::notice::tell;
use super::{Decision, end_job};
use crate::attempt::{Failure, FailureKind, Output};
use crate::bug;
use crate::change::{Claim, Claims, ClaimsNo};
use crate::command::QueueNo;
use crate::effect::{Effect, NoticeOf};
use crate::event::Event;
use crate::job::JobId;
use crate::lease::{LeaseToken, StopReason};
use crate::retry::is_killer;
use crate::settings::Level;
use crate::state::EndState;
use crate::time::{Now, Timestamp};

/// An attempt that was handed out and has not ended: its entry is live only if its job is loaded with a lower attempt
/// ended.
fn open_slot(state: &State, claim: &Claim) -> Option<Slot> {
    let (slot, live) = state.live(claim.id)?;
    (claim.attempt > live.more().attempts_ended || bug!(StaleClaimOpen)).then_some(slot)
}

/// The same, of an entry of this record: one of the other store is about another job, though it has the id.
fn recorded_slot(state: &State, no: ClaimsNo, claim: &Claim) -> Option<Slot> {
    open_slot(state, claim).filter(|slot| state.store_of(&state.jobs[*slot]) == store_of(no))
}

/// Whether the loaded records have this attempt open.
pub(crate) fn is_recorded(state: &State, claim: &Claim) -> bool {
    let mut with_it = state.loaded_claims.iter().filter(|claims| claims.entries.contains(claim));
    with_it.any(|claims| recorded_slot(state, claims.no, claim).is_some())
}

/// The token of each open attempt. What is recorded counts: an entry of the driver's may be about an earlier job with
/// the same id, which ended and was forgotten. Only the journal can have lost a claim at its end; the twin never does.
fn current_tokens(state: &State, live: &[Claim]) -> BTreeMap<JobId, LeaseToken> {
    let mut current = BTreeMap::new();
    for claim in live {
        let level = state.live(claim.id).map(|(_, live)| state.queue(live.queue).level());
        if level.is_some_and(|level| level != Level::Memory) {
            let token = current.entry(claim.id).or_insert(claim.token);
            *token = claim.token.max(*token);
        }
    }
    for claims in &state.loaded_claims {
        let open = claims.entries.iter().filter(|claim| recorded_slot(state, claims.no, claim).is_some());
        current.extend(open.map(|claim| (claim.id, claim.token)));
    }
    current
}

/// Judges every open attempt. `live` are those whose code still runs in this process: they are adopted, neither lost
/// nor counted, and a claim of theirs that is missing is written again.
pub(crate) fn load_end(state: &State, live: &[Claim], step: u64, now: Now) -> Decision {
    let mut decision = Decision::default();
    let mut adopted: [Vec<Claim>; 2] = [Vec::new(), Vec::new()];
    let current = current_tokens(state, live);
    for claim in live {
        let slot = open_slot(state, claim).filter(|_| current.get(&claim.id) == Some(&claim.token));
        if let Some(slot) = slot {
            let level = state.queue(state.jobs[slot].queue).level();
            let no = claims_no(state, step, level);
            decision.events.push(Event::Adopted { slot, token: claim.token, no, now });
            if state.jobs[slot].cancel_requested {
                // The request stands, and whoever was to pass it on may have fallen before.
                let (queue, reason) = (state.jobs[slot].queue, StopReason::Cancelled);
                let stop = Effect::Stop { queue, id: claim.id, token: claim.token, reason };
                decision.effects.push((Mark::to_run(level), stop));
            }
            adopted[usize::from(level == Level::Memory)].push(*claim);
        } else {
            let stop =
                Effect::Stop { queue: QueueNo(u32::MAX), id: claim.id, token: claim.token, reason: StopReason::Gone };
            decision.effects.push((Mark::Sealed, stop));
        }
    }
    lost(state, &adopted, now, &mut decision);
    for (level, entries) in [Level::Durable, Level::Memory].into_iter().zip(adopted) {
        if !entries.is_empty() {
            let claims = Claims { no: claims_no(state, step, level), at: now.wall, entries };
            decision.events.push(Event::ClaimsMade(claims, level));
        }
    }
    decision.event(Event::ClaimsSettled)
}

/// The other open attempts. One of this process was handed out by a core that fell before it could say so: it never
/// ran, and its job stands where it stood. The rest died with their process. A job lost too often, the last time as the
/// only suspect, is what kills it; all others run again, suspects half as many at once as before.
fn lost(state: &State, adopted: &[Vec<Claim>; 2], now: Now, decision: &mut Decision) {
    let adopted: BTreeSet<JobId> = adopted.iter().flatten().map(|claim| claim.id).collect();
    let (unstarted, lost): (Vec<Open>, Vec<Open>) = state
        .loaded_claims
        .iter()
        .flat_map(|claims| claims.entries.iter().map(move |claim| (claim, claims)))
        .filter(|(claim, _)| !adopted.contains(&claim.id))
        .filter_map(|(claim, claims)| Some((recorded_slot(state, claims.no, claim)?, claim.token, claims.at)))
        .partition(|(_, token, _)| token.term >= state.settings.first_term);
    for (slot, ..) in unstarted.into_iter().filter(|(slot, ..)| state.jobs[*slot].cancel_requested) {
        end_job(state, slot, EndState::Cancelled, now, Output::None, None, decision);
    }
    let suspects = lost.iter().filter(|(slot, ..)| state.jobs[*slot].is_suspect()).count();
    for (slot, _, started) in &lost {
        decision.events.push(Event::Lost { slot: *slot, started: *started, now });
        let job = &state.jobs[*slot];
        if job.cancel_requested {
            end_job(state, *slot, EndState::Cancelled, now, Output::None, None, decision);
        } else if is_killer(job.more().lost + 1, state.settings.lost_max) && suspects == 1 {
            let message =
                format!("killed the process: {} attempts lost in a row, the last one alone", job.more().lost + 1);
            let failure = Failure::new(FailureKind::Lost, message);
            tell(state, *slot, NoticeOf::Dead, &failure, false, None, decision);
            end_job(state, *slot, EndState::Dead, now, Output::None, Some(failure), decision);
        } else {
            decision.events.push(Event::Returned { slot: *slot, arrival: job.arrival, now });
        }
    }
    if !lost.is_empty() {
        let max = (state.suspects_max.min(state.slots_total()) / 2).max(1);
        decision.events.push(Event::SuspectsMaxSet { max });
    }
}

/// An open attempt: its job, its token, when it was handed out.
type Open = (Slot, LeaseToken, Timestamp);
