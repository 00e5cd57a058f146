//! What the events of a wave leave to be remembered.
//!
//! Owns the wave while it grows: changes that have to keep their order are written down as they come, and the heads and
//! counters that were touched are only marked, so that each is written once, with its last image, when the wave is
//! sealed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::flows::StepAt;
use super::keys::Keys;
use super::slab::Slot;
use super::state::State;
use crate::batch::BatchRecord;
use crate::bug;
use crate::change::{Change, JobRecord, Key, Record};
use crate::command::QueueNo;
use crate::flow::StepOf;
use crate::job::{Name, Names};
use crate::settings::Level;

/// The most changes that room is kept for when none has come yet.
const ROOM_MAX: usize = 4_096;

/// The growing wave.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// Off while loading: what was just read needs no writing.
    pub(crate) is_on: bool,
    changes: Vec<Change>,
    volatile: Vec<Change>,
    jobs: Vec<Slot>,
    counters: Vec<QueueNo>,
    batches: Vec<StepAt>,
    /// Of the wave alone: whoever writes it lets go of them elsewhere.
    pub(crate) names: WaveNames,
    /// The jobs that the last wave wrote something of.
    written: Vec<Slot>,
}

/// The names in a wave's changes.
#[derive(Debug, Default)]
pub(crate) struct WaveNames(Names);

impl WaveNames {
    /// The twin keeps what it gets, on the core's own thread: it shares the core's names.
    pub(crate) fn of(&mut self, level: Level, name: &Name) -> Name {
        if level == Level::Memory { name.clone() } else { self.0.get(name.as_str()) }
    }
}

impl Tape {
    pub(crate) fn push(&mut self, level: Level, change: Change) {
        if self.is_on {
            match level {
                Level::Memory if !bug!(LevelsMixedUp) => self.volatile.push(change),
                Level::Memory | Level::Process | Level::Durable => self.changes.push(change),
            }
        }
    }

    /// For records that every queue may rest on.
    pub(crate) fn push_both(&mut self, change: &Change) {
        self.push(Level::Memory, change.clone());
        self.push(Level::Durable, change.clone());
    }

    pub(crate) fn delete(&mut self, level: Level, key: Key) {
        self.push(level, Change::Delete(key));
    }

    pub(crate) fn put(&mut self, level: Level, record: Record) {
        self.push(level, Change::Put(record));
    }

    pub(crate) fn touch_job(&mut self, state: &mut State, slot: Slot) {
        if self.is_on && !core::mem::replace(&mut state.jobs[slot].is_dirty, true) {
            self.jobs.push(slot);
        }
    }

    pub(crate) fn touch_counters(&mut self, queue: QueueNo) {
        if self.is_on && !self.counters.contains(&queue) && !bug!(CountersUnwritten) {
            self.counters.push(queue);
        }
    }

    pub(crate) fn touch_batch(&mut self, state: &mut State, at: StepAt) {
        let batch = &mut state.flows.all[at.flow].steps[at.no as usize].batch;
        if let Some(batch) = batch.as_mut().filter(|batch| self.is_on && !batch.is_dirty) {
            batch.is_dirty = true;
            self.batches.push(at);
        }
    }

    /// The jobs that the wave which was closed last wrote something of, in order.
    pub(crate) fn written(&self) -> &[Slot] {
        &self.written
    }

    /// The record of a job that the journal has not seen.
    pub(crate) fn job_record(&mut self, state: &State, slot: Slot) -> Record {
        let live = &state.jobs[slot];
        let kind = self.names.of(state.queue(live.queue).level(), &state.kinds[live.kind as usize].name);
        let Some(body) = live.body.clone() else { unreachable!("job {} left memory before it was written", live.id) };
        Record::Job(JobRecord { id: live.id, kind, body, head: state.head_of(live, &mut self.names) })
    }

    /// Closes the wave: the changes for the journal, and those for the volatile twin.
    pub(crate) fn take(&mut self, state: &mut State) -> (Vec<Change>, Vec<Change>) {
        let mut jobs = core::mem::take(&mut self.jobs);
        self.written.clear();
        for slot in jobs.drain(..) {
            // A place may have been left since, and taken by another job, which then has its own mark.
            if !state.jobs.get(slot).is_some_and(|live| live.is_dirty) {
                continue;
            }
            let live = &state.jobs[slot];
            let level = state.queue(live.queue).level();
            let record = if live.is_new {
                self.job_record(state, slot)
            } else {
                Record::Head(live.id, state.head_of(live, &mut self.names))
            };
            self.put(level, record);
            let live = &mut state.jobs[slot];
            live.is_dirty = false;
            live.has_head |= !live.is_new;
            live.is_new = false;
            self.written.push(slot);
        }
        self.jobs = jobs;
        self.names = WaveNames::default();
        self.take_batches(state);
        for queue in core::mem::take(&mut self.counters) {
            let queue = state.queue(queue);
            self.put(queue.level(), Record::Counters(queue.counters.clone()));
        }
        (take(&mut self.changes), take(&mut self.volatile))
    }

    fn take_batches(&mut self, state: &mut State) {
        for at in core::mem::take(&mut self.batches) {
            // The flow may have been forgotten since, and another one have its place, and a mark of its own.
            let Some(flow) = state.flows.all.get_mut(at.flow) else { continue };
            let (of, level) = (StepOf { flow: flow.id, no: at.no }, Keys::level(flow.store));
            let batch = flow.steps.get_mut(at.no as usize).and_then(|step| step.batch.as_mut());
            let Some(batch) = batch.filter(|batch| batch.is_dirty) else { continue };
            batch.is_dirty = false;
            let called_off = batch.called_off.as_deref().cloned();
            self.put(level, Record::Batch(Box::new(BatchRecord { of, counts: batch.counts, called_off })));
        }
    }
}

/// What a wave has grown to; the next one is likely to grow as large, and need not be moved as it does.
fn take(changes: &mut Vec<Change>) -> Vec<Change> {
    let room = Vec::with_capacity(changes.len().min(ROOM_MAX));
    core::mem::replace(changes, room)
}
