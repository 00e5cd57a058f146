//! What events about flows do to the state.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::flows::{Flow, Is, Step, StepAt, Then};
use super::super::keys::Keys;
use super::super::maybe::Maybe;
use super::super::slab::Slot;
use super::super::state::State;
use super::super::tape::Tape;
use super::steered::{ends, moment};
use crate::attempt::Output;
use crate::bug;
use crate::change::{Key, Record};
use crate::command::Request;
use crate::event::Event;
use crate::flow::{FlowId, FlowRecord, FlowState, StepEnd, StepHow, StepOf, StepRecord, Times, Work};
use crate::settings::Level;
use crate::state::EndState;
use crate::time::{Now, Timestamp};

impl State {
    pub(super) fn apply_to_flow(&mut self, event: Event, tape: &mut Tape) {
        match event {
            Event::FlowEntered(record) => self.flow_entered(*record, tape),
            Event::FlowEnded { flow, at } => self.flow_ended(flow, at),
            Event::FlowForgotten { flow } => self.flow_forgotten(flow, tape),
            Event::FlowWatched { id, request } => self.flows.watchers.entry(id).or_default().push(request),
            Event::FlowUnwatched { id, request } => self.flow_unwatched(id, request),
            Event::StepOpened { at, now } => self.step_opened(at, now, tape),
            Event::StepEnded { at, end, is_stored } => self.step_ended(at, end, is_stored, tape),
            Event::StepSignalled { at, payload, now } => self.step_signalled(at, payload, now, tape),
            Event::StepHolds { at } => self.step_holds(at),
            other => unreachable!("{other:?} is about no flow"),
        }
    }

    /// A flow was accepted; its jobs come next.
    fn flow_entered(&mut self, record: FlowRecord, tape: &mut Tape) {
        let Some(flow) = self.flow_of(record.clone(), true) else { unreachable!("the decision found its queues") };
        tape.put(Keys::level(flow.store), Record::Flow(Box::new(record)));
        let batches = (0..).zip(&flow.steps).filter(|(_, step)| step.batch.is_some());
        let batches: Vec<u32> = batches.map(|(no, _)| no).collect();
        let slot = self.add_flow(flow);
        for no in batches {
            tape.touch_batch(self, StepAt { flow: slot, no });
        }
    }

    fn add_flow(&mut self, flow: Flow) -> Slot {
        let id = flow.id;
        self.flows.bytes += flow.steps.iter().map(Step::bytes).sum::<usize>();
        let slot = self.flows.all.insert(flow);
        self.flows.by_id.insert(id, slot);
        slot
    }

    /// A job that just came in, or back, is a step. Before it has a place.
    pub(super) fn is_step(&mut self, slot: Slot, of: StepOf, tape: &mut Tape) {
        let Some(at) = self.flows.place_of(of, self.jobs[slot].id) else { return };
        self.pages.more_of(&mut self.jobs[slot]).step = Some(at);
        let step = self.flows.step(at);
        let waits_for_nothing = step.plan.needs.is_empty() && step.plan.undoes.is_none();
        if step.is == Is::Ended {
            self.step_reopened(at, tape);
        } else if waits_for_nothing && step.plan.work == Work::Job {
            self.set_step(at, Is::Going);
        }
    }

    pub(super) fn set_step(&mut self, at: StepAt, is: Is) {
        let flow = &mut self.flows.all[at.flow];
        let step = &mut flow.steps[at.no as usize];
        let was = core::mem::replace(&mut step.is, is);
        let open = if step.plan.undoes.is_some() { &mut flow.undo_open } else { &mut flow.open };
        *open = *open + usize::from(is != Is::Ended) - usize::from(was != Is::Ended);
        flow.going = flow.going + usize::from(is == Is::Going) - usize::from(was == Is::Going);
    }

