//! What events about batches do to the state.

use alloc::boxed::Box;

use super::super::batches::{Batch, MemberAt};
use super::super::flows::{Is, Step, StepAt};
use super::super::slab::Slot;
use super::super::state::State;
use super::super::tape::Tape;
use crate::attempt::{Failure, Output};
use crate::batch::{BatchRecord, CalledOff, MemberOf, MemberRecord};
use crate::bug;
use crate::change::{Key, Record};
use crate::event::BatchEvent;
use crate::flow::{StepEnd, StepOf};
use crate::settings::Level;
use crate::state::EndState;

impl State {
    pub(super) fn apply_to_batch(&mut self, at: StepAt, event: BatchEvent, tape: &mut Tape) {
        match event {
            BatchEvent::MemberEnded { slot, end, output, failure } => {
                self.member_ended(at, slot, end, (output, failure), tape);
            }
            BatchEvent::CalledOff(called) => {
                self.batch(at).called_off = Some(called);
                // Whether its turn had come or not: it goes on until its jobs have ended.
                self.set_step(at, Is::Going);
                self.asks(at);
                tape.touch_batch(self, at);
            }
            BatchEvent::AllAsked => self.asks_no_more(at),
            BatchEvent::Closed => {
                self.batch(at).counts.is_closed = true;
                tape.touch_batch(self, at);
            }
            BatchEvent::MembersLost(jobs) => {
                self.batch(at).counts.dead += jobs;
                tape.touch_batch(self, at);
            }
            BatchEvent::NotesGone(until) => {
                let (level, of) = self.step_of(at);
                let gone = core::mem::replace(&mut self.batch(at).notes_gone, until);
                (gone..until).for_each(|place| tape.delete(level, Key::Member(of, place)));
            }
        }
    }

    fn batch(&mut self, at: StepAt) -> &mut Batch {
        let step = &mut self.flows.all[at.flow].steps[at.no as usize];
        step.batch.as_deref_mut().unwrap_or_else(|| unreachable!("what happens to batches happens to no other step"))
    }

    /// A step ends that was called off. Of a batch that had no jobs then, those that come too late are called off as well.
    pub(super) fn batch_cancelled(&mut self, at: StepAt, end: &StepEnd, tape: &mut Tape) {
        let batch = &mut self.flows.all[at.flow].steps[at.no as usize].batch;
        if let Some(batch) = batch.as_mut().filter(|batch| batch.called_off.is_none()) {
            batch.called_off = Some(Box::new(CalledOff { cause: end.cause, failure: end.failure.clone() }));
            tape.touch_batch(self, at);
        }
    }

    /// Its jobs are to be called off.
    fn asks(&mut self, at: StepAt) {
        let home = self.flows.all[at.flow].home;
        self.queues[home.0 as usize].calling_off.insert(at);
    }

    fn asks_no_more(&mut self, at: StepAt) {
        let home = self.flows.all[at.flow].home;
        self.queues[home.0 as usize].calling_off.remove(&at);
    }

    /// A job that just came in has a place in a batch.
    pub(super) fn joined(&mut self, slot: Slot, member: Option<MemberOf>, tape: &mut Tape) {
        let Some((member, at)) = member.and_then(|member| Some((member, self.batch_of(member)?))) else { return };
        let batch = self.batch(at);
        batch.counts.jobs = batch.counts.jobs.max(member.place + 1);
        self.opens(slot, MemberAt { at, place: member.place });
        tape.touch_batch(self, at);
    }

    fn opens(&mut self, slot: Slot, member: MemberAt) {
        self.pages.more_of(&mut self.jobs[slot]).member = Some(member);
        let batch = self.batch(member.at);
        batch.open.insert(slot);
        if batch.called_off.is_some() {
            self.asks(member.at);
        }
    }

    /// A job of a batch that had ended so came back.
    pub(super) fn rejoined(&mut self, slot: Slot, member: Option<MemberOf>, was: EndState, tape: &mut Tape) {
        let Some((member, at)) = member.and_then(|member| Some((member, self.may_rejoin(member)?))) else { return };
        let (level, of) = self.step_of(at);
        // Whoever brings it back wants it to run, and the batch is over.
        self.asks_no_more(at);
        let batch = self.batch(at);
        batch.called_off = None;
        let ended = batch.counts.ended_mut(was);
        *ended = ended.saturating_sub(u32::from(!bug!(MemberTwice)));
        tape.delete(level, Key::Member(of, member.place));
        self.opens(slot, MemberAt { at, place: member.place });
        tape.touch_batch(self, at);
    }

    fn member_ended(
        &mut self,
        at: StepAt,
        slot: Slot,
        end: EndState,
        (output, failure): (Output, Option<Failure>),
        tape: &mut Tape,
    ) {
        let (live, (level, of)) = (&self.jobs[slot], self.step_of(at));
        let Some(MemberAt { place, .. }) = live.more().member else { return };
        let id = live.id;
        if end != EndState::Done || self.flows.step(at).collects() {
            let record = MemberRecord { of, place, id, end, failure, output };
            tape.put(level, Record::Member(Box::new(record)));
        }
        let batch = self.batch(at);
        batch.open.remove(&slot);
        *batch.counts.ended_mut(end) += 1;
        if !bug!(BatchUnwritten) {
            tape.touch_batch(self, at);
        }
    }

    /// A batch that failed is to go on: its jobs that come back count anew.
    pub(super) fn batch_reopened(&mut self, at: StepAt, tape: &mut Tape) {
        if let Some(batch) = &mut self.flows.all[at.flow].steps[at.no as usize].batch {
            batch.called_off = None;
            self.asks_no_more(at);
            tape.touch_batch(self, at);
        }
    }

    /// What is remembered of the jobs of a batch goes, with its numbers; those that are live run by themselves.
    pub(super) fn batch_forgotten(&mut self, step: &Step, of: StepOf, level: Level, tape: &mut Tape) {
        let Some(batch) = &step.batch else { return };
        step.notes().for_each(|place| tape.delete(level, Key::Member(of, place)));
        tape.delete(level, Key::Batch(of));
        for slot in &batch.open {
            self.pages.more_of(&mut self.jobs[*slot]).member = None;
        }
    }

    pub(super) fn loaded_batch(&mut self, record: BatchRecord) {
        let Some(flow) = self.flows.by_id.get(&record.of.flow).copied() else { return };
        let batch = self.batch(StepAt { flow, no: record.of.no });
        batch.counts = record.counts;
        batch.called_off = record.called_off.map(Box::new);
        batch.is_known = true;
    }

    /// All records are there: live jobs know their batches.
    pub(super) fn link_members(&mut self) {
        for (slot, member) in core::mem::take(&mut self.flows.loaded_members) {
            let Some(at) = self.batch_of(member) else { continue };
            let batch = self.batch(at);
            if batch.is_known && member.place < batch.counts.jobs {
                self.opens(slot, MemberAt { at, place: member.place });
            }
        }
    }
}
