//! The naive oracle: what a shard has to look like, said with plain maps and walks over all of them.
//!
//! It shares no structure with the core: no lines, no slots, no lists. It is cloned at every seal, so that a crash can
//! go back to what a wave left (I1), and it counts what I11 conserves.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::change::Counters;
use windlass_scheduler::job::{JobId, Name, NewJob, When};
use windlass_scheduler::limit::{LimitOf, Override, Share};
use windlass_scheduler::order::{Order, OrderId};
use windlass_scheduler::recurrence::Schedule;
use windlass_scheduler::retry::RetryPolicy;
use windlass_scheduler::settings::{KeepDone, Level, ShardSettings};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;
use windlass_scheduler::unique::{Held, Unique};

use super::breaker::Ear;
use super::rate::Of;
use super::settings::kind;
use super::turns::Passed;
use super::unique::Place;

/// A live job.
// As many facts as there are, no state machine hides in them.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) queue: usize,
    pub(crate) kind: Name,
    pub(crate) payload: Bytes,
    pub(crate) priority: u8,
    pub(crate) turn: i64,
    /// How often another job took its place.
    pub(crate) replaced: u32,
    pub(crate) state: State,
    /// Since when it stands in line.
    pub(crate) ready_since: u64,
    pub(crate) due: Option<u64>,
    pub(crate) by_wall: bool,
    /// When it is due, by the clock that it goes by.
    pub(crate) clock: i64,
    pub(crate) expires: Option<u64>,
    /// By the wall clock, all attempts together.
    pub(crate) ends_by: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) policy: Option<RetryPolicy>,
    pub(crate) attempts_ended: u32,
    pub(crate) failures: u32,
    pub(crate) lost: u32,
    pub(crate) cancel: bool,
    pub(crate) was_suspect: bool,
    pub(crate) deadline: Option<u64>,
    pub(crate) overdue: bool,
    pub(crate) tag: String,
    pub(crate) created: u64,
    pub(crate) unique: Option<Unique>,
    pub(crate) share: Share,
    /// The key that it has, or waits for.
    pub(crate) key: Option<Place>,
    /// What its attempts left for the next one.
    pub(crate) checkpoint: Option<Bytes>,
}

/// A retained one.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) queue: usize,
    pub(crate) kind: Name,
    pub(crate) payload: Bytes,
    pub(crate) state: EndState,
    pub(crate) end_no: u64,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
    pub(crate) edits: u32,
    pub(crate) output: Output,
    pub(crate) job: Job,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) settings: ShardSettings,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) ended: BTreeMap<JobId, Ended>,
    pub(crate) counters: Vec<Counters>,
    pub(crate) paused: BTreeSet<usize>,
    pub(crate) slots: Vec<u32>,
    /// What is left of rates, in parts of their periods, and since when; of the others nothing was taken since the process began.
    pub(crate) tokens: BTreeMap<Of, (i128, u64)>,
    /// What breakers have heard.
    pub(crate) ears: BTreeMap<Of, Ear>,
    /// What retries have left of each queue's starts, in hundredths of one.
    pub(crate) credit: BTreeMap<usize, u32>,
    pub(crate) began: u64,
    /// The monotonic clock.
    pub(crate) now_ms: u64,
    pub(crate) overrides: BTreeMap<LimitOf, Override>,
    pub(crate) passed: Passed,
    /// The last token that was seen.
    pub(crate) last_token: u64,
    pub(crate) suspects_max: u32,
    pub(crate) draining: bool,
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) schedules: BTreeMap<Name, Schedule>,
    /// Who has each key, and which may be free after the step at hand.
    pub(crate) keys: BTreeMap<Place, Held>,
    pub(crate) free_keys: Vec<Place>,
    pub(crate) next_turn: i64,
    /// How jobs ended in the step at hand, for those who watch.
    pub(crate) endings: Vec<(JobId, usize, EndState, Output)>,
    /// What follows the success at hand as soon as that is written.
    pub(crate) later: Vec<NewJob>,
}

impl Job {
    /// Bytes of its labels.
    pub(crate) fn label_bytes(&self) -> usize {
        let key = self.share.key.as_ref().map_or(0, |key| key.len());
        super::TAG_BYTES + self.unique.as_ref().map_or(0, |unique| unique.key.bytes()) + key
    }

    /// Every move of every job is one that the table of moves has; the core is held to the same moves by `check`.
    pub(crate) fn moves_to(&mut self, state: State) {
        assert!(self.state.may_become(state), "{:?} -> {state:?} is no move", self.state);
        self.state = state;
    }
}