    /// A step has another end, or none: those that need it have one need more or less.
    fn set_end(&mut self, at: StepAt, end: Option<Box<StepEnd>>, is_passed: bool) {
        let flow = &mut self.flows.all[at.flow];
        let (step, others) = flow.steps[at.no as usize..].split_at_mut(1);
        let step = &mut step[0];
        // Those that need it come after it.
        let place = |then: &Then| (then.step - at.no - 1) as usize;
        for then in step.then.iter().filter(|then| then.is_met_by(step)) {
            others[place(then)].needs_open += 1;
        }
        (step.end, step.is_passed) = (end, is_passed);
        for then in step.then.iter().filter(|then| then.is_met_by(step)) {
            others[place(then)].needs_open -= 1;
        }
    }

    /// A step's turn has come: its times begin, and its job takes its place. It keeps the arrival that it came with, so that what was
    /// begun ends before what came later, and most need nothing to be written.
    fn step_opened(&mut self, at: StepAt, now: Now, tape: &mut Tape) {
        self.set_step(at, Is::Going);
        let step = self.flows.step(at);
        let times = step.plan.times.as_deref().copied();
        let Some((slot, _)) = self.live(step.plan.job) else { unreachable!("a step that has not ended has a job") };
        self.unplace(slot);
        if let Some(times) = times {
            self.begin_times(slot, times, now);
        }
        // Somebody may have rescheduled it meanwhile.
        let is_past = self.jobs[slot].due != Maybe::NONE && Self::is_due(&self.jobs[slot], now);
        if is_past {
            self.jobs[slot].due = Maybe::NONE;
        }
        if times.is_some() || is_past {
            tape.touch_job(self, slot);
        }
        self.place(slot, now);
    }

    fn begin_times(&mut self, slot: Slot, times: Times, now: Now) {
        let (due, due_by_wall, clock_ms) = moment(times.due, now);
        let (expires, deadline) = ends(times.expires, times.deadline, now);
        let live = &mut self.jobs[slot];
        if times.due.is_some() {
            (live.due, live.due_by_wall, live.clock_ms) = (due.into(), due_by_wall, clock_ms);
        }
        let more = self.pages.more_of(live);
        (more.expires, more.deadline) = (expires.into(), deadline.into());
    }

    fn step_ended(&mut self, at: StepAt, mut end: Box<StepEnd>, is_stored: bool, tape: &mut Tape) {
        let (level, of) = self.step_of(at);
        // The last one has been counted by now.
        if let Some((_, live)) = self.job_of(at) {
            end.attempts = live.more().attempts_ended;
        }
        match &mut end.output {
            Output::Bytes(bytes) if !is_stored => {
                tape.put(level, Record::StepOutput(of, core::mem::replace(bytes, Bytes::new())));
            }
            Output::Bytes(_) => {}
            Output::None | Output::TooLarge { .. } => self.drop_output(at, tape),
        }
        if !bug!(StepUnwritten) {
            tape.put(level, Record::Step(Box::new(StepRecord { of, end: (*end).clone() })));
        }
        self.flows.holding.remove(&self.flows.step(at).plan.job.clone());
        if end.how == StepHow::Job(EndState::Cancelled) {
            self.batch_cancelled(at, &end, tape);
        }
        self.set_end(at, Some(end), false);
        self.set_step(at, Is::Ended);
    }

    /// A signal came before the turn of the step that waits for it.
    fn step_signalled(&mut self, at: StepAt, payload: Bytes, now: Now, tape: &mut Tape) {
        let (level, of) = self.step_of(at);
        let end = StepEnd {
            how: StepHow::Signalled,
            at: now.wall,
            started: None,
            attempts: 0,
            failure: None,
            cause: None,
            output: Output::Bytes(Bytes::new()),
            is_alone: false,
        };
        tape.put(level, Record::StepOutput(of, payload));
        tape.put(level, Record::Step(Box::new(StepRecord { of, end: end.clone() })));
        self.set_end(at, Some(Box::new(end)), false);
    }

