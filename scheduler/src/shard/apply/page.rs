//! What events about bodies do to the state: in memory, or on disk only. The counts follow here and nowhere else.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::pages::{Pages, cost};
use super::super::slab::Slot;
use super::super::state::{Live, State};
use super::super::tape::Tape;
use crate::change::Key;
use crate::job::{Body, JobId};
use crate::settings::Level;

impl State {
    /// A live job gets its slot.
    pub(super) fn add_job(&mut self, live: Live) -> Slot {
        self.pages.add(&live);
        self.jobs.insert(live)
    }

    /// A live job gives its slot back.
    pub(super) fn drop_job(&mut self, slot: Slot) {
        let live = self.jobs.remove(slot);
        self.exit(live.tenant);
        self.pages.subtract(&live);
        self.pages.asked.remove(&live.id);
    }

    /// A live job gets another body.
    pub(super) fn replace_body(&mut self, slot: Slot, body: Arc<Body>) {
        let live = &mut self.jobs[slot];
        self.pages.subtract(live);
        live.body_bytes = body.bytes() as u32;
        live.body = Some(body);
        self.pages.add(live);
        // What is on its way from the disk is the one before.
        self.pages.asked.remove(&live.id);
    }

    /// What an attempt left for the next one is forgotten.
    pub(super) fn drop_checkpoint(pages: &mut Pages, id: JobId, level: Level, tape: &mut Tape) {
        pages.set_checkpoint(id, None);
        tape.delete(level, Key::Checkpoint(id));
    }

    pub(super) fn paged_out(&mut self, slots: &[Slot]) {
        for slot in slots {
            let live = &mut self.jobs[*slot];
            debug_assert!(live.body.is_some() && !live.is_new, "nobody else has the body of job {}", live.id);
            self.pages.subtract(live);
            live.body = None;
            self.pages.add(live);
            // What was asked before may be about an earlier body.
            self.pages.asked.remove(&live.id);
        }
    }

    pub(super) fn asked(&mut self, no: u64, slots: &[Slot]) {
        self.pages.asked.extend(slots.iter().map(|slot| (self.jobs[*slot].id, no)));
    }

    pub(super) fn answered(&mut self, ids: &[JobId], bodies: Vec<(Slot, Arc<Body>)>) {
        for id in ids {
            self.pages.asked.remove(id);
        }
        for (slot, body) in bodies {
            let live = &mut self.jobs[slot];
            debug_assert!(live.body.is_none() && cost(live.body_bytes) > 0, "job {} has a body", live.id);
            self.pages.subtract(live);
            live.body = Some(body);
            self.pages.add(live);
        }
    }
}
