//! The table of live attempts: what runs in this process, whatever becomes of the actors.
//!
//! Owns, per job, the running attempt's token, its cancellation, its progress and, once its code has ended, its outcome. An
//! entry stays until its acknowledgement is written: that is what lets a rebuilt core adopt what still runs. Many threads
//! look things up here at once; nothing is ever decided by its order.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use serde_json::Value;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use windlass_scheduler::attempt::{AttemptLog, Outcome};
use windlass_scheduler::bug;
use windlass_scheduler::change::Claim;
use windlass_scheduler::command::QueueNo;
use windlass_scheduler::job::{Body, JobId};
use windlass_scheduler::lease::{LeaseToken, StopReason};

use crate::logs::{self, LogBuffer};

/// One attempt whose code runs, or whose end is not yet written.
#[derive(Debug)]
pub(crate) struct LiveAttempt {
    pub(crate) queue: QueueNo,
    pub(crate) token: LeaseToken,
    pub(crate) attempt: u32,
    pub(crate) signals: Arc<Signals>,
    /// Drops async code that did not end at once; blocking code has none.
    pub(crate) abort: Option<AbortHandle>,
    pub(crate) outcome: Option<Outcome>,
    /// The job's body, where hooks may want it: memory may not have it when the attempt ends.
    pub(crate) body: Option<Arc<Body>>,
}

/// What an attempt and those outside tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Made when someone asks for it: most attempts end before anybody does.
    cancelled: OnceLock<CancellationToken>,
    reason: AtomicU8,
    /// Since when its code is to be dropped, wherever that can be done.
    abort_due_since: OnceLock<SystemTime>,
    progress: std::sync::Mutex<Option<Value>>,
    pub(crate) log: LogBuffer,
}

impl Signals {
    /// Asks the attempt to end. The first reason stays, but for a cancellation, which outranks the others.
    pub(crate) fn stop(&self, reason: StopReason) {
        let code = match reason {
            StopReason::TimedOut => 1,
            StopReason::Stopping => 2,
            StopReason::Gone => 3,
            StopReason::Cancelled => 4,
        };
        let _ = self
            .reason
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| (before == 0 || code == 4).then_some(code));
        self.cancelled().cancel();
    }

    pub(crate) fn cancelled(&self) -> &CancellationToken {
        self.cancelled.get_or_init(CancellationToken::new)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get().is_some_and(CancellationToken::is_cancelled)
    }

    pub(crate) fn abort_is_due(&self) -> bool {
        self.abort_due_since.get().is_some()
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        match self.reason.load(Ordering::SeqCst) {
            1 => Some(StopReason::TimedOut),
            2 => Some(StopReason::Stopping),
            3 => Some(StopReason::Gone),
            4 => Some(StopReason::Cancelled),
            _ => None,
        }
    }

    pub(crate) fn set_progress(&self, value: Value) {
        *self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
    }

    pub(crate) fn progress(&self) -> Option<Value> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct LiveTable {
    attempts: DashMap<JobId, LiveAttempt, RandomState>,
    /// Some attempt did not end when it was asked to: the table is worth a look.
    has_aborted: AtomicBool,
    /// The term of the core of the day: what an earlier one handed out, and nobody has begun, is its to hand out again.
    term: AtomicU64,
}

/// Locks of the table: many more than threads, so that two of them rarely want the same one.
const LOCKS: usize = 256;

impl Default for LiveTable {
    fn default() -> Self {
        let attempts = DashMap::with_hasher_and_shard_amount(RandomState::default(), LOCKS);
        Self { attempts, has_aborted: AtomicBool::new(false), term: AtomicU64::new(0) }
    }
}

impl LiveTable {
    /// From now on nothing begins that a core of an earlier term handed out. Whatever had begun is in the table, for the
    /// new core to adopt.
    pub(crate) fn begin_term(&self, term: u64) {
        self.term.store(term, Ordering::SeqCst);
    }