    fn drop_output(&self, at: StepAt, tape: &mut Tape) {
        let (level, of) = self.step_of(at);
        if self.flows.step(at).end.as_ref().is_some_and(|end| matches!(end.output, Output::Bytes(_))) {
            tape.delete(level, Key::StepOutput(of));
        }
    }

    /// A step is to run again: it waits, until somebody looks whether its needs are met. Where others have gone on without it, they
    /// still do: its last end then stays where it stands, beside the job.
    fn step_reopened(&mut self, at: StepAt, tape: &mut Tape) {
        let (level, of) = self.step_of(at);
        let flow = &self.flows.all[at.flow];
        let is_passed = flow.step(at.no).then.iter().any(|then| flow.step(then.step).is == Is::Going);
        self.drop_output(at, tape);
        if !is_passed {
            tape.delete(level, Key::Step(of));
        }
        self.flows.holding.remove(&self.flows.step(at).plan.job.clone());
        self.set_end(at, None, is_passed);
        self.set_step(at, Is::Waiting);
        self.batch_reopened(at, tape);
        self.flow_not_ended(at.flow);
    }

    /// A job came back that has a flow, or was in a batch, and runs without. The journal is not to say any more that it has one, and
    /// the step that it was, if it still is remembered, not to wait for it.
    pub(super) fn runs_alone(&mut self, slot: Slot, was: Option<StepAt>, tape: &mut Tape) {
        let record = tape.job_record(self, slot);
        tape.put(self.queue(self.jobs[slot].queue).level(), record);
        let Some(at) = was else { return };
        let (level, of) = self.step_of(at);
        if let Some(end) = &mut self.flows.all[at.flow].steps[at.no as usize].end {
            end.is_alone = true;
            tape.put(level, Record::Step(Box::new(StepRecord { of, end: (**end).clone() })));
        }
    }

    /// A flow is none any more of those that have ended.
    fn flow_not_ended(&mut self, slot: Slot) {
        let flow = &mut self.flows.all[slot];
        if let Some(filed) = flow.ended.take() {
            self.flows.steps_kept -= flow.steps.len();
            self.flows.failed_kept -= if filed.has_failed { flow.steps.len() } else { 0 };
            self.flows.ended.remove(&(filed, slot));
            self.queues[flow.home.0 as usize].flows.remove(&(flow.forgotten_at(filed), slot));
        }
    }

    /// Others wait for somebody to do something about this one.
    fn step_holds(&mut self, at: StepAt) {
        let job = self.flows.step(at).plan.job;
        self.flows.holding.insert(job, at);
    }

    fn flow_ended(&mut self, slot: Slot, at: Timestamp) {
        let flow = &mut self.flows.all[slot];
        let filed = flow.filed(at);
        flow.ended = Some(filed);
        self.flows.steps_kept += flow.steps.len();
        self.flows.failed_kept += if filed.has_failed { flow.steps.len() } else { 0 };
        self.flows.ended.insert((filed, slot));
        self.queues[flow.home.0 as usize].flows.insert((flow.forgotten_at(filed), slot));
        self.flows.watchers.remove(&flow.id);
        if !self.flows.holding.is_empty() {
            for step in &flow.steps {
                self.flows.holding.remove(&step.plan.job);
            }
        }
    }

    fn flow_forgotten(&mut self, slot: Slot, tape: &mut Tape) {
        self.flow_not_ended(slot);
        let flow = self.flows.all.remove(slot);
        let level = Keys::level(flow.store);
        self.flows.by_id.remove(&flow.id);
        self.flows.bytes -= flow.steps.iter().map(Step::bytes).sum::<usize>();
        for (no, step) in (0..).zip(&flow.steps) {
            let of = StepOf { flow: flow.id, no };
            self.queues[flow.home.0 as usize].calling_off.remove(&StepAt { flow: slot, no });
            self.batch_forgotten(step, of, level, tape);
            let Some(end) = &step.end else { continue };
            tape.delete(level, Key::Step(of));
            if matches!(end.output, Output::Bytes(_)) {
                tape.delete(level, Key::StepOutput(of));
            }
        }
        tape.delete(level, Key::Flow(flow.id));
    }

