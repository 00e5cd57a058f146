//! The oracle against the shard: what a crash leaves of a world, and every way in which the two have to agree.
//!
//! I1 (a loaded shard is the world that its wave left), I3 (everything in one place), I4 (one claim for each running
//! job), I11 (counters), and the law that no record stands which the state does not imply.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use windlass_scheduler::attempt::{AttemptResult, Failure, FailureKind, Output};
use windlass_scheduler::change::{AttemptRecord, Claim, Counters, EndedKey, JobRecord, Key, Record};
use windlass_scheduler::command::{QueueNo, TimerClass};
use windlass_scheduler::effect::Deadline;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::settings::Level;
use windlass_scheduler::shard::Shard;
use windlass_scheduler::shard::audit::Portrait;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use super::common::{Driver, Store, log_of};
use super::play::Play;
use super::settings::timeout_ms;
use super::world::{Ended, Job, World};

/// What dies before a new shard is loaded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Death {
    /// Nothing: it is a rebuild.
    None,
    OfProcess,
    /// Of what was written and not synced, this many waves survive.
    OfPower {
        surviving: usize,
    },
}

impl Play {
    /// A new shard: after the process died (with or without the power), or within it.
    pub(crate) fn restart(&mut self, death: Death) {
        let twin = (death == Death::None).then_some(&self.twin);
        self.world = match death {
            Death::OfPower { surviving } => self.synced[surviving.min(self.synced.len() - 1)].compose(twin),
            Death::None | Death::OfProcess => self.written.compose(twin),
        };
        self.world.slots.clone_from(&self.driver.slots);
        (self.written, self.twin) = (self.world.clone(), self.world.clone());
        let surviving = if let Death::OfPower { surviving } = death { Some(surviving) } else { None };
        if death != Death::None {
            self.driver.crash(surviving);
        }
        match &mut self.told {
            Some(told) if death == Death::None => told.fell(),
            Some(told) => told.died(surviving, &self.driver.journal),
            None => {}
        }
        let claims: Vec<_> = self.driver.journal.claims().chain(self.driver.twin.claims()).copied().collect();
        let is_open = |one: &Claim| self.world.jobs.get(&one.id).is_some_and(|job| one.attempt > job.attempts_ended);
        let table: Vec<_> = self.driver.live.values().cloned().collect();
        let claims_of = || table.iter().map(|one| one.claim).filter(|one| claims.contains(one) && is_open(one));
        let adopted: BTreeSet<_> = claims_of().map(|one| one.id).collect();
        let open: BTreeSet<_> = claims_of().map(|one| one.token).collect();
        assert_eq!(self.driver.load(), []);
        if let Some(told) = &mut self.told {
            if death == Death::None {
                told.opened(self.driver.settings.term);
            } else {
                told.began(self.driver.settings.term);
            }
        }
        let first_term = self.driver.settings.first_term;
        self.world.reload(&claims, first_term, &adopted, self.driver.now);
        self.later.clear();
        let (open, settled): (Vec<_>, Vec<_>) = table
            .into_iter()
            .filter_map(|attempt| Some((attempt.claim, attempt.queue, attempt.end?.0)))
            .partition(|(claim, ..)| open.contains(&claim.token));
        for (_, queue, outcome) in settled {
            self.world.follow(self.driver.elsewhere(queue, &outcome), self.driver.now);
        }
        for (claim, _, outcome) in open {
            self.world.end(claim.id, outcome, self.driver.now);
            self.world.free(claim.id, self.driver.now);
            let step = self.driver.live[&claim.token].end.as_ref().map_or(0, |(_, step)| *step);
            self.follow_later(step);
        }
        self.world.endings.clear();
        self.row.clear();
        self.expected.clear();
        (self.to_read, self.read) = Default::default();
        self.watchers.clear();
        self.sealed.clear();
        self.synced = vec![self.written.clone()];
        self.world.check(&self.driver.shard);
        self.seal();
    }
}

