//! What events about attempts do to the state.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::hash_map::Entry;

use super::super::slab::Slot;
use super::super::state::{OpenClaims, Run, Spent, Spot, State};
use super::super::tape::Tape;
use super::as_key;
use crate::attempt::{AttemptLog, AttemptResult, Failure, FailureKind, Logged};
use crate::breaker::Heard;
use crate::bug;
use crate::change::{AttemptRecord, Claims, ClaimsNo, Key, Record};
use crate::job::JobId;
use crate::lease::LeaseToken;
use crate::settings::Level;
use crate::time::{Mono, Now, Timestamp};

/// Records of this many last attempts are kept, and of the first one.
const LAST_KEPT: u32 = 20;

/// The attempts before this one, itself included, that have records: the first and the last 20.
pub(super) fn recorded(last: u32) -> impl Iterator<Item = u32> {
    let tail_from = last.saturating_sub(LAST_KEPT - 1).max(2);
    (last > 0).then_some(1).into_iter().chain(tail_from..=last)
}

/// How an attempt failed.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// Among the failures of its job and its queue.
    pub(super) counts: bool,
    pub(super) heard: Option<Heard>,
    pub(super) log: Option<Arc<AttemptLog>>,
}

/// How long an attempt was, and what is kept of it.
struct Kept {
    started: Timestamp,
    ended: Timestamp,
    result: AttemptResult,
    log: Option<Arc<AttemptLog>>,
}

impl State {
    pub(super) fn claimed(
        &mut self,
        slot: Slot,
        token: LeaseToken,
        no: ClaimsNo,
        deadline: Option<Mono>,
        now: Now,
        tape: &mut Tape,
    ) {
        self.unplace(slot);
        let live = &self.jobs[slot];
        let queue = live.queue;
        self.lines.took_turn(live.tenant, live.priority);
        self.start(slot, token, no, deadline, now);
        self.count_rates(slot, token, now.mono);
        self.next_token = self.next_token.max(token.n + 1);
        self.queues[queue.0 as usize].counters.attempts += 1;
        tape.touch_counters(queue);
    }

    /// Writes a record of claims, all of them open.
    pub(super) fn remember_claims(&mut self, claims: Claims, level: Level, tape: &mut Tape) {
        let open = claims.entries.len();
        if !bug!(ClaimUnwritten) {
            tape.put(level, Record::Claims(claims.clone()));
        }
        self.claims_open.insert(claims.no, OpenClaims { claims, level, open });
    }

    /// A job of this id is new: what open records of claims say of an earlier job with its id must not be read as its
    /// own.
    pub(super) fn disown_claims(&mut self, id: JobId, tape: &mut Tape) {
        let Some(Spent { last, before: mut spent }) = self.claims_spent.remove(&id) else { return };
        spent.push(last);
        spent.sort_unstable();
        for no in spent {
            if let Some(record) = self.claims_open.get_mut(&no) {
                record.claims.entries.retain(|claim| claim.id != id);
                tape.put(record.level, Record::Claims(record.claims.clone()));
            }
        }
    }

    /// One attempt of a record of claims has ended: the record goes with its last one.
    fn spend_claim(&mut self, id: JobId, no: ClaimsNo, tape: &mut Tape) {
        let Some(record) = self.claims_open.get_mut(&no) else { unreachable!("claims {no:?} are not open") };
        record.open -= 1;
        if record.open > 0 {
            match self.claims_spent.entry(id) {
                Entry::Vacant(entry) => drop(entry.insert(Spent { last: no, before: Vec::new() })),
                Entry::Occupied(mut entry) => {
                    let last = core::mem::replace(&mut entry.get_mut().last, no);
                    entry.get_mut().before.push(last);
                }
            }
        } else if let Some(record) = self.claims_open.remove(&no) {
            for claim in &record.claims.entries {
                if let Entry::Occupied(mut spent) = self.claims_spent.entry(claim.id) {
                    let of = spent.get_mut();
                    of.before.retain(|of| *of != no);
                    if of.last == no {
                        match of.before.pop() {
                            Some(before) => of.last = before,
                            None => drop(spent.remove()),
                        }
                    }
                }
            }
            tape.delete(record.level, Key::Claims(no));
        }
    }