/// From when on it is not started, and from when on it does not run.
pub(crate) fn ends(new: &NewJob, now: Now) -> (Option<u64>, Option<u64>) {
    let by_wall = |when: When| match when {
        When::After(ms) => now.wall.0 + ms,
        When::At(at) => at.0,
    };
    let (expires, deadline) = (new.expires.map(by_wall), new.deadline.map(by_wall));
    (expires.map_or(deadline, |expires| Some(deadline.map_or(expires, |deadline| deadline.min(expires)))), deadline)
}

impl World {
    pub(crate) fn new(settings: ShardSettings) -> Self {
        Self {
            counters: settings.queues.iter().map(|queue| Counters::new(queue.name.clone())).collect(),
            slots: settings.queues.iter().map(|queue| queue.slots).collect(),
            tokens: BTreeMap::new(),
            ears: BTreeMap::new(),
            credit: BTreeMap::new(),
            began: 0,
            now_ms: 0,
            overrides: BTreeMap::new(),
            passed: Passed::new(),
            last_token: 0,
            jobs: BTreeMap::new(),
            ended: BTreeMap::new(),
            paused: BTreeSet::new(),
            suspects_max: u32::MAX,
            draining: false,
            orders: BTreeMap::new(),
            schedules: BTreeMap::new(),
            keys: BTreeMap::new(),
            free_keys: Vec::new(),
            next_turn: 1,
            endings: Vec::new(),
            later: Vec::new(),
            settings,
        }
    }

    pub(crate) fn queue_no(&self, name: &Name) -> Option<usize> {
        self.settings.queues.iter().position(|queue| queue.name == *name)
    }

    pub(crate) fn level(&self, queue: usize) -> Level {
        self.settings.queues[queue].level
    }

    pub(crate) fn depth(&self, queue: usize) -> u64 {
        self.jobs.values().filter(|job| job.queue == queue && job.state != State::Running).count() as u64
    }

    pub(crate) fn running(&self, queue: usize) -> u32 {
        self.jobs.values().filter(|job| job.queue == queue && job.state == State::Running).count() as u32
    }

    pub(crate) fn turn(&mut self) -> i64 {
        self.next_turn += 1;
        self.next_turn - 1
    }

    pub(crate) fn enqueue(&mut self, new: &NewJob, now: Now) {
        let queue = self.queue_no(&new.queue).unwrap();
        let turn = self.turn();
        let (due, clock, by_wall) = match new.due {
            Some(When::After(ms)) => (Some(now.wall.0 + ms), (now.mono.0 + ms) as i64, false),
            Some(When::At(at)) => (Some(at.0), at.0 as i64, true),
            None => (None, 0, false),
        };
        let due = due.filter(|due| *due > now.wall.0);
        let (expires, ends_by) = ends(new, now);
        let job = Job {
            replaced: 0,
            queue,
            kind: new.kind.clone(),
            payload: new.body.payload.clone(),
            priority: new.priority.unwrap_or(self.settings.queues[queue].priority).0,
            turn,
            state: State::Delayed,
            ready_since: 0,
            due,
            by_wall,
            clock,
            expires,
            ends_by,
            timeout_ms: new.timeout_ms,
            policy: new.retry.clone(),
            attempts_ended: 0,
            failures: 0,
            lost: 0,
            cancel: false,
            was_suspect: false,
            deadline: None,
            overdue: false,
            tag: new.body.labels.tags()[0].clone(),
            created: now.wall.0,
            unique: new.body.labels.unique().cloned(),
            share: new.body.labels.share().clone(),
            key: self.place_of(new),
            checkpoint: None,
        };
        self.jobs.insert(new.id, job);
        self.counters[queue].enqueued += 1;
        if due.is_none() {
            self.stand(new.id);
        }
    }

    /// A job is ready, or parked where nobody can run it.
    pub(crate) fn stand(&mut self, id: JobId) {
        let job = self.jobs.get_mut(&id).unwrap();
        (job.due, job.ready_since) = (None, self.now_ms);
        let is_handled = kind(&self.settings, &job.kind).is_some();
        job.moves_to(if is_handled { State::Ready } else { State::Parked });
    }

