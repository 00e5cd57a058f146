//! What is known of one job.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::line::Life;
use super::{Finish, Intent, Rules};
use crate::job::{JobId, Name};
use crate::settings::Level;
use crate::state::{EndState, State};

/// A job under which so many processes died may be condemned for it.
const LOSSES_MAX: u32 = 3;

/// How it stands with a job's acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Asked for, not answered: it may be there or not.
    Open,
    /// Accepted, and not yet seen in the store.
    Accepted,
    /// It was in the store, or ran: it exists, whatever was answered.
    Seen,
    /// It is rightly gone, and whether it was ever there nobody knows.
    Over,
    /// Refused, or found missing where it may be: it must not turn up.
    Never,
}

/// The last end that an attempt's code told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastEnd {
    pub(super) attempt: u32,
    pub(super) how: Finish,
    pub(super) at_ms: u64,
    /// The engine was stopping: a failure may have been taken for a release.
    pub(super) while_stopping: bool,
}

/// An end that somebody was told, or that was found in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) end: EndState,
    /// A loss of power does not take it.
    pub(super) is_durable: bool,
}

/// What is known of one job.
// Facts that are told one by one: no state machine has them.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) intent: Intent,
    pub(super) queue: Name,
    pub(super) promise: Promise,
    /// Of all events, the one of the call and the one of its Ok.
    pub(super) called_no: u64,
    pub(super) accepted_no: Option<u64>,
    pub(super) accepted_ms: u64,
    pub(super) called_ms: u64,
    /// The call that it came with.
    pub(super) group: u64,
    /// Whose success it belongs to, and in which attempt.
    pub(super) parent: Option<(JobId, u32)>,
    /// Further calls that handed in a job with its id: there may be another one of that name by now.
    pub(super) times_more: u64,
    /// The greatest attempt that is known to have been handed out.
    pub(super) known: u32,
    pub(super) running: Option<(u32, u64)>,
    /// It is counted among those that run in its queue.
    pub(super) fills_slot: bool,
    /// The attempt that ran when its process died, and the how-manieth process that was.
    pub(super) lost: Option<(u32, u64)>,
    pub(super) last_end: Option<LastEnd>,
    pub(super) failed: BTreeSet<u32>,
    /// Attempts that may count as failures.
    pub(super) perhaps_failed: BTreeSet<u32>,
    pub(super) end: Option<Known>,
    /// Not to be started before.
    pub(super) due_ms: u64,
    pub(super) cancel_asked: bool,
    /// When a cancel was answered with Ok, and whether an attempt ran then.
    pub(super) cancelled: Option<(u64, bool)>,
    pub(super) discard_asked: bool,
    /// It is a step that no handler runs.
    pub(super) is_idle: bool,
    /// It is a step, and its times begin with its turn.
    pub(super) begins_later: bool,
    /// Another job stands for it.
    pub(super) is_merged: bool,
    /// The store broke while an attempt of it ran.
    pub(super) ran_through_a_break: bool,
    /// Other bytes that it was given since.
    pub(super) edits: Vec<u64>,
    /// Its attempt extended its time, or left a checkpoint.
    pub(super) has_used_lease: bool,
    /// Processes that died under its attempts.
    pub(super) losses: u32,
    /// An operator moved it: where it is and when it runs is no longer judged.
    pub(super) is_steered: bool,
    /// Started attempts of others that went before it, though it was first.
    pub(super) passed_over: u32,
    /// Deaths of the process, and losses of power, that its numbers have taken into account.
    pub(super) deaths: u64,
    pub(super) power_losses: u64,
    /// Processes that had ended, one way or the other, when it was handed in.
    pub(super) ends: u64,
    pub(super) life: Life,
}

