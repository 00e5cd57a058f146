//! Limits, made on the oracle: counts of what runs, and tokens that come with time, as the words say it; and whose turn it may be.
//!
//! Guards I13 (no limit is ever a start over) and I14 (fair turns). Where several keys may go, the shard is asked which one it was, and
//! judged for it: the oracle keeps no order of turns, only how often others went first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use windlass_scheduler::job::JobId;
use windlass_scheduler::limit::{Limit, Share};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::shard::Shard;
use windlass_scheduler::state::State;
use windlass_scheduler::time::{Now, Timestamp};

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

/// What the shard did at a seal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: VecDeque<JobId>,
    pub(crate) last_token: u64,
    /// What it has retained, and the number of each end.
    ended: BTreeMap<JobId, u64>,
    /// What lives, and when it came and expires: an id may come again.
    live: BTreeMap<JobId, (Timestamp, Option<Timestamp>)>,
}

impl Seen {
    pub(crate) fn of(shard: &Shard, last_token: u64, term: u64) -> Self {
        let leases = shard.running_leases().into_iter();
        let new: Vec<_> = leases.filter(|(_, token)| token.term == term && token.n > last_token).collect();
        let last_token = new.last().map_or(last_token, |(_, token)| token.n);
        let started = new.into_iter().map(|(id, _)| id);
        let portrait = shard.portrait();
        let live = portrait.jobs.into_iter().map(|(id, (_, _, head, _))| (id, (head.created, head.expires)));
        let ended = portrait.retained.into_iter().map(|(id, (_, _, end_no))| (id, end_no)).collect();
        Self { last_token, started: started.collect(), ended, live: live.collect() }
    }

    /// Of these, the one that ended first, of those that ended, and when: what is not retained any more ended before the others.
    fn first_gone<'a>(&self, late: impl Iterator<Item = (&'a JobId, &'a Job)>) -> Option<JobId> {
        let is_it = |job: &Job, live: &(Timestamp, Option<Timestamp>)| {
            (live.0.0, live.1.map(|at| at.0)) == (job.created, job.expires)
        };
        let gone = late.filter(|(id, job)| !self.live.get(id).is_some_and(|live| is_it(job, live)));
        gone.map(|(id, _)| *id).min_by_key(|id| self.ended.get(id).copied().unwrap_or_default())
    }
}

/// What a queue does next.
pub(crate) enum Step {
    Expire(JobId),
    Start(JobId),
}

/// How often each other key went since this job is the next one of its own key, there, at that priority and place, and may go.
pub(crate) type Passed = BTreeMap<(usize, u8, JobId, i64), BTreeMap<Option<Arc<str>>, u32>>;

impl World {
    /// What limits the starts of a job: its queue's rate and what that shares, and the limits of its key.
    fn limits_of(&self, job: &Job) -> (Limits, Limits) {
        let settings = &self.settings.queues[job.queue];
        let shared = || {
            let named =
                settings.shares.iter().map(|name| self.settings.shared.iter().position(|one| one.name == *name));
            named.flatten().map(|no| (no, &self.settings.shared[no]))
        };
        let mut of_all = vec![(Of::Queue(job.queue, None), Limit { slots: None, rate: settings.rate })];
        of_all.extend(shared().map(|(no, one)| (Of::Shared(no, None), one.all)));
        let Some(key) = &job.share.key else { return (of_all, Vec::new()) };
        let mut of_key = vec![(Of::Queue(job.queue, Some(key.clone())), settings.keys.of(key))];
        of_key.extend(shared().map(|(no, one)| (Of::Shared(no, Some(key.clone())), one.keys.of(key))));
        (of_all, of_key)
    }

    fn has_room(&self, queue: usize) -> bool {
        !self.draining && !self.paused.contains(&queue) && self.running(queue) < self.slots[queue]
    }