    /// A job's life ends.
    pub(crate) fn close(&mut self, id: JobId, end: EndState, output: Output, failure: Option<&Failure>, now: Now) {
        let mut job = self.jobs.remove(&id).unwrap();
        job.moves_to(end.into());
        self.let_go(job.key.take());
        let retention = &self.settings.queues[job.queue].retention;
        let limits = retention.keep(end);
        let error = failure.map_or(0, |failure| failure.message.len());
        let bytes = (job.label_bytes() + job.payload.len() + output.kept_bytes() + error) as u64;
        let is_wanted = end != EndState::Done
            || match retention.keep_done {
                KeepDone::None => false,
                KeepDone::WithOutput => output != Output::None,
                KeepDone::All => true,
            };
        let counters = &mut self.counters[job.queue];
        match end {
            EndState::Done => counters.done_total += 1,
            EndState::Dead => counters.dead_total += 1,
            EndState::Cancelled => counters.cancelled_total += 1,
            EndState::Expired => counters.expired_total += 1,
        }
        self.endings.push((id, job.queue, end, output.clone()));
        if !is_wanted || limits.count_max == 0 || bytes > limits.bytes_max {
            counters.purged += 1;
            return;
        }
        counters.ends += 1;
        let ended = Ended {
            queue: job.queue,
            kind: job.kind.clone(),
            payload: job.payload.clone(),
            state: end,
            end_no: counters.ends,
            at: now.wall.0,
            bytes,
            edits: 0,
            output,
            job,
        };
        self.ended.insert(id, ended);
    }

    /// Forgets the oldest retained jobs until what is left is within the limits.
    pub(crate) fn trim(&mut self, queue: usize, now: Now) {
        for end in EndState::ALL {
            let limits = *self.settings.queues[queue].retention.keep(end);
            loop {
                let kept = || self.ended.iter().filter(|(_, one)| one.queue == queue && one.state == end);
                let Some((id, oldest)) = kept().min_by_key(|(_, one)| one.end_no) else { break };
                let bytes: u64 = kept().map(|(_, one)| one.bytes).sum();
                let is_over = kept().count() as u64 > limits.count_max || bytes > limits.bytes_max;
                if !is_over && oldest.at + limits.age_ms > now.wall.0 {
                    break;
                }
                let id = *id;
                self.forget(id);
            }
        }
    }

    pub(crate) fn forget(&mut self, id: JobId) {
        let ended = self.ended.remove(&id).unwrap();
        self.counters[ended.queue].purged += 1;
    }

    /// One that waits is called off, and nothing is kept of it.
    pub(crate) fn drop_job(&mut self, id: JobId) {
        let mut job = self.jobs.remove(&id).unwrap();
        job.moves_to(State::Cancelled);
        self.let_go(job.key.take());
        self.counters[job.queue].cancelled_total += 1;
        self.counters[job.queue].purged += 1;
        self.endings.push((id, job.queue, EndState::Cancelled, Output::None));
    }

    pub(crate) fn new_turn(&mut self, id: JobId) {
        let turn = self.turn();
        self.jobs.get_mut(&id).unwrap().turn = turn;
    }

    /// A retained job comes back, with a fresh budget and the payload that was read.
    pub(crate) fn requeue(&mut self, id: JobId, payload: Bytes) {
        let Ended { job, queue, .. } = self.ended.remove(&id).unwrap();
        let turn = self.turn();
        let back = Job {
            replaced: 0,
            turn,
            payload,
            expires: None,
            ends_by: None,
            failures: 0,
            lost: 0,
            cancel: false,
            was_suspect: false,
            ..job
        };
        self.jobs.insert(id, back);
        self.link_key(id);
        self.counters[queue].requeued += 1;
        self.stand(id);
    }

    /// An attempt's end is taken note of.
    pub(crate) fn end(&mut self, id: JobId, outcome: Outcome, now: Now) {
        let total: u32 = self.settings.queues.iter().map(|queue| queue.slots).sum();
        self.hear(id, &outcome, now);
        let job = self.jobs.get_mut(&id).unwrap();
        let queue = job.queue;
        job.attempts_ended += 1;
        job.lost = 0;
        (job.deadline, job.overdue) = (None, false);
        if std::mem::take(&mut job.was_suspect) && self.suspects_max != u32::MAX {
            let doubled = self.suspects_max * 2;
            self.suspects_max = if doubled >= total { u32::MAX } else { doubled };
        }
        if job.cancel && !matches!(outcome, Outcome::Done { .. }) {
            let failure = match outcome {
                Outcome::Failed { failure, .. } => Some(failure),
                Outcome::Cancelled { reason } => Some(Failure::new(FailureKind::Error, reason)),
                Outcome::Released => Some(Failure::new(FailureKind::Error, "stopped with the engine".into())),
                _ => None,
            };
            self.close(id, EndState::Cancelled, Output::None, failure.as_ref(), now);
        } else {
            self.end_by_outcome(id, outcome, now);
        }
        self.trim_if_ended(id, queue, now);
        self.settle_keys(now);
    }