impl Story {
    pub(super) fn new(
        intent: Intent,
        parent: Option<(JobId, u32)>,
        call: u64,
        (called_no, called_ms): (u64, u64),
    ) -> Self {
        Self {
            queue: intent.queue.clone(),
            due_ms: intent.due_ms,
            intent,
            promise: Promise::Open,
            called_no,
            accepted_no: None,
            accepted_ms: 0,
            called_ms,
            group: call,
            parent,
            times_more: 0,
            known: 0,
            running: None,
            fills_slot: false,
            lost: None,
            last_end: None,
            failed: BTreeSet::new(),
            perhaps_failed: BTreeSet::new(),
            end: None,
            cancel_asked: false,
            cancelled: None,
            discard_asked: false,
            is_idle: false,
            begins_later: false,
            is_merged: false,
            ran_through_a_break: false,
            edits: Vec::new(),
            has_used_lease: false,
            losses: 0,
            is_steered: false,
            passed_over: 0,
            deaths: 0,
            power_losses: 0,
            ends: 0,
            life: Life::default(),
        }
    }

    /// Whatever an operator may do to a job may be done to it from here on.
    pub(super) fn is_anybodys(&mut self) {
        (self.is_steered, self.cancel_asked, self.discard_asked) = (true, true, true);
        (self.end, self.cancelled, self.due_ms) = (None, None, 0);
    }

    /// Whether it certainly exists, or existed.
    pub(super) fn exists(&self) -> bool {
        matches!(self.promise, Promise::Accepted | Promise::Seen)
    }

    /// Whether what is seen under its name may be another job.
    pub(super) fn is_shared(&self) -> bool {
        self.times_more > 0
    }

    /// Whether these can be its bytes.
    pub(super) fn has_payload(&self, payload: u64) -> bool {
        self.intent.payload == payload || self.edits.contains(&payload) || self.is_shared()
    }

    pub(super) fn failures_max(&self, rules: Option<&Rules>) -> u32 {
        self.intent.failures_max.or(rules.map(|rules| rules.failures_max)).unwrap_or(u32::MAX)
    }

    /// The ways to end that would explain why it is not in the store.
    pub(super) fn may_have_ended(&self, end: EndState, rules: Option<&Rules>) -> bool {
        let last = self.last_end.map(|last| last.how);
        match end {
            EndState::Done => self.is_idle || last == Some(Finish::Ok),
            EndState::Dead => {
                self.is_idle
                    || last == Some(Finish::Permanent)
                    || self.losses >= LOSSES_MAX
                    || (self.intent.has_deadline || self.intent.alone.is_some())
                        && !(self.failed.is_empty() && self.perhaps_failed.is_empty())
                    || self.failed.len() + self.perhaps_failed.len() >= self.failures_max(rules) as usize
            }
            EndState::Cancelled => self.cancel_asked || last == Some(Finish::CalledOff),
            EndState::Expired => self.intent.expires_ms.is_some() || self.intent.alone.is_some(),
        }
    }

    /// How it has ended, if it may lawfully be missing in the store though it was accepted.
    pub(super) fn gone_as(&self, rules: Option<&Rules>) -> Option<EndState> {
        // Moved, it may have ended where other rules are.
        let is_kept = |end: EndState| !self.is_steered && rules.is_some_and(|rules| rules.keeps[end.index()]);
        let is_so = |end| self.end.map_or_else(|| self.may_have_ended(end, rules), |known| known.end == end);
        let has_failed = !self.failed.is_empty() || !self.perhaps_failed.is_empty();
        let end = EndState::ALL.into_iter().find(|end| is_so(*end) && !is_kept(*end));
        end.or((self.is_steered && has_failed).then_some(EndState::Dead))
            .or((self.discard_asked || self.is_shared()).then_some(EndState::Cancelled))
    }

    /// Whether this state contradicts an end that is known.
    pub(super) fn contradicts(&self, state: State) -> bool {
        !self.is_steered && !self.is_shared() && self.end.is_some_and(|known| State::from(known.end) != state)
    }

    /// Whether it was first in line from its acceptance on: it never ran, had nothing to wait for, and nobody touched it.
    pub(super) fn is_plain(&self) -> bool {
        self.known == 0
            && self.intent.due_ms == 0
            && self.intent.expires_ms.is_none()
            && self.intent.alone.is_none()
            && !self.cancel_asked
            && !self.discard_asked
            && !self.is_steered
            && !self.is_shared()
            && self.end.is_none()
    }
}

/// What a queue's Ok is worth when the process or the power is gone.
pub(super) fn survives(level: Level, power_lost: bool) -> bool {
    match level {
        Level::Memory => false,
        Level::Process => !power_lost,
        Level::Durable => true,
    }
}
