//! The line of a queue's ready jobs: 256 lists, one a priority, threaded through the slab, and a bitmap of those in
//! use.
//!
//! Owns the order (priority, arrival). Joining at either end, leaving from anywhere and finding the first are all O(1),
//! whatever the backlog. Never decides who may go: it only knows who is next.

use alloc::vec::Vec;

use super::slab::{NONE, Slab, Slot};
use super::state::Live;
use crate::bug;

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: Slot,
    last: Slot,
}

fn level_of(live: &Live) -> usize {
    if bug!(PriorityIgnored) { 0 } else { usize::from(live.priority.0) }
}

/// One line. A job is in at most one, so that the links can live in the job.
#[derive(Debug)]
pub(crate) struct Line {
    levels: Vec<Ends>,
    in_use: [u64; 4],
    len: u64,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { levels: alloc::vec![Ends { first: NONE, last: NONE }; 256], in_use: [0; 4], len: 0 }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Joins where the arrival number belongs: at the end for a new one, near the front for one that came back.
    pub(crate) fn join(&mut self, jobs: &mut Slab<Live>, slot: Slot) {
        let ends = self.levels[level_of(&jobs[slot])];
        let arrival = jobs[slot].arrival;
        if ends.first == NONE {
            self.link(jobs, slot, NONE, NONE);
        } else if jobs[ends.last].arrival < arrival {
            self.link(jobs, slot, ends.last, NONE);
        } else if arrival < jobs[ends.first].arrival {
            self.link(jobs, slot, NONE, ends.first);
        } else {
            // One that came back, behind others that did: whoever ran was ahead of all that never ran, so the walk is
            // short.
            let mut after = ends.first;
            while jobs[after].arrival < arrival {
                after = jobs[after].next;
            }
            let before = jobs[after].prev;
            self.link(jobs, slot, before, after);
        }
    }

    fn link(&mut self, jobs: &mut Slab<Live>, slot: Slot, before: Slot, after: Slot) {
        let level = level_of(&jobs[slot]);
        jobs[slot].prev = before;
        jobs[slot].next = after;
        match before {
            NONE => self.levels[level].first = slot,
            _ => jobs[before].next = slot,
        }
        match after {
            NONE => self.levels[level].last = slot,
            _ => jobs[after].prev = slot,
        }
        self.in_use[level / 64] |= 1 << (level % 64);
        self.len += 1;
    }

    pub(crate) fn leave(&mut self, jobs: &mut Slab<Live>, slot: Slot) {
        let (level, before, after) = (level_of(&jobs[slot]), jobs[slot].prev, jobs[slot].next);
        match before {
            NONE => self.levels[level].first = after,
            _ => jobs[before].next = after,
        }
        match after {
            NONE => self.levels[level].last = before,
            _ => jobs[after].prev = before,
        }
        if self.levels[level].first == NONE {
            self.in_use[level / 64] &= !(1 << (level % 64));
        }
        jobs[slot].prev = NONE;
        jobs[slot].next = NONE;
        self.len -= 1;
    }

    /// The very last one.
    pub(crate) fn back(&self) -> Option<Slot> {
        let (word, bits) = self.in_use.iter().enumerate().rev().find(|(_, bits)| **bits != 0)?;
        Some(self.levels[word * 64 + 63 - bits.leading_zeros() as usize].last)
    }

    /// The first of every priority in use, the most urgent one first.
    pub(crate) fn fronts(&self) -> impl Iterator<Item = Slot> {
        self.in_use.iter().enumerate().flat_map(move |(word, bits)| {
            let mut bits = *bits;
            core::iter::from_fn(move || {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits.checked_sub(1)?;
                Some(self.levels[word * 64 + bit].first)
            })
        })
    }

    /// All of them, in order.
    pub(crate) fn iter<'a>(&'a self, jobs: &'a Slab<Live>) -> impl Iterator<Item = Slot> + 'a {
        self.fronts().flat_map(move |front| {
            core::iter::successors(Some(front), move |slot| Some(jobs[*slot].next).filter(|next| *next != NONE))
        })
    }
}