    fn end_by_outcome(&mut self, id: JobId, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Done { output, follow_ups } => {
                let is_volatile = |queue: usize| self.level(queue) == Level::Memory;
                let waits = |job: &NewJob| is_volatile(self.queue_no(&job.queue).unwrap());
                let is_journaled = !is_volatile(self.jobs[&id].queue);
                let (later, at_once): (Vec<_>, _) = follow_ups.into_iter().partition(|job| is_journaled && waits(job));
                let queue = self.jobs[&id].queue;
                self.close(id, EndState::Done, output, None, now);
                self.trim_if_ended(id, queue, now);
                self.settle_keys(now);
                self.follow(at_once.into_iter().filter(|job: &NewJob| job.id != id), now);
                self.later = later;
            }
            Outcome::Failed { failure, retry } => {
                let job = self.jobs.get_mut(&id).unwrap();
                let (queue, failures) = (job.queue, job.failures + 1);
                job.failures = failures;
                let of_kind = kind(&self.settings, &job.kind).and_then(|kind| kind.retry.as_ref());
                let policy = job.policy.as_ref().or(of_kind).unwrap_or(&self.settings.queues[queue].retry);
                let delay = policy.delay_ms(failures, id).map(|ms| if let Retry::After(ms) = retry { ms } else { ms });
                self.counters[queue].failures += 1;
                let left = self.jobs[&id].ends_by.map(|ends_by| ends_by.saturating_sub(now.wall.0));
                let is_in_time = |ms: &u64| retry != Retry::Never && left.is_none_or(|left| *ms < left);
                match delay.filter(is_in_time) {
                    Some(ms) => {
                        self.counters[queue].retries += 1;
                        self.delay(id, ms, now);
                    }
                    None => self.close(id, EndState::Dead, Output::None, Some(&failure), now),
                }
            }
            Outcome::Snoozed { delay_ms: 0 } => {
                let turn = self.turn();
                self.jobs.get_mut(&id).unwrap().turn = turn;
                self.stand(id);
            }
            Outcome::Snoozed { delay_ms } => self.delay(id, delay_ms, now),
            Outcome::Cancelled { reason } => {
                let failure = Failure::new(FailureKind::Error, reason);
                self.close(id, EndState::Cancelled, Output::None, Some(&failure), now);
            }
            Outcome::Released => self.stand(id),
        }
    }

    /// Jobs come in behind a success.
    pub(crate) fn follow(&mut self, jobs: impl IntoIterator<Item = NewJob>, now: Now) {
        for job in jobs {
            let _ = self.meet(&job, now);
        }
    }

    /// A job that was kept has older ones make room.
    pub(crate) fn trim_if_ended(&mut self, id: JobId, queue: usize, now: Now) {
        if self.ended.contains_key(&id) {
            self.trim(queue, now);
        }
    }

    fn delay(&mut self, id: JobId, ms: u64, now: Now) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.moves_to(State::Delayed);
        job.due = Some(now.wall.0 + ms);
        job.by_wall = false;
        job.clock = (now.mono.0 + ms) as i64;
    }

    /// Delays of this clock that are over.
    pub(crate) fn fall_due(&mut self, queue: usize, by_wall: bool, now: Now) {
        let clock = if by_wall { now.wall.0 } else { now.mono.0 } as i64;
        let is_due = |job: &Job| {
            job.queue == queue && job.state == State::Delayed && job.by_wall == by_wall && job.clock <= clock
        };
        let mut due: Vec<_> =
            self.jobs.iter().filter(|(_, job)| is_due(job)).map(|(id, job)| (job.clock, job.turn, *id)).collect();
        due.sort_unstable();
        for (_, _, id) in due {
            let turn = self.turn();
            self.jobs.get_mut(&id).unwrap().turn = turn;
            self.stand(id);
        }
    }

    pub(crate) fn expire(&mut self, queue: usize, now: Now) {
        let is_late = |job: &Job| job.expires.is_some_and(|expires| expires <= now.wall.0);
        let mut late: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.queue == queue && job.state != State::Running && is_late(job))
            .map(|(id, job)| (job.expires, job.turn, *id))
            .collect();
        late.sort_unstable();
        for (_, _, id) in &late {
            self.close(*id, EndState::Expired, Output::None, None, now);
        }
        if late.iter().any(|(_, _, id)| self.ended.contains_key(id)) {
            self.trim(queue, now);
        }
    }
}
