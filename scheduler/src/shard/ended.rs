//! The jobs that ended and are retained: a stub of each in memory, in the order of their ends, per queue and state.
//!
//! Owns what retention decides by (age, count, bytes), without reading the disk. Never holds a payload.

use super::slab::{NONE, Slab, Slot};
use crate::command::QueueNo;
use crate::job::JobId;
use crate::state::EndState;
use crate::time::Timestamp;

/// What stays in memory of a retained job.
#[derive(Clone, Debug)]
pub(crate) struct Stub {
    pub(crate) id: JobId,
    pub(crate) queue: QueueNo,
    pub(crate) kind: u32,
    pub(crate) state: EndState,
    pub(crate) end_no: u64,
    pub(crate) at: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) edits: u32,
    /// The last attempt that has a record; its keys and those of its forerunners follow from it.
    pub(crate) attempt_recorded: u32,
    pub(crate) has_result: bool,
    /// A checkpoint may stand in the journal: all but a success keep it, for when they are brought back.
    pub(crate) has_checkpoint: bool,
    pub(crate) prev: Slot,
    pub(crate) next: Slot,
}

/// The retained jobs of one queue and one end, the oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedList {
    pub(crate) first: Slot,
    pub(crate) last: Slot,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl EndedList {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, count: 0, bytes: 0 };

    pub(crate) fn push(&mut self, stubs: &mut Slab<Stub>, mut stub: Stub) -> Slot {
        self.count += 1;
        self.bytes += stub.bytes;
        let before = self.last;
        stub.prev = before;
        let slot = stubs.insert(stub);
        match before {
            NONE => self.first = slot,
            _ => stubs[before].next = slot,
        }
        self.last = slot;
        slot
    }

    pub(crate) fn remove(&mut self, stubs: &mut Slab<Stub>, slot: Slot) -> Stub {
        let stub = stubs.remove(slot);
        match stub.prev {
            NONE => self.first = stub.next,
            _ => stubs[stub.prev].next = stub.next,
        }
        match stub.next {
            NONE => self.last = stub.prev,
            _ => stubs[stub.next].prev = stub.prev,
        }
        self.count -= 1;
        self.bytes -= stub.bytes;
        stub
    }

    /// From the oldest on.
    pub(crate) fn iter<'a>(&self, stubs: &'a Slab<Stub>) -> impl Iterator<Item = (Slot, &'a Stub)> + use<'a> {
        let first = Some(self.first).filter(|slot| *slot != NONE);
        core::iter::successors(first, |slot| Some(stubs[*slot].next).filter(|next| *next != NONE))
            .map(|slot| (slot, &stubs[slot]))
    }
}