    fn flow_unwatched(&mut self, id: FlowId, request: Request) {
        if let Some(watchers) = self.flows.watchers.get_mut(&id) {
            watchers.retain(|one| *one != request);
            if watchers.is_empty() {
                self.flows.watchers.remove(&id);
            }
        }
    }

    /// A flow is as its store has it.
    pub(super) fn loaded_flow(&mut self, record: FlowRecord) {
        for step in &record.plan.steps {
            self.queue_or_new(&step.queue);
        }
        if let Some(flow) = self.flow_of(record, false) {
            self.add_flow(flow);
        }
    }

    pub(super) fn loaded_step(&mut self, record: StepRecord) {
        let Some(flow) = self.flows.by_id.get(&record.of.flow).copied() else { return };
        let at = StepAt { flow, no: record.of.no };
        let is_end = record.end.is_end();
        self.set_end(at, Some(Box::new(record.end)), false);
        if is_end {
            self.set_step(at, Is::Ended);
        }
    }

    /// All records are there: live jobs know their steps, and steps whether their turn had come. What the journal has of flows in
    /// memory is of an earlier process: their jobs are gone.
    pub(super) fn link_flows(&mut self, tape: &mut Tape) {
        // Into rising places, but for those that others left.
        self.flows.loaded.sort_unstable_by_key(|(slot, _)| *slot);
        if self.settings.term == self.settings.first_term {
            let flows = self.flows.all.iter().filter(|(_, flow)| flow.is_volatile());
            for slot in flows.map(|(slot, _)| slot).collect::<Vec<_>>() {
                self.flows.all[slot].store = Keys::store(Level::Durable);
                self.flow_forgotten(slot, tape);
            }
        }
        self.link_members();
        let flows = self.flows.all.iter().map(|(slot, flow)| (slot, flow.steps.len() as u32));
        for (slot, steps) in flows.collect::<Vec<_>>() {
            for no in 0..steps {
                self.link_step(StepAt { flow: slot, no });
            }
            let flow = &self.flows.all[slot];
            // As it was decided when the last of the others had ended.
            let undoes = flow.open == 0 && flow.undo_open > 0 && flow.result() != FlowState::Done;
            if let (true, (Some(no), _)) = (undoes, flow.next_undo()) {
                self.set_step(StepAt { flow: slot, no }, Is::Going);
            }
        }
        self.keep_orphans();
    }

    /// A step and its job know one another.
    fn link_step(&mut self, at: StepAt) {
        let step = self.flows.step(at);
        let is_called_off = step.batch.as_ref().is_some_and(|batch| batch.called_off.is_some());
        let has_begun = (step.needs_open == 0 && step.plan.undoes.is_none()) || is_called_off;
        let is_ended = step.is == Is::Ended;
        // One with another label runs by itself.
        let live = self.live(step.plan.job).map(|(slot, _)| slot);
        let of = StepOf { flow: self.flows.all[at.flow].id, no: at.no };
        let live = live.filter(|slot| self.flows.loaded.binary_search(&(*slot, of)).is_ok());
        if is_ended && live.is_none() {
            return;
        }
        if is_ended {
            self.set_end(at, None, true);
            self.set_step(at, Is::Waiting);
        }
        if let Some(slot) = live {
            self.pages.more_of(&mut self.jobs[slot]).step = Some(at);
        }
        if has_begun {
            self.set_step(at, Is::Going);
        }
    }

    /// Live jobs that say that they are steps, and whose flow is not there.
    fn keep_orphans(&mut self) {
        let jobs = &self.jobs;
        self.flows.loaded.retain(|(slot, _)| jobs[*slot].more().step.is_none());
    }

    pub(super) fn step_of(&self, at: StepAt) -> (Level, StepOf) {
        let flow = &self.flows.all[at.flow];
        (Keys::level(flow.store), StepOf { flow: flow.id, no: at.no })
    }
}