    fn start(&mut self, slot: Slot, token: LeaseToken, no: ClaimsNo, deadline: Option<Mono>, now: Now) {
        let live = &mut self.jobs[slot];
        let suspect = live.is_suspect();
        live.spot = Spot::Running;
        let more = self.pages.more_of(live);
        more.run = Some(Run { token, claims: no, deadline, overdue: false, suspect });
        more.started = now.wall.into();
        let queue = &mut self.queues[live.queue.0 as usize];
        queue.running += 1;
        if let Some(deadline) = deadline {
            queue.leases.insert((deadline, slot));
        }
        self.suspects_running += u32::from(suspect);
        if let Some(limit) = &mut self.kinds[live.kind as usize].limit {
            limit.running += 1;
        }
        self.count_start(slot);
        self.running.insert(token, slot);
    }

    /// The code of the live attempt has ended: the slot is free, the token void, the attempt's number used up.
    fn close(&mut self, slot: Slot, heard: Option<Heard>, now: Mono, tape: &mut Tape) {
        let live = &mut self.jobs[slot];
        let more = self.pages.more_of(live);
        let Some(run) = more.run.take() else { unreachable!("job {} does not run", live.id) };
        more.attempts_ended += 1;
        more.lost = 0;
        live.spot = Spot::Loading;
        let queue = &mut self.queues[live.queue.0 as usize];
        queue.running -= 1;
        if let Some(deadline) = run.deadline {
            queue.leases.remove(&(deadline, slot));
        }
        self.suspects_running -= u32::from(run.suspect);
        if let Some(limit) = &mut self.kinds[live.kind as usize].limit {
            limit.running -= 1;
        }
        let id = live.id;
        self.count_end(slot, run.token, heard, now);
        self.running.remove(&run.token);
        self.spend_claim(id, run.claims, tape);
        self.let_go_of_old_record(slot, tape);
        tape.touch_job(self, slot);
    }

    /// One more attempt has ended, with a record or without: the record of the one that is now too old goes. So what
    /// stands never reaches further back than the attempts' number tells, which is all that a load knows.
    fn let_go_of_old_record(&self, slot: Slot, tape: &mut Tape) {
        let live = &self.jobs[slot];
        let old = live.more().attempts_ended.saturating_sub(LAST_KEPT);
        if (2..=live.more().attempt_recorded).contains(&old) {
            tape.delete(self.queue(live.queue).level(), Key::Attempt(live.id, old));
        }
    }

    pub(super) fn attempt_ended(
        &mut self,
        slot: Slot,
        heard: Option<Heard>,
        logged: Option<Box<Logged>>,
        now: Now,
        tape: &mut Tape,
    ) {
        self.pages.more_of(&mut self.jobs[slot]).failures += u32::from(bug!(SnoozeCounts));
        self.close(slot, heard, now.mono, tape);
        if let Some(logged) = logged {
            let more = self.jobs[slot].more();
            let (attempt, started) = (more.attempts_ended, more.started.time().unwrap_or(now.wall));
            let Logged { result, log } = *logged;
            self.record(slot, attempt, Kept { started, ended: now.wall, result, log: Some(log) }, tape);
        }
    }

    pub(super) fn attempt_failed(&mut self, slot: Slot, failed: Failed, now: Now, tape: &mut Tape) {
        let Failed { failure, counts, heard, log } = failed;
        self.close(slot, heard, now.mono, tape);
        let live = &mut self.jobs[slot];
        let more = self.pages.more_of(live);
        more.failures += u32::from(counts);
        let (attempt, started) = (more.attempts_ended, more.started.time().unwrap_or(now.wall));
        let no = live.queue;
        if counts {
            let queue = &mut self.queues[no.0 as usize];
            queue.counters.failures += 1;
            queue.failed.add(now.mono);
        }
        tape.touch_counters(no);
        let result = AttemptResult::Failed(failure);
        self.record(slot, attempt, Kept { started, ended: now.wall, result, log }, tape);
    }

