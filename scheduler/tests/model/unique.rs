//! Uniqueness, made on the oracle: who has each key, who waits for it, and what becomes of a job whose key is taken.
//!
//! Guards I12 (one job a key, decided with the enqueue and given back with the end) and I1 (keys come back as their wave left them).
//! Not part of judged games: the judge takes every job that is handed in for one that comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::change::Key;
use windlass_scheduler::job::{JobId, Name, NewJob, When};
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::State;
use windlass_scheduler::time::{Now, Timestamp};
use windlass_scheduler::unique::{Held, KeyOf, OnConflict, Unique, UniqueKey, Until};

use super::common::Store;
use super::play::{No, Play};
use super::world::{World, ends as ends_of};
use super::{KINDS, QUEUES};

/// A key, and whether it is one of memory alone.
pub(crate) type Place = (bool, UniqueKey);

/// A call that came in: what the world is then, and what the caller is told.
pub(crate) struct Taken {
    pub(crate) world: World,
    pub(crate) receipts: Vec<(JobId, bool)>,
    pub(crate) mark: usize,
}

/// The key of a job to be.
#[derive(Clone, Debug)]
pub(crate) struct KeySpec {
    n: u8,
    of: u8,
    until: Until,
    on_conflict: OnConflict,
}

pub(crate) fn key_spec() -> impl Strategy<Value = KeySpec> {
    let until = prop_oneof![
        2 => Just(Until::Started),
        4 => Just(Until::Done),
        2 => select(vec![1_u64, 30, 200]).prop_map(|ms| Until::Window { ms }),
    ];
    let on_conflict = prop_oneof![
        2 => Just(OnConflict::Existing),
        2 => Just(OnConflict::KeepLast),
        2 => prop::option::of(0..60_u64).prop_map(|within_ms| OnConflict::Replace { within_ms }),
    ];
    (0..2_u8, 0..3_u8, until, on_conflict).prop_map(|(n, of, until, on_conflict)| KeySpec { n, of, until, on_conflict })
}

impl KeySpec {
    pub(crate) fn unique(&self, queue: usize, kind: usize) -> Unique {
        let of = match self.of {
            0 => KeyOf::Kind(Name::from(KINDS[kind])),
            1 => KeyOf::Queue(Name::from(QUEUES[queue])),
            _ => KeyOf::Engine,
        };
        let key = Arc::new(UniqueKey { of, text: ["x", "yy"][usize::from(self.n)].into() });
        Unique { key, until: self.until, on_conflict: self.on_conflict }
    }
}

/// What becomes of a job.
pub(crate) enum Met {
    ComesIn,
    Same(JobId),
}

impl Play {
    /// What comes of the jobs of a call, one after the other.
    pub(crate) fn judge(&self, jobs: &[NewJob]) -> Result<Taken, (No, u64)> {
        let world = &self.world;
        if world.draining {
            return Err((("Stopping", None), 0));
        }
        if jobs.len() > world.settings.bulk_jobs_max {
            return Err((("BulkTooLarge", None), 0));
        }
        let mut taken = Taken { world: world.clone(), receipts: Vec::new(), mark: 0 };
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        let mut order = Vec::new();
        for job in jobs {
            let (id, fresh) = match taken.world.meet(job, self.driver.now).map_err(|no| (self.as_before(no, job), 0))? {
                Met::ComesIn => (job.id, true),
                Met::Same(id) => (id, false),
            };
            taken.mark = taken.mark.max(taken.world.mark_of(id, job));
            taken.receipts.push((id, fresh));
            if fresh {
                let queue = world.queue_no(&job.queue).unwrap();
                *counts.entry(queue).or_default() += 1;
                if !order.contains(&queue) {
                    order.push(queue);
                }
            }
        }
        for queue in order {
            if world.depth(queue) + counts[&queue] > world.settings.queues[queue].depth_max {
                return Err((("QueueFull", Some(queue)), counts[&queue]));
            }
        }
        Ok(taken)
    }

