//! A vector with holes: places that keep their number while they are taken, and are given out again afterwards.
//!
//! Owns the mapping from a small number to a value. Never moves a value, so that numbers can be threaded through lists.
//! (The `slab` crate would do, but for its free list's order being no part of its promise: ours is, for replays.)

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// The number of a place.
pub(crate) type Slot = u32;

/// No place.
pub(crate) const NONE: Slot = Slot::MAX;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes the place that was given back last, or a new one.
    ///
    /// # Panics
    /// With 2^32 - 1 places taken: four billion live jobs are over every other limit.
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(value);
            return slot;
        }
        assert!(self.places.len() < NONE as usize, "all {NONE} places are taken");
        self.places.push(Some(value));
        (self.places.len() - 1) as Slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> T {
        let Some(value) = self.places[slot as usize].take() else { unreachable!("place {slot} is empty") };
        self.free.push(slot);
        value
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places.iter().enumerate().filter_map(|(n, place)| place.as_ref().map(|value| (n as Slot, value)))
    }
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        match self.get(slot) {
            Some(value) => value,
            None => unreachable!("place {slot} is empty"),
        }
    }
}

impl<T> IndexMut<Slot> for Slab<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        match self.get_mut(slot) {
            Some(value) => value,
            None => unreachable!("place {slot} is empty"),
        }
    }
}