    /// Whether the attempt may begin. An order to start it may have waited while its core fell; that is looked at under
    /// the entry's lock, so that whoever reads the table after [`begin_term`](Self::begin_term) misses none.
    #[must_use]
    pub(crate) fn insert(&self, id: JobId, attempt: LiveAttempt) -> bool {
        let entry = self.attempts.entry(id);
        if attempt.token.term < self.term.load(Ordering::SeqCst) && !bug!(StaleStart) {
            return false;
        }
        entry.insert(attempt);
        true
    }

    /// From now on the attempt's code can be dropped so.
    pub(crate) fn set_abort(&self, id: JobId, token: LeaseToken, abort: &AbortHandle) {
        if let Some(mut entry) = self.attempts.get_mut(&id).filter(|entry| entry.token == token) {
            entry.abort = Some(abort.clone());
            let is_due = entry.signals.abort_is_due();
            drop(entry);
            if is_due {
                abort.abort();
            }
        }
    }

    /// The code has ended. The first outcome stays.
    pub(crate) fn ended(&self, id: JobId, token: LeaseToken, outcome: Outcome) {
        if let Some(mut entry) = self.attempts.get_mut(&id).filter(|entry| entry.token == token) {
            if logs::are_kept() {
                entry.signals.log.seal();
            }
            entry.outcome.get_or_insert(outcome);
        }
    }

    /// The attempt has read its body.
    pub(crate) fn has_read(&self, id: JobId, token: LeaseToken, body: &Arc<Body>) {
        if let Some(mut entry) = self.attempts.get_mut(&id).filter(|entry| entry.token == token) {
            entry.body = Some(body.clone());
        }
    }

    /// The job's body, as far as the attempt has it and hooks may want it.
    pub(crate) fn body(&self, id: JobId, token: LeaseToken) -> Option<Arc<Body>> {
        self.attempts.get(&id).filter(|entry| entry.token == token)?.body.clone()
    }

    /// What the attempt has logged, as far as that is kept.
    pub(crate) fn log(&self, id: JobId, token: LeaseToken) -> Option<Arc<AttemptLog>> {
        self.attempts.get(&id).filter(|entry| entry.token == token)?.signals.log.log()
    }

    /// What the job's running attempt has logged so far.
    pub(crate) fn running_log(&self, id: JobId) -> Option<Arc<AttemptLog>> {
        self.attempts.get(&id).filter(|entry| entry.outcome.is_none())?.signals.log.log()
    }

    pub(crate) fn outcome(&self, id: JobId, token: LeaseToken) -> Option<Outcome> {
        self.attempts.get(&id).filter(|entry| entry.token == token)?.outcome.clone()
    }

    /// The end is written: nothing has to be remembered of it.
    pub(crate) fn remove(&self, id: JobId, token: LeaseToken) {
        self.attempts.remove_if(&id, |_, entry| entry.token == token);
    }

    /// The queue whose worker runs it.
    pub(crate) fn queue(&self, id: JobId, token: LeaseToken) -> Option<QueueNo> {
        self.attempts.get(&id).filter(|entry| entry.token == token).map(|entry| entry.queue)
    }

    /// What the job's running attempt says of its progress.
    pub(crate) fn progress(&self, id: JobId) -> Option<Value> {
        self.attempts.get(&id).filter(|entry| entry.outcome.is_none())?.signals.progress()
    }

    /// Asks the attempt to end; `false` where its code has ended already.
    pub(crate) fn stop(&self, id: JobId, token: LeaseToken, reason: StopReason) -> bool {
        let entry = self.attempts.get(&id).filter(|entry| entry.token == token && entry.outcome.is_none());
        // Whoever is woken by it may look here.
        let signals = entry.map(|entry| entry.signals.clone());
        signals.as_ref().inspect(|signals| signals.stop(reason)).is_some()
    }