    /// A refusal reveals what was there before the call.
    fn as_before(&self, (word, _): No, job: &NewJob) -> No {
        let world = &self.world;
        let queue = match word {
            "IdTaken" => {
                let live = world.jobs.get(&job.id).map(|job| job.queue);
                live.or_else(|| world.ended.get(&job.id).map(|one| one.queue))
            }
            "KeyTaken" => world.key_queue(job),
            _ => None,
        };
        (word, queue)
    }
}

impl World {
    pub(crate) fn place_of(&self, job: &NewJob) -> Option<Place> {
        let unique = job.body.labels.unique()?;
        Some((self.level(self.queue_no(&job.queue)?) == Level::Memory, (*unique.key).clone()))
    }

    /// The queue whose mark a refusal for a taken key waits for: the journal's, if it has such a key.
    fn key_queue(&self, job: &NewJob) -> Option<usize> {
        let (_, key) = self.place_of(job)?;
        let held = self.keys.get(&(false, key.clone())).or_else(|| self.keys.get(&(true, key)))?;
        self.queue_no(&held.queue)
    }

    /// What an answer about this job waits for.
    fn mark_of(&self, id: JobId, asked: &NewJob) -> usize {
        let live = self.jobs.get(&id).map(|job| job.queue);
        let ended = || (id == asked.id).then(|| self.ended.get(&id).map(|one| one.queue)).flatten();
        let of_key = || self.place_of(asked).and_then(|place| self.queue_no(&self.keys.get(&place)?.queue));
        self.level(live.or_else(ended).or_else(of_key).unwrap()) as usize
    }

    pub(crate) fn meet(&mut self, new: &NewJob, now: Now) -> Result<Met, No> {
        let live = self.jobs.get(&new.id).map(|job| &job.kind);
        if let Some(kind) = live.or_else(|| self.ended.get(&new.id).map(|one| &one.kind)) {
            return if *kind == new.kind { Ok(Met::Same(new.id)) } else { Err(("IdTaken", None)) };
        }
        let queue = self.queue_no(&new.queue).unwrap();
        self.check_size(queue, new)?;
        let Some(place) = self.place_of(new) else {
            self.enqueue(new, now);
            return Ok(Met::ComesIn);
        };
        let unique = new.body.labels.unique().unwrap();
        let Some(held) = self.keys.get(&place).cloned() else {
            if self.keys.len() >= self.settings.unique_keys_max {
                return Err(("TooManyKeys", None));
            }
            let (key, queue, kind) = (unique.key.clone(), new.queue.clone(), new.kind.clone());
            let held = Held { key, queue, kind, holder: new.id, taken: now.wall, until: unique.until, next: None };
            self.keys.insert(place, held);
            self.enqueue(new, now);
            return Ok(Met::ComesIn);
        };
        if held.kind != new.kind {
            return Err(("KeyTaken", None));
        }
        let holder = self.jobs.get(&held.holder).filter(|job| job.key.as_ref() == Some(&place));
        let same = match unique.on_conflict {
            OnConflict::Existing => held.holder,
            OnConflict::Replace { within_ms } if holder.is_some_and(|job| job.state != State::Running) => {
                self.replace(held.holder, new, within_ms, now)?;
                held.holder
            }
            _ => {
                let Some((next, _)) = held.next else {
                    self.keys.get_mut(&place).unwrap().next = Some((new.id, unique.until));
                    self.enqueue(new, now);
                    self.jobs.get_mut(&new.id).unwrap().state = State::Waiting;
                    return Ok(Met::ComesIn);
                };
                self.replace(next, new, None, now)?;
                next
            }
        };
        Ok(Met::Same(same))
    }

    fn check_size(&self, queue: usize, job: &NewJob) -> Result<(), No> {
        let is_too_large = job.body.bytes() > self.settings.queues[queue].payload_bytes_max;
        if is_too_large { Err(("PayloadTooLarge", None)) } else { Ok(()) }
    }