    fn record(&mut self, slot: Slot, attempt: u32, kept: Kept, tape: &mut Tape) {
        let level = self.queue(self.jobs[slot].queue).level();
        let live = &mut self.jobs[slot];
        self.pages.more_of(live).attempt_recorded = attempt;
        let Kept { started, ended, result, log } = kept;
        let record = AttemptRecord { id: live.id, attempt, started, ended, result, log };
        tape.put(level, Record::Attempt(record));
    }

    pub(super) fn delayed(&mut self, slot: Slot, delay_ms: u64, now: Now, is_retry: bool, tape: &mut Tape) {
        let live = &mut self.jobs[slot];
        live.due = now.wall.plus_ms(delay_ms).into();
        live.due_by_wall = false;
        live.clock_ms = as_key(now.mono.plus_ms(delay_ms).0);
        let queue = live.queue;
        self.queues[queue.0 as usize].counters.retries += u64::from(is_retry);
        tape.touch_counters(queue);
        self.place_delayed(slot);
        tape.touch_job(self, slot);
    }

    pub(super) fn overdue(&mut self, slot: Slot) {
        let live = &mut self.jobs[slot];
        if let Some(run) = live.more.as_mut().and_then(|more| more.run.as_mut()) {
            run.overdue = true;
            if let Some(deadline) = run.deadline.take() {
                self.queues[live.queue.0 as usize].leases.remove(&(deadline, slot));
            }
        }
    }

    pub(super) fn extended(&mut self, slot: Slot, deadline: Mono) {
        let live = &mut self.jobs[slot];
        if let Some(run) = live.more.as_mut().and_then(|more| more.run.as_mut()) {
            let leases = &mut self.queues[live.queue.0 as usize].leases;
            if let Some(before) = run.deadline.replace(deadline) {
                leases.remove(&(before, slot));
            }
            leases.insert((deadline, slot));
        }
    }

    pub(super) fn checkpointed(&mut self, slot: Slot, bytes: Bytes, tape: &mut Tape) {
        let live = &mut self.jobs[slot];
        live.has_checkpoint = true;
        let (id, queue) = (live.id, live.queue);
        let level = self.queue(queue).level();
        if level == Level::Memory {
            self.pages.set_checkpoint(id, Some(bytes.len() as u32));
        }
        tape.put(level, Record::Checkpoint(id, bytes));
    }

    pub(super) fn adopted(&mut self, slot: Slot, token: LeaseToken, no: ClaimsNo, now: Now) {
        self.unplace(slot);
        let timeout = self.timeout_ms_of(&self.jobs[slot], now);
        self.start(slot, token, no, timeout.map(|ms| now.mono.plus_ms(ms)), now);
        let live = &mut self.jobs[slot];
        // It may have left one before the core that knew of it fell.
        live.has_checkpoint = true;
        let more = self.pages.more_of(live);
        more.attempts_ended -= more.attempts_ended.min(u32::from(bug!(AttemptNumberReused)));
    }

    pub(super) fn lost(&mut self, slot: Slot, started: Timestamp, now: Now, tape: &mut Tape) {
        self.unplace(slot);
        let live = &mut self.jobs[slot];
        live.has_checkpoint = true;
        let more = self.pages.more_of(live);
        more.attempts_ended += 1;
        more.lost += u32::from(!bug!(LostUncounted));
        more.started = started.into();
        let (attempt, queue) = (more.attempts_ended, live.queue);
        self.let_go_of_old_record(slot, tape);
        self.queues[queue.0 as usize].counters.lost += 1;
        tape.touch_counters(queue);
        let failure = Failure::new(FailureKind::Lost, String::from("the process died under this attempt"));
        let result = AttemptResult::Failed(failure);
        self.record(slot, attempt, Kept { started, ended: now.wall, result, log: None }, tape);
        tape.touch_job(self, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_twenty_attempts_are_kept() {
        assert_eq!(recorded(0).count(), 0);
        assert_eq!(recorded(1).collect::<Vec<_>>(), [1]);
        assert_eq!(recorded(3).collect::<Vec<_>>(), [1, 2, 3]);
        let many: Vec<_> = recorded(100).collect();
        assert_eq!((many.len(), many[0], many[1], many[20]), (21, 1, 81, 100));
    }
}
