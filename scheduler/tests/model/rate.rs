//! Limits, made on the oracle: counts of what runs, and tokens that come with time, as the words say it; and what operators set.
//!
//! Guards I13: no limit is ever a start over.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::command::Command;
use windlass_scheduler::job::JobId;
use windlass_scheduler::limit::{Limit, LimitOf, Override, Share};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::State;
use windlass_scheduler::time::Now;

use super::play::{Play, What};
use super::world::{Job, World};

/// The keys of jobs, and what each of theirs counts for.
pub(crate) const SHARES: [(Option<&str>, u32); 4] = [(None, 1), (Some("a"), 1), (Some("b"), 2), (Some("c"), 3)];

pub(crate) fn share(n: usize) -> Share {
    let (key, weight) = SHARES[n];
    Share { key: key.map(Arc::from), weight }
}

/// What a limit is of: a queue, or a shared limit; all of it, or one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    Queue(usize, Option<Arc<str>>),
    Shared(usize, Option<Arc<str>>),
}

/// Limits of a job: those of all, or those of its key.
type Limits = Vec<(Of, Limit)>;

/// What an operator sets, and over which limit.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    of: LimitOf,
    change: Option<Override>,
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let of = select(vec![
        LimitOf::queue("tiny"),
        LimitOf::queue("safe"),
        LimitOf::each_key("ram"),
        LimitOf::key("ram", "a"),
        LimitOf::key("safe", "b"),
        LimitOf::shared("api"),
        LimitOf::shared_each_key("api"),
        LimitOf::shared_key("api", "c"),
    ]);
    let rate = select(vec![(1, 10, 1), (3, 40, 2), (2, 50, 3)]);
    let rate = rate.prop_map(|(jobs, period_ms, burst)| Rate { jobs, period_ms, burst });
    let change = (prop::option::of(1..4_u32), prop::option::of(rate), prop::option::of(1..4_u32));
    let change = change.prop_map(|(slots, rate, weight)| Override { slots, rate, weight });
    (of, prop::option::weighted(0.7, change)).prop_map(|(of, change)| Change { of, change })
}

impl Play {
    /// The judge knows the limits of the code alone.
    pub(crate) fn override_limit(&mut self, Change { of, change }: Change) {
        if self.told.is_some() {
            return;
        }
        let request = self.request();
        self.driver.handle(Command::Override { request, of: of.clone(), change });
        if self.world.overrides.get(&of) != change.as_ref() {
            self.world.override_limit(of, change, self.driver.now);
        }
        self.expect(request, What::Ok, Level::Durable as usize);
    }

    /// Everything is as the code says.
    pub(crate) fn reset_limits(&mut self) {
        for of in self.world.overrides.clone().into_keys() {
            self.override_limit(Change { of, change: None });
        }
    }
}

impl World {
    /// What limits the starts of a job: its queue's rate and what that shares, and the limits of its key.
    pub(crate) fn limits_of(&self, job: &Job) -> (Limits, Limits) {
        let shares = &self.settings.queues[job.queue].shares;
        let places = |key: &Option<Arc<str>>| -> Limits {
            let named = shares.iter().filter_map(|name| self.settings.shared.iter().position(|one| one.name == *name));
            let shared = named.map(|no| Of::Shared(no, key.clone()));
            let all = std::iter::once(Of::Queue(job.queue, key.clone())).chain(shared);
            all.map(|of| (of.clone(), self.limit_of(&of))).collect()
        };
        let of_key = if job.share.key.is_some() { places(&job.share.key) } else { Vec::new() };
        (places(&None), of_key)
    }

    /// What the code says, and an operator. A queue's slots are looked at elsewhere.
    pub(crate) fn limit_of(&self, of: &Of) -> Limit {
        let over = |of: LimitOf| self.overrides.get(&of).copied().unwrap_or_default();
        let (keys, each, key, own) = match of {
            Of::Queue(no, None) => {
                let queue = &self.settings.queues[*no];
                let limit = over(LimitOf::Queue(queue.name.clone())).over(Limit { slots: None, ..queue.limit() });
                return Limit { slots: None, ..limit };
            }
            Of::Shared(no, None) => {
                let shared = &self.settings.shared[*no];
                return over(LimitOf::Shared(shared.name.clone())).over(shared.all);
            }
            Of::Queue(no, Some(key)) => {
                let queue = &self.settings.queues[*no];
                (&queue.keys, LimitOf::EachKey(queue.name.clone()), key, LimitOf::key(queue.name.as_str(), key))
            }
            Of::Shared(no, Some(key)) => {
                let shared = &self.settings.shared[*no];
                let own = LimitOf::shared_key(shared.name.as_str(), key);
                (&shared.keys, LimitOf::SharedEachKey(shared.name.clone()), key, own)
            }
        };
        let limit = keys.of.get(&**key).copied().unwrap_or_else(|| over(each).over(keys.each));
        over(own).over(limit)
    }

    /// Every key that a live job has is known from then on: an operator's word counts for it though its job may have gone.
    pub(crate) fn note_keys(&mut self) {
        let began = self.began;
        let of_keys: Vec<_> = self.jobs.values().flat_map(|job| self.limits_of(job).1).collect();
        for (of, _) in of_keys {
            self.tokens.entry(of).or_insert((0, began));
        }
    }

