//! What is played, in the words of the judge that all layers share ([`windlass_scheduler::history`]).
//!
//! Owns the translation, and the names that judged games go by: there each job has an id of its own, since of two under one
//! id nobody could say which one ran. The clocks of a game go where they like, so all is told at 0, and no law of time applies;
//! the oracle has its own idea of time.

use std::collections::BTreeMap;

use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::command::Request;
use windlass_scheduler::effect::{Answer, Effect, Found};
use windlass_scheduler::history::{
    self, Bound, Call, Checker, Commit, Dump, Event, Finish, Intent, Rules, What, fingerprint,
};
use windlass_scheduler::job::{JobId, Name, NewJob, Priority};
use windlass_scheduler::lease::{LeaseToken, StopReason};
use windlass_scheduler::limit::{KeyLimits, LimitOf};
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::verb::Verb;

use super::common::Store;

pub(crate) struct Told {
    checker: Checker,
    settings: ShardSettings,
    /// Calls that no request stands for.
    calls: u64,
    running: BTreeMap<LeaseToken, (JobId, u32)>,
    /// Those that a journal may be found at after a loss of power: the synced one, and those behind it.
    commits: Vec<Option<Commit>>,
    open: Vec<u64>,
    /// Of each queue: its slots, and those that an attempt may start by that was handed out before.
    slots: Vec<(u32, u32)>,
}

impl Told {
    pub(crate) fn new(settings: &ShardSettings, term: u64) -> Self {
        let mut told = Self {
            checker: Checker::default(),
            settings: settings.clone(),
            calls: 1 << 40,
            running: BTreeMap::new(),
            commits: vec![None],
            open: Vec::new(),
            slots: settings.queues.iter().map(|queue| (queue.slots, queue.slots)).collect(),
        };
        for queue in 0..settings.queues.len() {
            told.rules(queue);
        }
        told.limits();
        told.began(term);
        told
    }

    fn say(&mut self, what: What) {
        self.checker.hear(&Event { at_ms: 0, what });
        if let Some(violation) = self.checker.violations().first() {
            panic!("the judge: {violation}");
        }
    }

    pub(crate) fn call(&mut self, request: Request, what: Call) {
        self.open.push(request.0);
        self.say(What::Called { call: request.0, what });
    }

    /// One whose answer nobody hears.
    fn call_unheard(&mut self, what: Call) {
        self.calls += 1;
        self.say(What::Called { call: self.calls, what });
    }

    pub(crate) fn slots(&mut self, queue: usize, slots: u32) {
        self.slots[queue] = (slots, self.slots[queue].1.max(slots));
        self.rules(queue);
    }

    /// Nothing is under way.
    pub(crate) fn settled(&mut self) {
        for queue in 0..self.slots.len() {
            self.slots[queue].1 = self.slots[queue].0;
            self.rules(queue);
        }
    }

    /// Slots only: there is no clock. Not of keys that have limits of their own.
    fn limits(&mut self) {
        let slots = |keys: &KeyLimits| keys.each.slots.filter(|_| keys.of.is_empty());
        let queues = self.settings.queues.clone();
        for queue in &queues {
            let (of, names) = (LimitOf::EachKey(queue.name.clone()), vec![queue.name.clone()]);
            self.limit(of, names, true, slots(&queue.keys));
        }
        for shared in self.settings.shared.clone() {
            let names = queues.iter().filter(|queue| queue.shares.contains(&shared.name));
            let names: Vec<_> = names.map(|queue| queue.name.clone()).collect();
            self.limit(LimitOf::Shared(shared.name.clone()), names.clone(), false, shared.all.slots);
            self.limit(LimitOf::SharedEachKey(shared.name), names, true, slots(&shared.keys));
        }
    }

    fn limit(&mut self, of: LimitOf, queues: Vec<Name>, is_of_keys: bool, slots: Option<u32>) {
        self.say(What::Limit(Bound { of, queues, is_of_keys, slots, rate: None }));
    }

