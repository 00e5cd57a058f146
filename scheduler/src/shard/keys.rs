//! The keys that are taken: who has each, and who waits for it.
//!
//! Owns the table and its audit. A key and the jobs that it is about point at one another, and a link that goes one way only is a
//! lock that nobody gives back.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::slab::Slot;
use super::state::{Live, State};
use crate::job::{JobId, Name};
use crate::settings::Level;
use crate::unique::{Held, UniqueKey};

/// The keys that are taken, of one store.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) by_key: BTreeMap<Arc<UniqueKey>, Held>,
    /// What they take in memory.
    pub(crate) bytes: usize,
}

impl Keys {
    /// The place of those of `Memory` queues.
    pub(crate) const VOLATILE: usize = 1;
    /// What a key takes beside its bytes: its record, its place in the tree, its timer.
    const BYTES: usize = 2 * size_of::<Held>() + 96;

    /// The level at which the keys of a store are written: there are two kinds, in memory and not.
    pub(crate) const fn level(store: usize) -> Level {
        if store == Self::VOLATILE { Level::Memory } else { Level::Durable }
    }

    /// The place of those of queues at this level.
    pub(crate) const fn store(level: Level) -> usize {
        matches!(level, Level::Memory) as usize
    }

    fn cost(key: &UniqueKey) -> usize {
        Self::BYTES + key.bytes()
    }

    pub(crate) fn insert(&mut self, held: Held) {
        self.bytes += Self::cost(&held.key);
        self.by_key.insert(held.key.clone(), held);
    }

    pub(crate) fn remove(&mut self, key: &Arc<UniqueKey>) -> Option<Held> {
        let held = self.by_key.remove(key)?;
        self.bytes -= Self::cost(&held.key);
        Some(held)
    }
}

impl State {
    /// The live job of this id, if it came with this key of this store: another one may have its id by now.
    pub(crate) fn live_with(&self, store: usize, id: JobId, key: &Arc<UniqueKey>) -> Option<(Slot, &Live)> {
        let is_it = |live: &Live| live.more().key.as_ref() == Some(key) && self.store_of(live) == store;
        self.live(id).filter(|(_, live)| is_it(live))
    }

    /// Whether what is in the queue of this name is in memory only.
    pub(crate) fn is_volatile(&self, queue: &Name) -> bool {
        self.queue_no(queue).is_some_and(|no| self.queue(no).level() == Level::Memory)
    }

    /// The store that a live job's records are in.
    pub(crate) fn store_of(&self, live: &Live) -> usize {
        Keys::store(self.queue(live.queue).level())
    }

    /// The key that a live job has, or waits for.
    pub(crate) fn held_of(&self, live: &Live) -> Option<&Held> {
        let key = live.more().key.as_ref()?;
        self.keys[self.store_of(live)].by_key.get(key)
    }

    /// Whether a live job waits for its key.
    pub(crate) fn waits_for_key(&self, live: &Live) -> bool {
        self.held_of(live).and_then(|held| held.next).is_some_and(|(id, _)| id == live.id)
    }
}

/// Checks keys against jobs, both ways, and the timers of the windows.
pub(crate) fn audit(state: &State) -> Result<(), String> {
    let mut windows: BTreeSet<_> = BTreeSet::new();
    for (store, keys) in state.keys.iter().enumerate() {
        let mut bytes = 0;
        for (key, held) in &keys.by_key {
            let queue = state.queue_no(&held.queue).ok_or_else(|| format!("the key {key} has no queue"))?;
            let has_window = held.ends().is_some();
            if !has_window && state.live_with(store, held.holder, key).is_none() {
                return Err(format!("the key {key} is held by job {}, which does not know it", held.holder));
            }
            if held.next.is_some_and(|(id, _)| state.live_with(store, id, key).is_none()) {
                return Err(format!("the key {key} is waited for by {:?}, which does not know it", held.next));
            }
            windows.extend(held.ends().map(|ends| (queue, ends, key.clone())));
            bytes += Keys::cost(key);
            if Keys::store(state.queue(queue).level()) != store {
                return Err(format!("the key {key} is in the wrong store"));
            }
        }
        if bytes != keys.bytes {
            return Err(format!("keys take {bytes} bytes, counted {}", keys.bytes));
        }
    }
    for (no, queue) in (0..).zip(&state.queues) {
        let of_queue = queue.windows.iter().map(|(ends, key)| (crate::command::QueueNo(no), *ends, key.clone()));
        if !of_queue.clone().all(|window| windows.remove(&window)) {
            return Err(format!("windows of queue {} are armed for keys that nobody has", queue.settings.name));
        }
    }
    if !windows.is_empty() {
        return Err(format!("windows that nobody ends: {windows:?}"));
    }
    for (_, live) in state.jobs.iter().filter(|(_, live)| live.more().key.is_some()) {
        let held = state.held_of(live);
        let is_holder = held.is_some_and(|held| held.holder == live.id);
        if !is_holder && !state.waits_for_key(live) {
            return Err(format!("job {} has a key that does not know it: {held:?}", live.id));
        }
    }
    Ok(())
}