    /// An operator's word: whatever has another rate now begins with nothing in hand.
    pub(crate) fn override_limit(&mut self, of: LimitOf, change: Option<Override>, now: Now) {
        let live = self.jobs.values().flat_map(|job| {
            let (of_all, of_key) = self.limits_of(job);
            of_all.into_iter().chain(of_key).map(|(of, _)| of)
        });
        let whole = (0..3).map(|no| Of::Queue(no, None)).chain([Of::Shared(0, None)]);
        let live: BTreeSet<Of> = live.chain(whole).collect();
        let all: BTreeSet<Of> = live.iter().chain(self.tokens.keys()).cloned().collect();
        let before: Vec<_> = all.into_iter().map(|of| (self.limit_of(&of).rate, of)).collect();
        // Nobody has it, and it is as good as new: forgotten.
        let is_idle = |state: &Self, of: &Of, rate: Option<Rate>| {
            let full = |rate: Rate| i128::from(rate.period_ms) * i128::from(rate.burst);
            let is_forgotten = !live.contains(of) && state.hears_nothing(of, now);
            is_forgotten && rate.is_none_or(|rate| state.tokens_of(of, rate, now) == full(rate))
        };
        let idle: BTreeSet<Of> =
            before.iter().filter(|(rate, of)| is_idle(self, of, *rate)).map(|(_, of)| of.clone()).collect();
        match change {
            Some(change) => drop(self.overrides.insert(of, change)),
            None => drop(self.overrides.remove(&of)),
        }
        for (rate, of) in before {
            let after = self.limit_of(&of).rate;
            // What a breaker has heard of it keeps it, without a rate as well.
            let limits_nothing = || after.is_none() && !live.contains(&of) && self.hears_nothing(&of, now);
            if idle.contains(&of) || limits_nothing() {
                self.tokens.remove(&of);
            } else if after != rate {
                self.tokens.insert(of, (0, now.mono.0));
            }
        }
        self.passed.clear();
    }

    /// Attempts that may run at once.
    fn slots_of(&self, queue: usize) -> u32 {
        let over = self.overrides.get(&LimitOf::Queue(self.settings.queues[queue].name.clone()));
        let slots = over.and_then(|over| over.slots).unwrap_or(self.slots[queue]);
        if self.slots[queue] == 0 { 0 } else { slots }
    }

    pub(crate) fn has_room(&self, queue: usize) -> bool {
        !self.draining && !self.paused.contains(&queue) && self.running(queue) < self.slots_of(queue)
    }

    pub(crate) fn running_of(&self, of: &Of) -> u32 {
        let shares =
            |job: &Job, no: usize| self.settings.queues[job.queue].shares.contains(&self.settings.shared[no].name);
        let counts = |job: &&Job| {
            let (is_there, key) = match of {
                Of::Queue(queue, key) => (job.queue == *queue, key),
                Of::Shared(no, key) => (shares(job, *no), key),
            };
            job.state == State::Running && is_there && (key.is_none() || job.share.key == *key)
        };
        self.jobs.values().filter(counts).count() as u32
    }

    /// Tokens by now, in parts of its period.
    pub(crate) fn tokens_of(&self, of: &Of, rate: Rate, now: Now) -> i128 {
        let (tokens, since) = self.tokens.get(of).copied().unwrap_or((0, self.began));
        let tokens = tokens + i128::from(now.mono.0 - since) * i128::from(rate.jobs);
        tokens.min(i128::from(rate.period_ms) * i128::from(rate.burst))
    }

    pub(crate) fn is_closed(&self, limits: &[(Of, Limit)], weight: u32, now: Now) -> bool {
        limits.iter().any(|(of, limit)| {
            let is_full = limit.slots.is_some_and(|slots| self.running_of(of) >= slots);
            let wanted = |rate: Rate| i128::from(weight.min(rate.burst)) * i128::from(rate.period_ms);
            is_full
                || self.is_tripped(of, limit, now)
                || limit.rate.is_some_and(|rate| self.tokens_of(of, rate, now) < wanted(rate))
        })
    }

    /// A job starts: it counts for every rate.
    pub(crate) fn take_tokens(&mut self, id: JobId, now: Now) {
        let job = &self.jobs[&id];
        let (of_all, of_key) = self.limits_of(job);
        let weight = i128::from(job.share.weight);
        for (of, limit) in of_all.into_iter().chain(of_key) {
            if let Some(rate) = limit.rate {
                let left = self.tokens_of(&of, rate, now) - weight * i128::from(rate.period_ms);
                self.tokens.insert(of, (left, now.mono.0));
            }
        }
    }

    /// Until when rates alone may hold up a queue at most, if they do.
    pub(crate) fn next_by_rate(&self, queue: usize, now: Now) -> Option<u64> {
        let is_full = |(of, limit): &(Of, Limit)| {
            let tries =
                || self.is_tripped(of, limit, now) && self.opens_again(of, now).is_some_and(|at| at <= now.mono.0);
            limit.slots.is_some_and(|slots| self.running_of(of) >= slots) || tries()
        };
        let opens = |id: JobId| {
            let job = &self.jobs[&id];
            let (of_all, of_key) = self.limits_of(job);
            let limits: Vec<_> = of_all.into_iter().chain(of_key).collect();
            let by_rate = |of: &Of, rate: Option<Rate>| {
                let rate = rate?;
                let (tokens, since) = self.tokens.get(of).copied().unwrap_or((0, self.began));
                let wanted = i128::from(job.share.weight.min(rate.burst)) * i128::from(rate.period_ms) - tokens;
                Some(since + u64::try_from(wanted.max(0)).unwrap().div_ceil(u64::from(rate.jobs)))
            };
            let at = |(of, limit): &(Of, Limit)| by_rate(of, limit.rate).max(self.opens_again(of, now));
            if limits.iter().any(is_full) { None } else { limits.iter().filter_map(at).max() }
        };
        self.fronts(queue, now).into_iter().filter(|_| self.has_room(queue)).filter_map(opens).max()
    }
}