    fn rules(&mut self, queue: usize) {
        let (queue, (_, slots)) = (&self.settings.queues[queue], self.slots[queue]);
        self.say(What::Queue(Rules {
            queue: queue.name.clone(),
            level: queue.level,
            slots,
            failures_max: queue.retry.attempts_max,
            retry_ms_min: 0,
            attempt_ms_max: None,
            start_ms_max: None,
            window_ms_max: None,
            keeps: [false; 4],
            is_in_order: false,
        }));
    }

    fn intent(&self, job: &NewJob) -> Intent {
        let of_kind =
            self.settings.kinds.iter().find(|kind| kind.name == job.kind).and_then(|kind| kind.retry.as_ref());
        Intent {
            id: job.id,
            queue: job.queue.clone(),
            priority: job.priority.unwrap_or(Priority::NORMAL),
            due_ms: 0,
            expires_ms: job.expires.or(job.deadline).map(|_| 0),
            has_deadline: job.deadline.is_some(),
            failures_max: job.retry.as_ref().or(of_kind).map(|policy| policy.attempts_max),
            payload: fingerprint(&job.body.payload),
            alone: None,
            limit_key: job.body.labels.share().key.as_ref().map(|key| fingerprint(key.as_bytes())),
            weight: job.body.labels.share().weight,
            batch: None,
        }
    }

    pub(crate) fn enqueue(&mut self, request: Request, jobs: &[NewJob]) {
        let jobs = jobs.iter().map(|job| self.intent(job)).collect();
        self.call(request, Call::Enqueue(jobs));
    }

    pub(crate) fn steer(&mut self, request: Option<Request>, id: JobId, verb: &Verb) {
        let call = match verb {
            Verb::Cancel => Call::Cancel(id),
            Verb::Requeue => Call::Requeue(id),
            Verb::Discard => Call::Discard(id),
            Verb::RunNow | Verb::Reprioritise(_) | Verb::Reschedule(_) | Verb::Move(_) => Call::Steer(id),
        };
        match request {
            Some(request) => self.call(request, call),
            None => self.call_unheard(call),
        }
    }

    pub(crate) fn end(&mut self, token: LeaseToken, outcome: &Outcome) {
        let Some((id, attempt)) = self.running.remove(&token) else { panic!("{token} ends and never ran") };
        if let Outcome::Done { follow_ups, .. } = outcome
            && !follow_ups.is_empty()
        {
            let jobs = follow_ups.iter().map(|job| self.intent(job)).collect();
            self.call_unheard(Call::FollowUps { parent: id, attempt, jobs });
        }
        // There is no clock to be late by.
        let how = match Finish::from(outcome) {
            Finish::Failed { .. } => Finish::Failed { after_ms: None },
            Finish::Snoozed { .. } => Finish::Snoozed { after_ms: 0 },
            how => how,
        };
        self.say(What::Ended { id, attempt, how });
    }

    /// What left the shard.
    pub(crate) fn effect(&mut self, effect: &Effect, store: &Store) {
        match effect {
            Effect::Run { leases, .. } => {
                for lease in leases {
                    let stored = || store.job(lease.id).map(|job| job.body.clone());
                    let body = lease.body.clone().or_else(stored).expect("a job that runs has a body");
                    self.running.insert(lease.token, (lease.id, lease.attempt));
                    let payload = fingerprint(&body.payload);
                    self.say(What::Started { id: lease.id, attempt: lease.attempt, payload });
                }
            }
            Effect::Stop { token, reason: StopReason::Gone, .. } => {
                if let Some((id, attempt)) = self.running.remove(token) {
                    self.say(What::Ended { id, attempt, how: Finish::Dropped });
                }
            }
            Effect::Reply { request, answer } => {
                let is = history::Answer::Is;
                let answer = match answer {
                    Ok(Answer::Ending(ending)) => is(ending.state.into()),
                    Ok(Answer::Found(Found::Ended(key))) => is(key.state.into()),
                    Ok(Answer::Found(Found::Live(view))) => is(view.state),
                    Ok(_) => history::Answer::Ok,
                    Err(_) => history::Answer::Refused,
                };
                self.open.retain(|call| *call != request.0);
                self.say(What::Answered { call: request.0, answer });
            }
            _ => {}
        }
    }