impl World {
    /// What is left where the journal stands at this world, and the twin at that one (or nowhere: the process died).
    pub(crate) fn compose(&self, twin: Option<&Self>) -> Self {
        let mut world = self.clone();
        let is_volatile = |queue: usize| self.level(queue) == Level::Memory;
        world.jobs.retain(|_, job| !is_volatile(job.queue));
        world.ended.retain(|_, ended| !is_volatile(ended.queue));
        for queue in (0..self.counters.len()).filter(|queue| is_volatile(*queue)) {
            world.counters[queue] = Counters::new(self.settings.queues[queue].name.clone());
        }
        if let Some(twin) = twin {
            let jobs = twin.jobs.iter().filter(|(_, job)| is_volatile(job.queue));
            world.jobs.extend(jobs.map(|(id, job)| (*id, job.clone())));
            let ended = twin.ended.iter().filter(|(_, ended)| is_volatile(ended.queue));
            world.ended.extend(ended.map(|(id, ended)| (*id, ended.clone())));
            for queue in (0..self.counters.len()).filter(|queue| is_volatile(*queue)) {
                world.counters[queue] = twin.counters[queue].clone();
            }
        }
        world.keys.retain(|(is_volatile, _), _| !is_volatile);
        if let Some(twin) = twin {
            let keys = twin.keys.iter().filter(|((is_volatile, _), _)| *is_volatile);
            world.keys.extend(keys.map(|(place, held)| (place.clone(), held.clone())));
        }
        world.link_keys();
        world.endings.clear();
        world.free_keys.clear();
        world.draining = false;
        world
    }

