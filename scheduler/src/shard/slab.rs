//! A list with holes: places that keep their number while they are taken, and are given out again afterwards.
//!
//! Owns the mapping from a small number to a value. Never moves a value, so that numbers can be threaded through lists.
//! (The `slab` crate would do, but for its free list's order being no part of its promise: ours is, for replays.)

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// The number of a place.
pub(crate) type Slot = u32;

/// No place.
pub(crate) const NONE: Slot = Slot::MAX;

/// Places come in pages of so many: growing adds one page, and neither copies nor doubles what is there.
const PAGE: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All full but for the last.
    pages: Vec<Vec<Option<T>>>,
    free: Vec<Slot>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// Places taken or free again: what stays allocated.
    pub(crate) fn places(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    /// The place that the next value takes.
    pub(crate) fn next(&self) -> Slot {
        self.free.last().copied().unwrap_or(self.places() as Slot)
    }

    /// Takes the place that was given back last, or a new one.
    ///
    /// # Panics
    /// With 2^32 - 1 places taken: four billion live jobs are over every other limit.
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.pages[slot as usize / PAGE][slot as usize % PAGE] = Some(value);
            return slot;
        }
        let slot = self.places();
        assert!(slot < NONE as usize, "all {NONE} places are taken");
        if slot.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[slot / PAGE].push(Some(value));
        slot as Slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> T {
        let place = &mut self.pages[slot as usize / PAGE][slot as usize % PAGE];
        let Some(value) = place.take() else { unreachable!("place {slot} is empty") };
        self.free.push(slot);
        value
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.pages.get_mut(slot as usize / PAGE)?.get_mut(slot as usize % PAGE)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places_from(0).filter_map(|(slot, place)| Some((slot, place?)))
    }

    /// All places from this one on, also the empty ones.
    pub(crate) fn places_from(&self, from: Slot) -> impl Iterator<Item = (Slot, Option<&T>)> {
        let (page, place) = (from as usize / PAGE, from as usize % PAGE);
        let places = self.pages.iter().skip(page).flatten().skip(place).map(Option::as_ref);
        (from..).zip(places)
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
