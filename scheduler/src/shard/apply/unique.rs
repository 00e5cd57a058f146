//! What events about keys do to the state.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::keys::Keys;
use super::super::maybe::Maybe;
use super::super::slab::Slot;
use super::super::state::{Spot, State};
use super::super::tape::Tape;
use super::as_key;
use super::steered::{ends, moment};
use crate::bug;
use crate::change::{Key, Record};
use crate::event::Turn;
use crate::job::NewJob;
use crate::limit::Share;
use crate::settings::Level;
use crate::time::Now;
use crate::unique::{Held, UniqueKey};

impl State {
    /// A job that just came in has its key, or waits for it. Before it has a place.
    pub(super) fn turned(&mut self, slot: Slot, turn: Turn, now: Now, tape: &mut Tape) {
        let (key, until, waits) = match turn {
            Turn::Free | Turn::Alone(_) => return,
            Turn::Step(of) => return self.is_step(slot, of, tape),
            Turn::Holds(key, until) => (key, until, false),
            Turn::Waits(key, until) => (key, until, true),
        };
        let live = &mut self.jobs[slot];
        self.pages.more_of(live).key = Some(key.clone());
        let (id, kind, queue) = (live.id, live.kind, live.queue);
        let queue = self.queue(queue);
        let store = Keys::store(queue.level());
        if waits {
            if let Some(mut held) = self.unset_key(store, &key) {
                held.next = Some((id, until));
                self.set_key(store, held, tape);
            }
            return;
        }
        let (queue, kind) = (queue.settings.name.clone(), self.kinds[kind as usize].name.clone());
        self.set_key(store, Held { key, queue, kind, holder: id, taken: now.wall, until, next: None }, tape);
    }

    /// The key is free: it goes to whoever waited for it, who takes a place, or to nobody.
    pub(super) fn key_moved(
        &mut self,
        store: usize,
        key: &Arc<UniqueKey>,
        to: Option<Slot>,
        arrival: i64,
        now: Now,
        tape: &mut Tape,
    ) {
        let Some(held) = self.unset_key(store, key) else { return };
        // Whoever waits may have the id of one that had it, and is forgotten.
        let had = self.live_with(store, held.holder, key).map(|(slot, _)| slot).filter(|slot| Some(*slot) != to);
        if let Some(more) = had.and_then(|slot| self.jobs[slot].more.as_mut()) {
            more.key = None;
        }
        let Some((slot, (id, until))) = to.zip(held.next) else {
            return tape.delete(Keys::level(store), Key::Unique((**key).clone()));
        };
        self.unplace(slot);
        let live = &mut self.jobs[slot];
        let clock = if live.due_by_wall { now.wall.0 } else { now.mono.0 };
        if live.clock_ms <= as_key(clock) {
            live.due = Maybe::NONE;
        }
        live.arrival = arrival;
        self.next_arrival = self.next_arrival.max(arrival + 1);
        let queue = self.queue(self.jobs[slot].queue).settings.name.clone();
        self.set_key(store, Held { holder: id, queue, taken: now.wall, until, next: None, ..held }, tape);
        self.place(slot, now);
        tape.touch_job(self, slot);
    }

    /// Whoever waited for the key does so no longer.
    pub(super) fn key_unwaited(&mut self, store: usize, key: &Arc<UniqueKey>, tape: &mut Tape) {
        if let Some(mut held) = self.unset_key(store, key) {
            held.next = None;
            self.set_key(store, held, tape);
        }
    }

    /// A key is as the journal has it. Who came with it is known when all is loaded.
    pub(super) fn loaded_key(&mut self, held: Held, tape: &mut Tape) {
        let no = self.queue_or_new(&held.queue);
        let store = Keys::store(self.queue(no).level());
        self.set_key(store, held, tape);
    }