    /// What a load makes of it. `claims` are those that stand, in their order, and `adopted` the jobs whose code still
    /// runs.
    pub(crate) fn reload(&mut self, claims: &[Claim], first_term: u64, adopted: &BTreeSet<JobId>, now: Now) {
        (self.began, self.last_token, self.now_ms) = (now.mono.0, 0, now.mono.0);
        self.jobs.values_mut().for_each(|job| job.ready_since = now.mono.0);
        self.tokens.clear();
        self.ears.clear();
        self.credit.clear();
        self.passed.clear();
        self.next_turn = self.jobs.values().map(|job| job.turn + 1).max().unwrap_or(1).max(1);
        let mut lost = Vec::new();
        for (id, job) in &mut self.jobs {
            match job.state {
                State::Delayed | State::Waiting if !job.by_wall && job.due.is_some() => {
                    job.clock = now.mono.0 as i64 + job.due.unwrap() as i64 - now.wall.0 as i64;
                }
                State::Running if adopted.contains(id) => {
                    let timeout_ms = timeout_ms(&self.settings, job, now);
                    (job.deadline, job.overdue) = (timeout_ms.map(|ms| now.mono.0 + ms), false);
                    job.was_suspect = job.lost >= 2;
                }
                State::Running => {
                    let is_mine = |claim: &&Claim| claim.id == *id && claim.attempt == job.attempts_ended + 1;
                    assert_eq!(claims.iter().filter(is_mine).count(), 1, "job {id} runs without a claim");
                    lost.push((claims.iter().position(|claim| is_mine(&claim)), *id));
                }
                _ => {}
            }
        }
        lost.sort_unstable();
        // Handed out by this process, and its core fell before it could say so: nobody ever ran it.
        let (unstarted, lost): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|(place, _)| place.is_some_and(|place| claims[place].token.term >= first_term));
        let suspects = lost.iter().filter(|(_, id)| self.jobs[id].lost >= 2).count();
        let mut ends = Vec::new();
        for (_, id) in unstarted {
            let job = self.jobs.get_mut(&id).unwrap();
            (job.deadline, job.overdue, job.was_suspect) = (None, false, false);
            if job.cancel {
                ends.push((id, job.queue));
                self.close(id, EndState::Cancelled, Output::None, None, now);
            } else {
                self.stand(id);
            }
        }
        for (_, id) in &lost {
            ends.extend(self.lose(*id, suspects, now).map(|queue| (*id, queue)));
        }
        if !lost.is_empty() {
            let total: u32 = self.settings.queues.iter().map(|queue| queue.slots).sum();
            self.suspects_max = (self.suspects_max.min(total) / 2).max(1);
        }
        for (id, queue) in &ends {
            self.trim_if_ended(*id, *queue, now);
        }
        self.settle_keys(now);
        for (id, _) in ends {
            self.free(id, now);
        }
        self.start_schedules(now);
        self.settle_all_keys(now);
    }

    /// One attempt is lost: the queue of its job, where that was its end.
    fn lose(&mut self, id: JobId, suspects: usize, now: Now) -> Option<usize> {
        let job = self.jobs.get_mut(&id).unwrap();
        let (queue, was_suspect) = (job.queue, job.lost >= 2);
        job.attempts_ended += 1;
        job.lost += 1;
        (job.deadline, job.overdue, job.was_suspect) = (None, false, false);
        let (lost, cancel) = (job.lost, job.cancel);
        self.counters[queue].lost += 1;
        if cancel {
            self.close(id, EndState::Cancelled, Output::None, None, now);
        } else if lost >= self.settings.lost_max && was_suspect && suspects == 1 {
            let message = format!("killed the process: {lost} attempts lost in a row, the last one alone");
            let failure = Failure::new(FailureKind::Lost, message);
            self.close(id, EndState::Dead, Output::None, Some(&failure), now);
        } else {
            self.stand(id);
            return None;
        }
        Some(queue)
    }

    /// Whether this shard looks like this world.
    pub(crate) fn check(&self, shard: &Shard) {
        let portrait = shard.portrait();
        let ids: Vec<_> = portrait.jobs.keys().collect();
        assert_eq!(ids, self.jobs.keys().collect::<Vec<_>>(), "live jobs");
        for (id, job) in &self.jobs {
            self.check_job(*id, job, &portrait);
        }
        let kept =
            |(id, one): (&JobId, &Ended)| (*id, (self.settings.queues[one.queue].name.clone(), one.state, one.end_no));
        assert_eq!(portrait.retained, self.ended.iter().map(kept).collect(), "retained jobs");
        assert_eq!(portrait.suspects_max, self.suspects_max);
        assert_eq!(portrait.orders, self.orders, "orders");
        assert_eq!(portrait.overrides, self.overrides, "limits that an operator set");
        let schedules: BTreeMap<_, _> =
            portrait.schedules.into_iter().map(|(name, (schedule, _))| (name, schedule)).collect();
        assert_eq!(schedules, self.schedules, "schedules");
        assert_eq!(portrait.keys, self.portrait_of_keys(), "keys");
        self.check_keys();
        for (no, queue) in self.settings.queues.iter().enumerate() {
            let mut line: Vec<_> =
                self.jobs.iter().filter(|(_, job)| job.queue == no && job.state == State::Ready).collect();
            line.sort_unstable_by_key(|(_, job)| (job.priority, job.turn));
            let line: Vec<_> = line.into_iter().map(|(id, _)| *id).collect();
            assert_eq!(portrait.lines.get(&queue.name).cloned().unwrap_or_default(), line, "line of {}", queue.name);
            if let Some((paused, counters)) = portrait.counters.get(&queue.name) {
                assert_eq!((*paused, counters), (self.paused.contains(&no), &self.counters[no]), "I11");
            } else {
                assert!(self.counters[no].came() == 0 && !self.paused.contains(&no), "counters of {}", queue.name);
            }
            let counters = &self.counters[no];
            let here = self.jobs.values().filter(|job| job.queue == no).count()
                + self.ended.values().filter(|one| one.queue == no).count();
            let (came, left) = (counters.enqueued + counters.moved_in, counters.purged + counters.moved_out);
            assert_eq!(came, here as u64 + left, "I11: enqueued + moved in = live + retained + purged + moved out");
        }
    }

    fn check_job(&self, id: JobId, job: &Job, portrait: &Portrait) {
        let (kind, bytes, head, token) = &portrait.jobs[&id];
        assert_eq!((kind, *bytes), (&job.kind, job.label_bytes() + job.payload.len()), "job {id}");
        assert_eq!(head.queue, self.settings.queues[job.queue].name, "queue of {id}");
        assert_eq!((head.priority.0, head.timeout_ms), (job.priority, job.timeout_ms), "options of {id}");
        assert_eq!(head.policy.is_some(), job.policy.is_some(), "policy of {id}");
        let due = (head.due.map(|due| due.0), head.due.is_some() && head.due_by_wall);
        assert_eq!(due, (job.due, job.due.is_some() && job.by_wall), "due of {id}");
        let ends = (head.expires.map(|expires| expires.0), head.deadline.map(|deadline| deadline.0));
        assert_eq!(ends, (job.expires, job.ends_by), "expiry and deadline of {id}");
        let counts = (head.attempts_ended, head.failures, head.lost, head.cancel_requested);
        assert_eq!(counts, (job.attempts_ended, job.failures, job.lost, job.cancel), "counts of {id}");
        assert_eq!(token.is_some(), job.state == State::Running, "I4: the lease of {id}, which is {}", job.state);
    }

    /// When each timer has to fire.
    pub(crate) fn check_timers(&self, driver: &Driver) {
        for queue in 0..self.counters.len() {
            let jobs = || self.jobs.values().filter(move |job| job.queue == queue);
            let delayed = |by_wall| {
                let mine = jobs().filter(move |job| job.state == State::Delayed && job.by_wall == by_wall);
                mine.map(|job| job.clock.max(0) as u64).min()
            };
            let age = |end| self.settings.queues[queue].retention.keep(end).age_ms;
            let oldest = EndState::ALL.into_iter().filter_map(|end| {
                let kept = self.ended.values().filter(|one| one.queue == queue && one.state == end);
                kept.min_by_key(|one| one.end_no).map(|one| one.at + age(end))
            });
            let waiting = jobs().filter(|job| job.state != State::Running);
            let expected = [
                (TimerClass::Delay, delayed(false).map(|at| Deadline::Mono(Mono(at)))),
                (TimerClass::At, delayed(true).map(|at| Deadline::Wall(Timestamp(at)))),
                (TimerClass::Lease, jobs().filter_map(|job| job.deadline).min().map(|at| Deadline::Mono(Mono(at)))),
                (
                    TimerClass::Expiry,
                    waiting.filter_map(|job| job.expires).min().map(|at| Deadline::Wall(Timestamp(at))),
                ),
                (TimerClass::Retention, oldest.min().map(|at| Deadline::Wall(Timestamp(at)))),
                (TimerClass::Schedule, self.next_tick(queue).map(|at| Deadline::Wall(Timestamp(at)))),
                (TimerClass::Window, self.next_window(queue).map(|at| Deadline::Wall(Timestamp(at)))),
            ];
            for (class, at) in expected {
                let armed = driver.armed.get(&(QueueNo(queue as u32), class)).copied();
                assert_eq!(armed, at, "timer {class:?} of queue {queue}");
            }
            if let Some(at) = self.next_by_rate(queue, driver.now) {
                let armed = driver.armed.get(&(QueueNo(queue as u32), TimerClass::Rate)).copied();
                let is_in_time = matches!(armed, Some(Deadline::Mono(armed)) if armed.0 <= at);
                assert!(is_in_time, "rates hold up queue {queue} until {at} at most, its timer is {armed:?}");
            }
        }
    }

    /// Whether exactly those records stand that this world implies, in the journal or in the twin.
    pub(crate) fn check_store(&self, store: &Store, is_volatile: bool) {
        let mine = |queue: usize| (self.level(queue) == Level::Memory) == is_volatile;
        let jobs: BTreeMap<_, _> = self.jobs.iter().filter(|(_, job)| mine(job.queue)).collect();
        let ended: BTreeMap<_, _> = self.ended.iter().filter(|(_, one)| mine(one.queue)).collect();
        let is_open = |claim: &Claim| {
            let job = jobs.get(&claim.id).filter(|job| job.state == State::Running);
            job.is_some_and(|job| job.attempts_ended + 1 == claim.attempt)
        };
        // All but a success keep it, for when they are brought back.
        let checkpoint_of = |id: &JobId| {
            let of_ended = || ended.get(id).filter(|one| one.state != EndState::Done).map(|one| &one.job);
            jobs.get(id).copied().or_else(of_ended).and_then(|job| job.checkpoint.as_ref())
        };
        for record in store.0.values() {
            let is_right = match record {
                Record::Setting(_) | Record::Policy(..) | Record::Counters(_) => true,
                // They have a game of their own.
                Record::Flow(_) | Record::Step(_) | Record::StepOutput(..) | Record::Batch(_) | Record::Member(_) => {
                    false
                }
                Record::Job(job) => match (jobs.get(&job.id), ended.get(&job.id)) {
                    (Some(live), None) => (&live.kind, &live.payload, &live.tag) == stands(job),
                    (None, Some(ended)) => (&ended.kind, &ended.payload, &ended.job.tag) == stands(job),
                    _ => false,
                },
                Record::Head(id, _) => jobs.contains_key(id),
                Record::Ended(one) => ended.get(&one.id).is_some_and(|kept| kept.end_no == one.key.end_no),
                Record::Claims(claims) => claims.entries.iter().any(is_open),
                Record::Schedule(one) => !is_volatile && self.schedules.get(&one.name) == Some(&**one),
                Record::Unique(held) => self.keys.get(&(is_volatile, (*held.key).clone())) == Some(&**held),
                Record::Order(order) => !is_volatile && self.orders.get(&order.id) == Some(&**order),
                Record::Attempt(one) => {
                    let of_live = |job: &&Job| {
                        let is_recent = one.attempt + 20 > job.attempts_ended;
                        one.attempt <= job.attempts_ended && (one.attempt == 1 || is_recent)
                    };
                    let is_kept = || ended.contains_key(&one.id);
                    is_as_told(one) && jobs.get(&one.id).map_or_else(is_kept, of_live)
                }
                Record::Checkpoint(id, bytes) => checkpoint_of(id) == Some(bytes),
                Record::Result(id, bytes) => {
                    ended.get(id).is_some_and(|kept| kept.output == Output::Bytes(bytes.clone()))
                }
            };
            assert!(is_right, "this record should not stand: {record:?}\n{:?} {:?}", jobs.keys(), ended.keys());
        }
        self.check_key_records(store, is_volatile);
        for id in jobs.keys().chain(ended.keys()) {
            assert!(store.0.contains_key(&Key::Job(**id)), "job {id} has no record");
            let has_checkpoint = store.0.contains_key(&Key::Checkpoint(**id));
            assert_eq!(checkpoint_of(id).is_some(), has_checkpoint, "checkpoint of {id}");
        }
        for (id, one) in &ended {
            let queue = self.settings.queues[one.queue].name.clone();
            let key = EndedKey { queue, state: one.state, end_no: one.end_no };
            assert!(store.0.contains_key(&Key::Ended(key)), "the end of {id} has no record");
            let has_result = store.0.contains_key(&Key::Result(**id));
            assert_eq!(matches!(one.output, Output::Bytes(_)), has_result, "result of {id}");
        }
        let running = jobs.values().filter(|job| job.state == State::Running).count();
        assert_eq!(store.claims().filter(|claim| is_open(claim)).count(), running, "open claims");
        let policies = store.stream().filter_map(|record| match record {
            Record::Job(job) => job.head.policy,
            _ => None,
        });
        for policy in policies {
            assert!(store.0.contains_key(&Key::Policy(policy)), "{policy:?} is rested on and does not stand here");
        }
    }
}

/// What stands of a job, whatever becomes of it.
fn stands(job: &JobRecord) -> (&Name, &Bytes, &String) {
    (&job.kind, &job.body.payload, &job.body.labels.tags()[0])
}

/// Whether its record has the log that the attempt left, and stands for that or for a failure.
fn is_as_told(attempt: &AttemptRecord) -> bool {
    // What died with its process told nothing.
    let lost = matches!(&attempt.result, AttemptResult::Failed(why) if why.kind == FailureKind::Lost);
    let log = log_of(attempt.id, attempt.attempt).filter(|_| !lost);
    attempt.log == log && (log.is_some() || attempt.result.failure().is_some())
}
