//! Breakers and the share of retries, made on the oracle: what each has heard of late, and how many starts retries have left.
//!
//! Guards I15: what fails rests, and what has not failed goes first.

use std::collections::{BTreeSet, VecDeque};

use windlass_scheduler::attempt::{FailureKind, Outcome};
use windlass_scheduler::breaker::Breaker;
use windlass_scheduler::job::JobId;
use windlass_scheduler::limit::Limit;
use windlass_scheduler::time::Now;

use super::rate::Of;
use super::world::{Job, World};

/// What one breaker has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ear {
    /// Whether each of the last attempts failed.
    last: VecDeque<bool>,
    /// Until when it is open, and for how long it was.
    open: Option<(u64, u64)>,
    trying: BTreeSet<JobId>,
    passed: u32,
    /// If nothing is heard until then it is as if nothing had been.
    forgets_at: u64,
}

impl Ear {
    fn is_deaf(&self) -> bool {
        self.open.is_none() && !self.last.contains(&true)
    }

    fn open(&mut self, ms: u64, now_ms: u64) {
        *self = Self { open: Some((now_ms + ms, ms)), ..Self::default() };
    }

    fn hear(&mut self, breaker: Breaker, id: JobId, failed: Option<bool>, now_ms: u64) {
        let (tried, was_open) = (self.trying.remove(&id), self.open.is_some());
        match (self.open, failed) {
            (None, Some(failed)) => {
                self.last.push_back(failed);
                if self.last.len() > breaker.attempts as usize {
                    self.last.pop_front();
                }
                if self.last.iter().filter(|failed| **failed).count() >= breaker.failures as usize {
                    self.open(breaker.pause_ms, now_ms);
                }
            }
            (Some((_, ms)), Some(true)) if tried => self.open((2 * ms).min(breaker.pause_ms_max), now_ms),
            (Some(_), Some(false)) if tried => {
                self.passed += 1;
                if self.passed == breaker.probes {
                    *self = Self::default();
                }
            }
            (Some(_), None) if tried => {}
            _ => return,
        }
        // It is open from now on, or something was heard.
        let opened = self.open.filter(|_| !was_open || failed == Some(true));
        self.forgets_at = opened.map_or(now_ms, |(until, _)| until) + breaker.pause_ms_max;
    }
}

impl World {
    /// What a breaker has heard that counts.
    pub(crate) fn ear(&self, of: &Of, now: Now) -> Ear {
        let ear = self.ears.get(of).cloned().unwrap_or_default();
        if ear.trying.is_empty() && ear.forgets_at <= now.mono.0 { Ear::default() } else { ear }
    }

    /// Whether it is as if nothing had been heard.
    pub(crate) fn hears_nothing(&self, of: &Of, now: Now) -> bool {
        self.ear(of, now).is_deaf()
    }

    /// Whether a breaker lets nothing through.
    pub(crate) fn is_tripped(&self, of: &Of, limit: &Limit, now: Now) -> bool {
        let ear = self.ear(of, now);
        let tries = |breaker: Breaker| ear.trying.len() as u32 + ear.passed >= breaker.probes;
        limit.breaker.is_some_and(|breaker| ear.open.is_some_and(|(until, _)| until > now.mono.0 || tries(breaker)))
    }

    /// When a breaker lets one try, if time alone makes it.
    pub(crate) fn opens_again(&self, of: &Of, now: Now) -> Option<u64> {
        self.ear(of, now).open.map(|(until, _)| until)
    }

    /// A job starts.
    pub(crate) fn note_try(&mut self, id: JobId, now: Now) {
        for (of, _) in self.guarded(&self.jobs[&id]) {
            let mut ear = self.ear(&of, now);
            if ear.open.is_some() {
                ear.trying.insert(id);
            }
            self.ears.insert(of, ear);
        }
        let (queue, is_retry) = (self.jobs[&id].queue, self.jobs[&id].failures > 0);
        if let Some(percent) = self.settings.queues[queue].retry_budget_percent.map(u32::from) {
            let left = self.credit.entry(queue).or_insert(0);
            *left = if is_retry { left.saturating_sub(100 - percent) } else { (*left + percent).min(100) };
        }
    }

    /// An attempt ended so.
    pub(crate) fn hear(&mut self, id: JobId, outcome: &Outcome, now: Now) {
        let failed = match outcome {
            Outcome::Done { .. } => Some(false),
            Outcome::Failed { failure, .. } if !self.jobs[&id].cancel => match failure.kind {
                FailureKind::Error | FailureKind::Panic | FailureKind::TimedOut => Some(true),
                _ => None,
            },
            _ => None,
        };
        for (of, breaker) in self.guarded(&self.jobs[&id]) {
            let mut ear = self.ear(&of, now);
            ear.hear(breaker, id, failed, now.mono.0);
            self.ears.insert(of, ear);
        }
    }

    fn guarded(&self, job: &Job) -> Vec<(Of, Breaker)> {
        let (of_all, of_key) = self.limits_of(job);
        let all = of_all.into_iter().chain(of_key);
        all.filter_map(|(of, limit)| Some((of, limit.breaker?))).collect()
    }

    /// Whether retries have had their share.
    fn is_over_budget(&self, queue: usize) -> bool {
        let percent = self.settings.queues[queue].retry_budget_percent.map(u32::from);
        percent.is_some_and(|percent| self.credit.get(&queue).copied().unwrap_or(0) < 100 - percent)
    }

    /// The jobs of a queue that may run now as far as lanes go: without those that have failed, where others have to go first.
    pub(crate) fn pool(&self, queue: usize, now: Now) -> Vec<(JobId, &Job)> {
        let mut all: Vec<_> = self.jobs.iter().filter(|(_, job)| self.may_run(queue, job)).collect();
        let is_open = |job: &Job| !self.is_closed(&self.limits_of(job).1, job.share.weight, now);
        if self.is_over_budget(queue) && all.iter().any(|(_, job)| job.failures == 0 && is_open(job)) {
            all.retain(|(_, job)| job.failures == 0);
        }
        all.into_iter().map(|(id, job)| (*id, job)).collect()
    }
}