    /// All records are there: the jobs that keys belong to know it. A queue that was journaled and is not any more has no keys
    /// in the journal, either.
    pub(super) fn link_keys(&mut self, tape: &mut Tape) {
        if self.settings.term == self.settings.first_term {
            for key in self.keys[Keys::VOLATILE].by_key.keys().cloned().collect::<BTreeSet<_>>() {
                self.unset_key(Keys::VOLATILE, &key);
                tape.delete(Level::Durable, Key::Unique((*key).clone()));
            }
        }
        let keyed = self.jobs.iter().filter(|(_, live)| live.more().key.is_some()).map(|(slot, _)| slot);
        for slot in keyed.collect::<Vec<_>>() {
            self.unlink_key(slot);
        }
    }

    /// A job that came with a key knows it only while the key knows the job.
    pub(super) fn unlink_key(&mut self, slot: Slot) {
        let live = &self.jobs[slot];
        let is_known = self.waits_for_key(live) || self.held_of(live).is_some_and(|held| held.holder == live.id);
        if !is_known && let Some(more) = &mut self.jobs[slot].more {
            more.key = None;
        }
    }

    /// Puts a job where it waits for its key; `due` and `clock_ms` say when it is due besides.
    pub(super) fn place_waiting(&mut self, slot: Slot) {
        let live = &mut self.jobs[slot];
        live.spot = Spot::Waiting;
        self.queues[live.queue.0 as usize].waiting += 1;
        self.watch_expiry(slot);
    }

    /// Another job's payload, labels and times become those of one that has not begun.
    pub(super) fn replaced(&mut self, slot: Slot, job: NewJob, arrival: i64, now: Now, tape: &mut Tape) {
        let (expires, deadline) = ends(job.expires, job.deadline, now);
        let Share { key, weight } = job.body.labels.share().clone();
        self.replace_body(slot, job.body);
        let (due, due_by_wall, clock_ms) = moment(job.due, now);
        let live = &self.jobs[slot];
        let priority = job.priority.unwrap_or(live.priority);
        let keeps_key = self.lines.tenants[live.tenant].key == key;
        let keeps_place = live.spot == Spot::Line && due.is_none() && live.priority == priority && keeps_key;
        if keeps_place {
            self.unwatch_expiry(slot);
        } else {
            self.unplace(slot);
        }
        let live = &mut self.jobs[slot];
        let more = self.pages.more_of(live);
        (more.expires, more.deadline, more.extra_starts) = (expires.into(), deadline.into(), weight.saturating_sub(1));
        more.replaced = more.replaced.wrapping_add(1);
        live.priority = priority;
        if keeps_place {
            self.watch_expiry(slot);
        } else {
            if !keeps_key {
                self.enter_anew(slot, key.as_ref(), now);
            }
            let live = &mut self.jobs[slot];
            (live.due, live.due_by_wall, live.clock_ms) = (due.into(), due_by_wall, clock_ms);
            self.arrive(slot, arrival);
            self.place(slot, now);
        }
        if !self.jobs[slot].is_new {
            let level = self.queue(self.jobs[slot].queue).level();
            let record = tape.job_record(self, slot);
            tape.put(level, record);
        }
        tape.touch_job(self, slot);
    }

    fn set_key(&mut self, store: usize, held: Held, tape: &mut Tape) {
        let ends = held.ends();
        if let (Some(ends), Some(queue)) = (ends, self.queue_no(&held.queue)) {
            self.queues[queue.0 as usize].windows.insert((ends, held.key.clone()));
        }
        if !bug!(KeyUnwritten) {
            tape.put(Keys::level(store), Record::Unique(Box::new(held.clone())));
        }
        self.keys[store].insert(held);
    }

    fn unset_key(&mut self, store: usize, key: &Arc<UniqueKey>) -> Option<Held> {
        let held = self.keys[store].remove(key)?;
        if let (Some(ends), Some(queue)) = (held.ends(), self.queue_no(&held.queue)) {
            self.queues[queue.0 as usize].windows.remove(&(ends, held.key.clone()));
        }
        Some(held)
    }
}