    fn replace(&mut self, id: JobId, new: &NewJob, within_ms: Option<u64>, now: Now) -> Result<(), No> {
        self.check_size(self.jobs[&id].queue, new)?;
        let turn = self.turn();
        let job = self.jobs.get_mut(&id).unwrap();
        let last = within_ms.map_or(u64::MAX, |ms| job.created + ms);
        let (due, clock, by_wall) = match new.due {
            Some(When::After(ms)) => {
                let ms = ms.min(last.saturating_sub(now.wall.0));
                (Some(now.wall.0 + ms), (now.mono.0 + ms) as i64, false)
            }
            Some(When::At(at)) => (Some(at.0.min(last)), at.0.min(last) as i64, true),
            None => (None, 0, false),
        };
        let priority = new.priority.map_or(job.priority, |priority| priority.0);
        let due = due.filter(|due| *due > now.wall.0);
        let share = new.body.labels.share().clone();
        let keeps_key = job.share.key == share.key;
        let keeps_place = job.state == State::Ready && due.is_none() && job.priority == priority && keeps_key;
        job.replaced += 1;
        job.share = share;
        job.payload.clone_from(&new.body.payload);
        job.tag.clone_from(&new.body.labels.tags()[0]);
        job.unique = new.body.labels.unique().cloned();
        (job.expires, job.ends_by) = ends_of(new, now);
        job.priority = priority;
        if keeps_place {
            return Ok(());
        }
        (job.due, job.clock, job.by_wall, job.turn) = (due, clock, by_wall, turn);
        if job.state == State::Waiting {
            return Ok(());
        }
        job.state = State::Delayed;
        if due.is_none() {
            self.stand(id);
        }
        Ok(())
    }

    /// A job begins or ends: its key may be free then.
    pub(crate) fn let_go(&mut self, place: Option<Place>) {
        self.free_keys.extend(place);
    }

    fn holds(&self, place: &Place, held: &Held, now: Now) -> bool {
        let holder = self.jobs.get(&held.holder).filter(|job| job.key.as_ref() == Some(place));
        match held.until {
            Until::Done => holder.is_some(),
            Until::Started => holder.is_some_and(|job| job.state != State::Running),
            Until::Window { ms } => {
                let (now, taken) = (now.wall.0, held.taken.0);
                now < taken + ms && taken <= now + ms
            }
        }
    }

    /// What was let go of in this step goes to whoever waits for it.
    pub(crate) fn settle_keys(&mut self, now: Now) {
        for place in std::mem::take(&mut self.free_keys) {
            self.settle_key(&place, now);
        }
    }

    fn settle_key(&mut self, place: &Place, now: Now) {
        let Some(held) = self.keys.get(place).cloned() else { return };
        let knows = |world: &Self, id: &JobId| world.jobs.get(id).is_some_and(|job| job.key.as_ref() == Some(place));
        let next = held.next.filter(|(id, _)| knows(self, id));
        if self.holds(place, &held, now) {
            self.keys.get_mut(place).unwrap().next = next;
            return;
        }
        self.keys.remove(place);
        if knows(self, &held.holder) && next.is_none_or(|(next, _)| next != held.holder) {
            self.jobs.get_mut(&held.holder).unwrap().key = None;
        }
        let Some((id, until)) = next else { return };
        let turn = self.turn();
        let job = self.jobs.get_mut(&id).unwrap();
        job.turn = turn;
        let clock = if job.by_wall { now.wall.0 } else { now.mono.0 };
        job.state = State::Delayed;
        let queue = self.settings.queues[job.queue].name.clone();
        let is_due = job.due.is_none() || job.clock <= clock as i64;
        self.keys.insert(place.clone(), Held { holder: id, queue, taken: now.wall, until, next: None, ..held });
        if is_due {
            self.stand(id);
        }
    }

    /// Windows of this queue's keys are over.
    pub(crate) fn end_windows(&mut self, queue: usize, now: Now) {
        let is_over =
            |held: &Held| self.queue_no(&held.queue) == Some(queue) && ends(held).is_some_and(|at| at <= now.wall);
        let over = self.keys.iter().filter(|(_, held)| is_over(held));
        let mut over: Vec<_> = over.map(|(place, held)| (ends(held), place.clone())).collect();
        over.sort();
        self.free_keys.extend(over.into_iter().map(|(_, place)| place));
        self.settle_keys(now);
    }