    pub(crate) fn abort(&self, id: JobId, token: LeaseToken) {
        let Some(entry) = self.attempts.get(&id).filter(|entry| entry.token == token) else { return };
        entry.signals.abort_due_since.get_or_init(SystemTime::now);
        self.has_aborted.store(true, Ordering::Relaxed);
        let abort = entry.abort.clone();
        // Dropping the code reports its end, which needs the entry.
        drop(entry);
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// Everything in it as claims, in the order of tokens.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let claim = |entry: dashmap::mapref::multiple::RefMulti<'_, JobId, LiveAttempt>| Claim {
            id: *entry.key(),
            attempt: entry.attempt,
            token: entry.token,
        };
        let mut claims: Vec<_> = self.attempts.iter().map(claim).collect();
        claims.sort_unstable_by_key(|claim| claim.token);
        claims
    }

    /// Attempts of this queue whose code has ended, in the order of tokens.
    pub(crate) fn ended_of(&self, queue: QueueNo) -> Vec<(JobId, LeaseToken)> {
        let mine = self.attempts.iter().filter(|entry| entry.queue == queue && entry.outcome.is_some());
        let mut mine: Vec<_> = mine.map(|entry| (*entry.key(), entry.token)).collect();
        mine.sort_unstable_by_key(|(_, token)| *token);
        mine
    }

    /// How many attempts' code still runs though its grace is over, and since when the first of them.
    pub(crate) fn stuck(&self) -> Option<(u64, SystemTime)> {
        if !self.has_aborted.load(Ordering::Relaxed) {
            return None;
        }
        let unended = self.attempts.iter().filter(|entry| entry.outcome.is_none());
        let since = unended.filter_map(|entry| entry.signals.abort_due_since.get().copied());
        since.fold(None, |stuck, since| {
            let (attempts, first) = stuck.unwrap_or((0, since));
            Some((attempts + 1, first.min(since)))
        })
    }

    /// Attempts whose code still runs, in the order of tokens: the table's own order is another one each time.
    pub(crate) fn unended(&self) -> Vec<(QueueNo, JobId, LeaseToken)> {
        let unended = self.attempts.iter().filter(|entry| entry.outcome.is_none());
        let mut unended: Vec<_> = unended.map(|entry| (entry.queue, *entry.key(), entry.token)).collect();
        unended.sort_unstable_by_key(|(_, _, token)| *token);
        unended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(term: u64, n: u64) -> LiveAttempt {
        let (token, signals) = (LeaseToken { term, n }, Arc::default());
        LiveAttempt { queue: QueueNo(0), token, attempt: 1, signals, abort: None, outcome: None, body: None }
    }

    /// I4: one live attempt a job. An order to start may wait at a worker while the core that gave it falls, and the next
    /// core gives the same job out again.
    #[test]
    fn nothing_begins_that_a_fallen_core_handed_out() {
        let (live, id) = (LiveTable::default(), crate::new_job_id());
        live.begin_term(1);
        assert!(live.insert(crate::new_job_id(), attempt(1, 1)));
        live.begin_term(2);
        assert!(!live.insert(id, attempt(1, 2)));
        assert_eq!(live.claims().len(), 1, "what had begun is there to be adopted, and nothing else");
        assert!(live.insert(id, attempt(2, 1)));
    }

    /// I4
    #[test]
    fn a_stop_of_an_earlier_attempt_does_not_reach_a_later_one() {
        let (live, id) = (LiveTable::default(), crate::new_job_id());
        let later = attempt(1, 2);
        let signals = later.signals.clone();
        assert!(live.insert(id, later));
        assert!(!live.stop(id, LeaseToken { term: 1, n: 1 }, StopReason::TimedOut));
        assert!(signals.reason().is_none() && !signals.is_cancelled());
        assert!(live.stop(id, LeaseToken { term: 1, n: 2 }, StopReason::TimedOut));
        assert!(signals.is_cancelled());
    }
}
