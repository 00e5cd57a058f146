//! Whose turn it may be, made on the oracle: where several keys may go, the shard is asked which one it was, and judged for it.
//!
//! Guards I13 (nothing that may go is left behind) and I14 (fair turns). It keeps no order of turns, only how often others went first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use windlass_scheduler::attempt::Output;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::limit::LimitOf;
use windlass_scheduler::shard::Shard;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::{Now, Timestamp};

use super::settings::{kind, timeout_ms};
use super::world::{Job, World};

/// What the shard did at a seal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: VecDeque<JobId>,
    pub(crate) last_token: u64,
    /// What it has retained, and the number of each end.
    ended: BTreeMap<JobId, u64>,
    /// What lives, and when it came: an id may come again.
    live: BTreeMap<JobId, Timestamp>,
}

impl Seen {
    pub(crate) fn of(shard: &Shard, last_token: u64, term: u64) -> Self {
        let leases = shard.running_leases().into_iter();
        let new: Vec<_> = leases.filter(|(_, token)| token.term == term && token.n > last_token).collect();
        let last_token = new.last().map_or(last_token, |(_, token)| token.n);
        let started = new.into_iter().map(|(id, _)| id);
        let portrait = shard.portrait();
        let live = portrait.jobs.into_iter().map(|(id, (_, _, head, _))| (id, head.created));
        let ended = portrait.retained.into_iter().map(|(id, (_, _, end_no))| (id, end_no)).collect();
        Self { last_token, started: started.collect(), ended, live: live.collect() }
    }

    /// Of these, the one that ended first, of those that ended, and when: what is not retained any more ended before the others.
    fn first_gone<'a>(&self, late: impl Iterator<Item = (&'a JobId, &'a Job)>) -> Option<JobId> {
        let gone = late.filter(|(id, job)| self.live.get(*id).is_none_or(|created| created.0 != job.created));
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
    fn kind_is_free(&self, name: &Name) -> bool {
        let running = || self.jobs.values().filter(|job| job.state == State::Running && job.kind == *name).count();
        kind(&self.settings, name).and_then(|kind| kind.slots).is_none_or(|slots| running() < slots as usize)
    }

    /// Whether a job of this queue may start, whatever its expiry and its key.
    pub(crate) fn may_run(&self, queue: usize, job: &Job) -> bool {
        let suspects = || self.jobs.values().filter(|job| job.state == State::Running && job.was_suspect).count();
        let is_free = || job.lost < 2 || (suspects() as u32) < self.suspects_max;
        job.queue == queue && job.state == State::Ready && is_free() && self.kind_is_free(&job.kind)
    }

    /// Starts what was seen to start, one after the other: whether that was anything.
    pub(crate) fn claim(&mut self, queue: usize, seen: &mut Seen, now: Now) -> bool {
        let mut did = false;
        while let Some(step) = self.next_step(queue, seen, now) {
            did = true;
            let id = match step {
                Step::Expire(id) => {
                    self.close(id, EndState::Expired, Output::None, None, now);
                    self.trim_if_ended(id, queue, now);
                    continue;
                }
                Step::Start(id) => id,
            };
            seen.started.pop_front();
            self.pass(id, now);
            self.take_tokens(id, now);
            self.note_try(id, now);
            let timeout_ms = timeout_ms(&self.settings, &self.jobs[&id], now);
            let job = self.jobs.get_mut(&id).unwrap();
            job.moves_to(State::Running);
            job.was_suspect = job.lost >= 2;
            job.overdue = false;
            job.deadline = timeout_ms.map(|ms| now.mono.0 + ms);
            self.counters[queue].attempts += 1;
            let key = self.jobs[&id].key.clone();
            self.let_go(key);
        }
        did
    }

    /// Of each key the job that is next, as far as lanes go.
    pub(crate) fn fronts(&self, queue: usize, now: Now) -> Vec<JobId> {
        let mut fronts: BTreeMap<&Option<Arc<str>>, (u8, i64, JobId)> = BTreeMap::new();
        for (id, job) in self.pool(queue, now) {
            let rank = (job.priority, job.turn, id);
            let front = fronts.entry(&job.share.key).or_insert(rank);
            *front = rank.min(*front);
        }
        fronts.into_values().map(|(_, _, id)| id).collect()
    }

    /// The one that has waited longest, if that is too long.
    fn elder(&self, queue: usize, now: Now) -> Option<JobId> {
        let ages_after_ms = self.settings.queues[queue].ages_after_ms?;
        let is_open = |job: &Job| !self.is_closed(&self.limits_of(job).1, job.share.weight, now);
        let pool = self.pool(queue, now);
        let aged = pool.iter().filter(|(_, job)| job.ready_since + ages_after_ms <= now.mono.0 && is_open(job));
        aged.min_by_key(|(_, job)| (job.ready_since, job.turn)).map(|(id, _)| *id)
    }

    /// Those of the fronts whose turn it can be.
    fn most_urgent(&self, queue: usize, now: Now) -> Vec<JobId> {
        if let Some(elder) = self.elder(queue, now) {
            return vec![elder];
        }
        let mut open = self.fronts(queue, now);
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
        // Not yet: a call that waits for room may turn it into another one. If not, it was one too many.
        let is_closed = self.is_closed(&self.limits_of(&self.jobs[&id]).0, self.jobs[&id].share.weight, now);
        (!is_closed && !is_late(&self.jobs[&id])).then_some(Step::Start(id))
    }

    /// Nothing is left in a queue that may start. Who may not for its key's sake has stepped aside, and comes back behind the others.
    pub(crate) fn check_rest(&mut self, queue: usize, now: Now) {
        let stays = |id: &JobId| !self.is_closed(&self.limits_of(&self.jobs[id]).1, self.jobs[id].share.weight, now);
        let stay: Vec<_> = self.fronts(queue, now).into_iter().filter(stays).collect();
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
        if self.elder(queue, now) == Some(id) {
            return;
        }
        let settings = &self.settings.queues[queue];
        let weight = key.as_ref().map_or(1, |key| {
            let over = self.overrides.get(&LimitOf::key(settings.name.as_str(), key)).and_then(|over| over.weight);
            over.or_else(|| settings.key_weights.get(&**key).copied()).unwrap_or(1)
        });
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
}