    fn running_of(&self, of: &Of) -> u32 {
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
    fn tokens_of(&self, of: &Of, rate: Rate, now: Now) -> i128 {
        let (tokens, since) = self.tokens.get(of).copied().unwrap_or((0, self.began));
        let tokens = tokens + i128::from(now.mono.0 - since) * i128::from(rate.jobs);
        tokens.min(i128::from(rate.period_ms) * i128::from(rate.burst))
    }

    fn is_closed(&self, limits: &[(Of, Limit)], weight: u32, now: Now) -> bool {
        limits.iter().any(|(of, limit)| {
            let is_full = limit.slots.is_some_and(|slots| self.running_of(of) >= slots);
            let wanted = |rate: Rate| i128::from(weight.min(rate.burst)) * i128::from(rate.period_ms);
            is_full || limit.rate.is_some_and(|rate| self.tokens_of(of, rate, now) < wanted(rate))
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

    /// Of each key the job that is next, as far as lanes go.
    fn fronts(&self, queue: usize) -> Vec<JobId> {
        let mut fronts: BTreeMap<&Option<Arc<str>>, (u8, i64, JobId)> = BTreeMap::new();
        for (id, job) in self.jobs.iter().filter(|(_, job)| self.may_run(queue, job)) {
            let rank = (job.priority, job.turn, *id);
            let front = fronts.entry(&job.share.key).or_insert(rank);
            *front = rank.min(*front);
        }
        fronts.into_values().map(|(_, _, id)| id).collect()
    }

    /// Those of the fronts whose turn it can be.
    fn most_urgent(&self, queue: usize, now: Now) -> Vec<JobId> {
        let mut open = self.fronts(queue);
        open.retain(|id| !self.is_closed(&self.limits_of(&self.jobs[id]).1, self.jobs[id].share.weight, now));
        let most = open.iter().map(|id| self.jobs[id].priority).min();
        open.retain(|id| Some(self.jobs[id].priority) == most);
        open
    }

    /// What a queue with a free slot does next, as it was seen to do: what is late and gone went before what started.
    pub(crate) fn next_step(&self, queue: usize, seen: &Seen, now: Now) -> Option<Step> {
        let is_late = |job: &Job| job.expires.is_some_and(|expires| expires <= now.wall.0);
        let is_ready = |job: &Job| job.queue == queue && job.state == State::Ready;
        let late = self.jobs.iter().filter(|(_, job)| is_ready(job) && is_late(job));
        if let Some(id) = seen.first_gone(late) {
            return Some(Step::Expire(id));
        }
        if !self.has_room(queue) {
            return None;
        }
        let id = *seen.started.front().filter(|id| self.most_urgent(queue, now).contains(id))?;
        let is_closed = self.is_closed(&self.limits_of(&self.jobs[&id]).0, self.jobs[&id].share.weight, now);
        assert!(!is_closed, "I13: {id} started over a limit: {:?}", self.tokens);
        assert!(!is_late(&self.jobs[&id]), "{id} started too late");
        Some(Step::Start(id))
    }

    /// Nothing is left in a queue that may start. Who may not for its key's sake has stepped aside, and comes back behind the others.
    pub(crate) fn check_rest(&mut self, queue: usize, now: Now) {
        let stays = |id: &JobId| !self.is_closed(&self.limits_of(&self.jobs[id]).1, self.jobs[id].share.weight, now);
        let stay: Vec<_> = self.fronts(queue).into_iter().filter(stays).collect();
        self.forget_passed(queue, &stay);
        if !self.has_room(queue) {
            return;
        }
        let may = self.most_urgent(queue, now);
        let is_open = |id: &JobId| !self.is_closed(&self.limits_of(&self.jobs[id]).0, self.jobs[id].share.weight, now);
        // Where the turn may be one's that counts for more, the others wait with it.
        assert!(may.is_empty() || !may.iter().all(is_open), "these may start, or are late and in the way: {may:?}");
    }

    /// One of these started: nobody else of that priority waits longer than a turn of its key.
    pub(crate) fn pass(&mut self, id: JobId, now: Now) {
        let (queue, priority, key) = (self.jobs[&id].queue, self.jobs[&id].priority, self.jobs[&id].share.key.clone());
        let weights = &self.settings.queues[queue].key_weights;
        let weight = key.as_ref().and_then(|key| weights.get(&**key)).copied().unwrap_or(1);
        let mut others = self.most_urgent(queue, now);
        others.retain(|other| *other != id);
        self.forget_passed(queue, &others);
        for other in others {
            let times = self
                .passed
                .entry((queue, priority, other, self.jobs[&other].turn))
                .or_default()
                .entry(key.clone())
                .or_default();
            *times += 1;
            assert!(*times <= weight, "I14: {key:?} went {times} times, and {other} waits at {priority} of {queue}");
        }
    }

    fn forget_passed(&mut self, queue: usize, but: &[JobId]) {
        self.passed.retain(|(of, _, id, _), _| *of != queue || but.contains(id));
    }

    /// Until when rates alone may hold up a queue at most, if they do.
    pub(crate) fn next_by_rate(&self, queue: usize) -> Option<u64> {
        let is_full = |(of, limit): &(Of, Limit)| limit.slots.is_some_and(|slots| self.running_of(of) >= slots);
        let opens = |id: JobId| {
            let job = &self.jobs[&id];
            let (of_all, of_key) = self.limits_of(job);
            let limits: Vec<_> = of_all.into_iter().chain(of_key).collect();
            let at = |(of, limit): &(Of, Limit)| {
                let rate = limit.rate?;
                let (tokens, since) = self.tokens.get(of).copied().unwrap_or((0, self.began));
                let wanted = i128::from(job.share.weight.min(rate.burst)) * i128::from(rate.period_ms) - tokens;
                Some(since + u64::try_from(wanted.max(0)).unwrap().div_ceil(u64::from(rate.jobs)))
            };
            if limits.iter().any(is_full) { None } else { limits.iter().filter_map(at).max() }
        };
        self.fronts(queue).into_iter().filter(|_| self.has_room(queue)).filter_map(opens).max()
    }
}