    /// When the first window of this queue's keys is over.
    pub(crate) fn next_window(&self, queue: usize) -> Option<u64> {
        let mine = self.keys.values().filter(|held| self.queue_no(&held.queue) == Some(queue));
        mine.filter_map(ends).min().map(|at| at.0)
    }

    /// The clock jumped, or a load has put everything where it was.
    pub(crate) fn settle_all_keys(&mut self, now: Now) {
        self.free_keys = self.keys.keys().cloned().collect();
        self.settle_keys(now);
    }

    /// A job comes back: with its key, if that is free.
    pub(crate) fn key_of_requeued(&mut self, id: JobId, now: Now) -> Result<(), No> {
        let ended = &self.ended[&id];
        let unique = ended.job.unique.clone().filter(|unique| !matches!(unique.until, Until::Window { .. }));
        let Some(unique) = unique else { return Ok(()) };
        let place = (self.level(ended.queue) == Level::Memory, (*unique.key).clone());
        if let Some(held) = self.keys.get(&place) {
            return Err(("KeyTaken", self.key_mark(&place.1, held)));
        }
        let (queue, kind) = (self.settings.queues[ended.queue].name.clone(), ended.kind.clone());
        let (key, until) = (unique.key, unique.until);
        self.keys.insert(place, Held { key, queue, kind, holder: id, taken: now.wall, until, next: None });
        Ok(())
    }

    fn key_mark(&self, key: &UniqueKey, held: &Held) -> Option<usize> {
        self.queue_no(&self.keys.get(&(false, key.clone())).unwrap_or(held).queue)
    }

    /// A job that came back has the key that it is known to have.
    pub(crate) fn link_key(&mut self, id: JobId) {
        let job = self.jobs.get_mut(&id).unwrap();
        let is_volatile = self.settings.queues[job.queue].level == Level::Memory;
        let place = job.unique.as_ref().map(|unique| (is_volatile, (*unique.key).clone()));
        let is_known = |held: &Held| held.holder == id || held.next.is_some_and(|(next, _)| next == id);
        job.key = place.filter(|place| self.keys.get(place).is_some_and(is_known));
    }

    /// After a crash: only those know their keys whom the keys know.
    pub(crate) fn link_keys(&mut self) {
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.link_key(id);
        }
    }

    /// The keys as a portrait of the shard has them.
    pub(crate) fn portrait_of_keys(&self) -> [Vec<Held>; 2] {
        let of = |volatile: bool| {
            let mine = self.keys.iter().filter(move |((is_volatile, _), _)| *is_volatile == volatile);
            mine.map(|(_, held)| held.clone()).collect()
        };
        [of(false), of(true)]
    }

    pub(crate) fn check_key_records(&self, store: &Store, is_volatile: bool) {
        for (_, key) in self.keys.keys().filter(|(volatile, _)| *volatile == is_volatile) {
            assert!(store.0.contains_key(&Key::Unique(key.clone())), "the key {key} has no record");
        }
    }

    /// No two jobs that have not ended have the same key, and everyone who waits does so for a key that is taken (I12).
    pub(crate) fn check_keys(&self) {
        let mut holders = BTreeSet::new();
        for (id, job) in &self.jobs {
            let held = job.key.as_ref().map(|place| &self.keys[place]);
            let is_holder =
                held.is_some_and(|held| held.holder == *id && held.next.is_none_or(|(next, _)| next != *id));
            assert!(!is_holder || holders.insert(job.key.clone()), "I12: a second job has the key of {id}");
            let is_next = held.and_then(|held| held.next).is_some_and(|(next, _)| next == *id);
            assert_eq!(job.state == State::Waiting, is_next, "{id} is {}, its key is {held:?}", job.state);
        }
    }
}

fn ends(held: &Held) -> Option<Timestamp> {
    match held.until {
        Until::Window { ms } => Some(held.taken.plus_ms(ms)),
        _ => None,
    }
}