    pub(crate) fn written(&mut self, term: u64, last: u64) {
        self.finished(term, last);
        self.say(What::Committed(Commit { term, n: last }));
    }

    /// It is written, and nobody hears of it.
    pub(crate) fn finished(&mut self, term: u64, last: u64) {
        self.commits.push(Some(Commit { term, n: last }));
    }

    pub(crate) fn synced(&mut self) {
        self.commits.drain(..self.commits.len() - 1);
        if let Some(commit) = self.commits[0] {
            self.say(What::Synced(commit));
        }
    }

    /// The core fell, and what runs goes on: who was waiting knows nothing.
    pub(crate) fn fell(&mut self) {
        self.say(What::StoreBroke);
        for call in std::mem::take(&mut self.open) {
            self.say(What::Answered { call, answer: history::Answer::Unknown });
        }
    }

    /// The process died, and this is what it left: all that was written, or so many commits behind the synced one.
    pub(crate) fn died(&mut self, surviving: Option<usize>, store: &Store) {
        let last = self.commits.len() - 1;
        self.commits.truncate(surviving.unwrap_or(last).min(last) + 1);
        self.open.clear();
        self.running.clear();
        self.say(if surviving.is_some() { What::PowerLost } else { What::Killed });
        self.look(store);
    }

    fn look(&mut self, store: &Store) {
        self.say(What::Dump(Dump::of(store.0.values())));
    }

    /// A new shard has taken over in this term.
    pub(crate) fn opened(&mut self, term: u64) {
        self.commits.drain(..self.commits.len() - 1);
        self.say(What::StoreOpened { term, recovered: self.commits[0] });
        self.synced();
    }

    pub(crate) fn began(&mut self, term: u64) {
        self.opened(term);
        self.say(What::Began);
    }

    /// Everything has come to its end.
    pub(crate) fn drained(&mut self, store: &Store) {
        self.say(What::Drained);
        self.say(What::Stopped);
        self.look(store);
        let seen = self.checker.seen();
        assert_eq!(seen.missing, 0, "{seen:?}");
    }
}

/// The ids that a game's jobs go by.
#[derive(Default)]
pub(crate) struct Names {
    is_judged: bool,
    /// How often a new one was needed.
    newest: BTreeMap<JobId, u64>,
}

/// Between two ids of one name; the last byte, which a payload is made of, is the same.
const STRIDE: u64 = 1 << 16;

impl Names {
    pub(crate) fn new(is_judged: bool) -> Self {
        Self { is_judged, ..Self::default() }
    }

    fn nth(base: JobId, n: u64) -> JobId {
        JobId(uuid::Uuid::from_u128(base.0.as_u128() + u128::from(n * STRIDE)))
    }

    /// The job that is meant: the last one of this name that there is.
    pub(crate) fn meant(&self, base: JobId, is_there: impl Fn(&JobId) -> bool) -> JobId {
        let newest = self.newest.get(&base).copied().unwrap_or(0);
        let mut mine = (0..=newest).rev().map(|n| Self::nth(base, n));
        mine.find(is_there).unwrap_or_else(|| Self::nth(base, newest))
    }

    /// A new job of this name, or, where ids may meet, the same one again.
    pub(crate) fn fresh(&mut self, base: JobId) -> JobId {
        if !self.is_judged {
            return base;
        }
        let newest = self.newest.entry(base).or_default();
        *newest += 1;
        Self::nth(base, *newest)
    }
}
