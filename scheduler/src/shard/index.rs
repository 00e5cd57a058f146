//! Where every id is found: nine bytes an entry, because the ids themselves stand in the slabs.
//!
//! Owns the table from an id's hash to a place. Half of the hash is kept with it, so that growing looks into no slab, and a
//! look-up seldom into one for nothing. Never compares ids: whoever asks does.

use core::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::slab::Slot;
use super::state::Place;
use crate::job::JobId;

/// Of a place: it is a retained job's.
const ENDED: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    place: u32,
}

impl Entry {
    /// The table takes its bits from both ends.
    const fn hash(self) -> u64 {
        self.hash as u64 | (self.hash as u64) << 32
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    table: HashTable<Entry>,
    state: FixedState,
}

/// A place in 32 bits: places number up to 2^31, a thousand times what memory has room for.
fn packed(place: Place) -> u32 {
    let (slot, ended) = match place {
        Place::Live(slot) => (slot, 0),
        Place::Ended(slot) => (slot, ENDED),
    };
    assert!(slot < ENDED, "place {slot} is over {ENDED}");
    slot | ended
}

const fn unpacked(place: u32) -> Place {
    let slot: Slot = place & !ENDED;
    if place & ENDED == 0 { Place::Live(slot) } else { Place::Ended(slot) }
}

impl Index {
    pub(crate) fn new(state: FixedState) -> Self {
        Self { table: HashTable::new(), state }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.allocation_size()
    }

    fn entry(&self, id: JobId, place: Place) -> Entry {
        Entry { hash: self.hash(id), place: packed(place) }
    }

    fn hash(&self, id: JobId) -> u32 {
        let mut hasher = self.state.build_hasher();
        id.hash(&mut hasher);
        core::hash::Hasher::finish(&hasher) as u32
    }

    /// The place of this id, of which the caller knows whether it is a place's.
    pub(crate) fn find(&self, id: JobId, is_at: impl Fn(Place) -> bool) -> Option<Place> {
        let wanted = Entry { hash: self.hash(id), place: 0 };
        let is_it = |entry: &Entry| entry.hash == wanted.hash && is_at(unpacked(entry.place));
        self.table.find(wanted.hash(), is_it).map(|entry| unpacked(entry.place))
    }

    /// A new id.
    pub(crate) fn insert(&mut self, id: JobId, place: Place) {
        let entry = self.entry(id, place);
        self.table.insert_unique(entry.hash(), entry, |entry| entry.hash());
    }

    /// An id moves from one place to another.
    pub(crate) fn replace(&mut self, id: JobId, from: Place, to: Place) {
        let before = self.entry(id, from);
        match self.table.find_mut(before.hash(), |entry| entry.place == before.place) {
            Some(entry) => entry.place = packed(to),
            None => unreachable!("id {id} was not at {from:?}"),
        }
    }

    /// An id is forgotten.
    pub(crate) fn remove(&mut self, id: JobId, place: Place) {
        let before = self.entry(id, place);
        match self.table.find_entry(before.hash(), |entry| entry.place == before.place) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("id {id} was not at {place:?}"),
        }
    }
}
