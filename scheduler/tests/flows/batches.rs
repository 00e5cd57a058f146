//! Batches, as the oracle has them: all jobs that ever came into one, and how each ended. No numbers are kept, they are counted.
//!
//! Guards I16 as far as batches go (one ends once its turn has come, nobody keeps it open and none of its jobs is left; called off, it
//! ends with the last of them) and I2 of what is asked of them.

use std::collections::BTreeSet;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::batch::{BatchCounts, BatchView, MemberOf};
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::command::{Command, Submit};
use windlass_scheduler::flow::{FlowCommand, IfFailed, StepOf, StepState};
use windlass_scheduler::job::{JobId, NewJob};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;

use super::common::{Store, id};
use super::plan::{IN_MEMORY, LEVELS, MemberSpec, QUEUES, Times, flow_id, name};
use super::play::{No, Play, What};
use super::world::{End, Flow, Job, Phase, World};

/// A batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// By their places; `None`: it has not ended.
    pub(crate) jobs: Vec<(JobId, Option<EndState>)>,
    pub(crate) is_closed: bool,
    /// It was called off, for want of these steps.
    pub(crate) called_off: Option<BTreeSet<usize>>,
}

/// The place that a job has in a batch: while it counts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) flow: u8,
    pub(crate) no: usize,
    /// The batch's own job.
    pub(crate) batch: JobId,
    pub(crate) place: usize,
}

impl Batch {
    pub(crate) fn is_open(&self) -> bool {
        self.jobs.iter().any(|(_, end)| end.is_none())
    }

    fn has_failed(&self) -> bool {
        self.jobs.iter().any(|(_, end)| end.is_some_and(|end| end != EndState::Done))
    }

    pub(crate) fn counts(&self) -> BatchCounts {
        let count = |how: EndState| self.jobs.iter().filter(|(_, end)| *end == Some(how)).count() as u32;
        BatchCounts {
            jobs: self.jobs.len() as u32,
            done: count(EndState::Done),
            dead: count(EndState::Dead),
            cancelled: count(EndState::Cancelled),
            expired: count(EndState::Expired),
            is_closed: self.is_closed,
        }
    }
}

impl Flow {
    pub(crate) fn has_open_members(&self, no: usize) -> bool {
        self.steps[no].batch.as_ref().is_some_and(Batch::is_open)
    }

    pub(crate) fn is_called_off(&self, no: usize) -> bool {
        self.steps[no].batch.as_ref().is_some_and(|batch| batch.called_off.is_some())
    }

    /// Somebody may still have to close it.
    fn stays_open(&self, no: usize) -> bool {
        let is_closed = self.steps[no].batch.as_ref().is_some_and(|batch| batch.is_closed);
        self.plan[no].batch.as_ref().is_some_and(|plan| plan.stays_open) && !is_closed
    }

    fn collects(&self, no: usize) -> bool {
        self.plan[no].batch.as_ref().is_some_and(|plan| plan.collects)
    }

    /// How a batch ends that nothing keeps from it, and for want of what.
    fn ends_as(&self, no: usize) -> Option<(EndState, BTreeSet<usize>)> {
        self.end_of_batch(no).filter(|_| self.is_going(no))
    }

    /// How it ends that still is to be looked at, by the move at hand.
    fn is_about_to_end_as(&self, no: usize) -> Option<(EndState, BTreeSet<usize>)> {
        let goes_on = |(other, if_failed): (usize, IfFailed)| match self.is_about_to_end_as(other) {
            Some((end, _)) => end == EndState::Done || if_failed == IfFailed::GoOn,
            None => self.is_met((other, if_failed)),
        };
        let begins = || self.plan[no].undoes.is_none() && self.plan[no].needs.iter().copied().all(goes_on);
        self.end_of_batch(no).filter(|_| self.is_going(no) || begins())
    }

    fn end_of_batch(&self, no: usize) -> Option<(EndState, BTreeSet<usize>)> {
        let batch = self.steps[no].batch.as_ref()?;
        if batch.is_open() || self.steps[no].end.is_some() {
            return None;
        }
        match &batch.called_off {
            Some(causes) => Some((EndState::Cancelled, causes.clone())),
            None if self.stays_open(no) => None,
            None if self.collects(no) && batch.has_failed() => Some((EndState::Dead, BTreeSet::new())),
            None => Some((EndState::Done, BTreeSet::new())),
        }
    }

    /// What has to be named as the cause, where a batch fails this step by the move that is looked at.
    pub(crate) fn about_to_fail(&self, no: usize) -> BTreeSet<usize> {
        let needs = self.plan[no].needs.iter().filter(|(_, if_failed)| *if_failed == IfFailed::Cancel);
        let causes = |other: usize| match self.is_about_to_end_as(other)? {
            (EndState::Done, _) => None,
            (_, causes) if causes.is_empty() => Some(BTreeSet::from([other])),
            (_, causes) => Some(causes),
        };
        needs.filter_map(|(other, _)| causes(*other)).flatten().collect()
    }

    /// Some batch is over as soon as it is looked at, and fails.
    pub(crate) fn is_about_to_fail(&self) -> bool {
        (0..self.steps.len()).any(|no| self.is_about_to_end_as(no).is_some_and(|(end, _)| end != EndState::Done))
    }

    /// What a batch is, once it has come back with its needs met.
    pub(crate) fn comes_back_as(&self, no: usize) -> State {
        match &self.steps[no].batch {
            Some(batch) if batch.is_open() || self.stays_open(no) => State::Waiting,
            Some(batch) if self.collects(no) && batch.has_failed() => State::Dead,
            _ => State::Done,
        }
    }

    /// The step has ended well, and nobody can come in any more.
    fn has_succeeded(&self, no: usize) -> bool {
        self.steps[no].end.as_ref().is_some_and(End::is_good)
    }

    /// The records that a batch implies: its numbers, and who of its jobs is remembered.
    fn notes(&self, no: usize) -> Vec<(u32, JobId, EndState)> {
        let Some(batch) = &self.steps[no].batch else { return Vec::new() };
        let ended = (0..).zip(&batch.jobs).filter_map(|(place, (id, end))| Some((place, *id, (*end)?)));
        ended.filter(|(.., end)| *end != EndState::Done || self.collects(no)).collect()
    }
}

impl World {
    pub(crate) fn batch(&mut self, flow: u8, no: usize) -> Option<&mut Batch> {
        self.flows.get_mut(&flow)?.steps.get_mut(no)?.batch.as_mut()
    }

    /// The step that this is the own job of is a batch some of whose jobs have not ended.
    pub(crate) fn has_open_members(&self, id: JobId) -> bool {
        self.jobs[&id].of.is_some_and(|(flow, no)| self.flows[&flow].has_open_members(no))
    }

    /// A job comes into a batch.
    pub(crate) fn join(&mut self, id: JobId, flow: u8, no: usize) {
        let batch = self.flows[&flow].steps[no].job;
        let jobs = &mut self.batch(flow, no).unwrap().jobs;
        let seat = Seat { flow, no, batch, place: jobs.len() };
        jobs.push((id, None));
        self.labels.insert(id, seat);
        self.jobs.get_mut(&id).unwrap().seat = Some(seat);
    }

    /// A job of a batch ended.
    pub(crate) fn leave(&mut self, seat: Seat, end: EndState) {
        let place = &mut self.batch(seat.flow, seat.no).unwrap().jobs[seat.place];
        assert_eq!(place.1.replace(end), None, "a job of a batch ended twice");
    }

    /// A job that ended comes back: where it counts again.
    pub(crate) fn rejoins(&self, id: JobId) -> Option<Seat> {
        let seat = *self.labels.get(&id)?;
        let flow = self
            .flows
            .get(&seat.flow)
            .filter(|flow| flow.steps.get(seat.no).map(|step| step.job) == Some(seat.batch))?;
        let is_being_called_off = flow.is_called_off(seat.no) && flow.steps[seat.no].end.is_none();
        (!flow.has_succeeded(seat.no) && !is_being_called_off).then_some(seat)
    }

    /// It does so, or runs by itself from then on.
    pub(crate) fn rejoin(&mut self, id: JobId) {
        let seat = self.rejoins(id);
        if let Some(seat) = seat {
            let batch = self.batch(seat.flow, seat.no).unwrap();
            batch.called_off = None;
            batch.jobs[seat.place].1 = None;
        } else {
            self.labels.remove(&id);
        }
        self.jobs.get_mut(&id).unwrap().seat = seat;
    }

    /// What follows a success comes in with it.
    pub(crate) fn follow(&mut self, job: &NewJob, now: Now) {
        let flow = |member: MemberOf| (0..3).find(|flow| flow_id(*flow) == member.of.flow);
        let at = job.body.labels.member().and_then(|member| Some((flow(member)?, member.of.no as usize, member.batch)));
        let at = at.filter(|at| self.may_join(*at, job, true).is_ok());
        self.come_in(job, at.map(|(flow, no, _)| (flow, no)), now);
    }

    /// A job comes in, with its times running, and into this batch.
    fn come_in(&mut self, job: &NewJob, at: Option<(u8, usize)>, now: Now) {
        let mut one = Job::new(QUEUES.iter().position(|queue| *queue == job.queue.as_str()).unwrap(), None);
        one.begin(Times { due: job.due, expires: job.expires, deadline: job.deadline }, now);
        self.jobs.insert(job.id, one);
        if let Some((flow, no)) = at {
            self.join(job.id, flow, no);
        }
    }

    fn may_join(&self, (flow, no, batch): (u8, usize, JobId), job: &NewJob, is_inside: bool) -> Result<(), No> {
        let flow = self.flows.get(&flow).ok_or(("NoFlow", 2))?;
        if flow.steps.get(no).is_none_or(|step| step.job != batch || step.batch.is_none()) {
            return Err(("NoStep", 0));
        }
        if flow.is_volatile() != (job.queue.as_str() == "ram") {
            return Err(("FlowInTwoStores", 0));
        }
        let is_over = flow.steps[no].end.is_some();
        let is_closed = flow.steps[no].batch.as_ref().is_some_and(|batch| batch.is_closed);
        let is_refused = flow.has_succeeded(no) || (!is_inside && (is_over || is_closed || flow.is_called_off(no)));
        if is_refused { Err(("StepForbidden", flow.mark())) } else { Ok(()) }
    }

    /// Jobs of batches that were called off and that nobody has asked to stop yet, of flows that are at home in this queue.
    pub(crate) fn to_be_asked(&self, queue: usize) -> Vec<JobId> {
        let flows = self.flows.values().filter(|flow| flow.plan[0].queue == queue);
        let batches = flows.flat_map(|flow| &flow.steps).filter_map(|step| step.batch.as_ref());
        let jobs = batches.filter(|batch| batch.called_off.is_some()).flat_map(|batch| &batch.jobs);
        let open = jobs.filter(|(id, end)| end.is_none() && !self.jobs[id].cancel);
        open.map(|(id, _)| *id).collect()
    }

    /// Batches that nothing keeps from ending do. In a flow that the first failure calls off it matters whose turn is first: one after
    /// the other then, and the shard is asked which.
    pub(crate) fn complete(&mut self, no: u8, now: Now) -> bool {
        let flow = &self.flows[&no];
        let mut over: Vec<_> = (0..flow.steps.len()).filter(|step| flow.ends_as(*step).is_some()).collect();
        if flow.fail_fast && over.len() > 1 {
            let first = over.iter().find(|step| self.is_as_foretold(no, **step)).unwrap_or(&over[0]);
            over = vec![*first];
        }
        for step in &over {
            self.finish(no, *step, now);
        }
        !over.is_empty()
    }

    pub(crate) fn finish(&mut self, no: u8, step: usize, now: Now) {
        let flow = &self.flows[&no];
        let (end, causes) = flow.ends_as(step).unwrap();
        self.close(flow.steps[step].job, end, &causes, now);
    }

    /// Whether a batch that may end now has ended so by what the shard says.
    pub(crate) fn is_as_foretold(&self, no: u8, step: usize) -> bool {
        let Some((end, causes)) = self.flows[&no].ends_as(step) else { return false };
        let said = self.said_ends.get(&(no, step));
        said.is_some_and(|(state, cause)| {
            *state == StepState::Job(end.into()) && cause.map_or(causes.is_empty(), |cause| causes.contains(&cause))
        })
    }

    /// Whether exactly those records of batches stand that this world implies, with what it implies.
    pub(crate) fn check_batches(&self, store: &Store, is_volatile: bool) {
        let mut implied = BTreeSet::new();
        for (flow_no, flow) in self.flows.iter().filter(|(_, flow)| flow.is_volatile() == is_volatile) {
            for (no, step) in (0..).zip(&flow.steps) {
                let (of, Some(batch)) = (StepOf { flow: flow_id(*flow_no), no }, &step.batch) else { continue };
                implied.insert(Key::Batch(of));
                let Some(Record::Batch(record)) = store.0.get(&Key::Batch(of)) else { continue };
                let is_called_off = record.called_off.is_some();
                assert_eq!(
                    (record.counts, is_called_off),
                    (batch.counts(), batch.called_off.is_some()),
                    "numbers of {of:?}"
                );
                for (place, id, end) in flow.notes(no as usize) {
                    implied.insert(Key::Member(of, place));
                    let Some(Record::Member(note)) = store.0.get(&Key::Member(of, place)) else { continue };
                    assert_eq!((note.id, note.end), (id, end), "the note of job {place} of {of:?}");
                }
            }
        }
        let is_of_batch = |key: &&Key| matches!(key, Key::Batch(_) | Key::Member(..));
        let stands: BTreeSet<_> = store.0.keys().filter(is_of_batch).cloned().collect();
        assert_eq!(stands, implied, "records of batches");
    }
}

impl Play {
    /// A step that is a batch, if there is one; at times any other.
    pub(crate) fn pick_batch(&self, pick: u8) -> (u8, usize) {
        let flows = self.world.flows.iter();
        let batches = flows.flat_map(|(no, flow)| {
            (0..flow.steps.len()).filter(|step| flow.steps[*step].batch.is_some()).map(move |step| (*no, step))
        });
        let batches: Vec<_> = batches.collect();
        if batches.is_empty() || pick.is_multiple_of(16) {
            return (pick % 3, usize::from(pick / 16 % 7));
        }
        batches[usize::from(pick) % batches.len()]
    }

    /// What a job says that is to be of this batch.
    fn label(&self, flow: u8, no: usize) -> MemberOf {
        let step = self.world.flows.get(&flow).and_then(|flow| flow.steps.get(no));
        let of = StepOf { flow: flow_id(flow), no: no as u32 };
        MemberOf { of, batch: step.map_or(id(u64::MAX), |step| step.job), place: 7 }
    }

    /// Jobs come into a batch from outside: all or none.
    pub(crate) fn add(&mut self, pick: u8, members: &[MemberSpec]) {
        let (request, now, (flow, no)) = (self.request(), self.driver.now, self.pick_batch(pick));
        // Now and then into the other store.
        let is_volatile = (flow == IN_MEMORY) != (pick == u8::MAX);
        let label = self.label(flow, no);
        let jobs: Vec<_> = members.iter().map(|member| member.job(self.next_job(), is_volatile, label, now)).collect();
        let judged: Result<Vec<_>, _> =
            jobs.iter().map(|job| self.world.may_join((flow, no, label.batch), job, false)).collect();
        self.driver.handle(Command::Submit(Submit { request, watch: None, jobs: jobs.clone(), flow: None }));
        match judged {
            Ok(_) => {
                let mark = jobs.iter().map(|job| LEVELS[super::verbs::queue_no(job.queue.as_str())] as usize).max();
                let receipts = jobs.iter().map(|job| (job.id, true)).collect();
                self.expect(request, What::Enqueued(receipts), mark.unwrap());
                for job in &jobs {
                    self.world.come_in(job, Some((flow, no)), now);
                }
            }
            Err((word, mark)) => self.expect(request, What::No(word), mark),
        }
        self.settled();
    }

    /// A success that brings jobs for a batch, in the store that the success stands in.
    pub(crate) fn bring(&mut self, is_volatile: bool, pick: u8, members: &[MemberSpec]) -> Outcome {
        let (now, (flow, no)) = (self.driver.now, self.pick_batch(pick));
        let label = self.label(flow, no);
        let follow_ups = members.iter().map(|member| member.job(self.next_job(), is_volatile, label, now)).collect();
        Outcome::Done { output: Output::None, follow_ups }
    }

    fn of_batch(&self, flow: u8, no: usize) -> Result<&Batch, No> {
        let flow = self.world.flows.get(&flow).ok_or(("NoFlow", 2))?;
        let step = flow.steps.get(no).ok_or(("NoStep", 0))?;
        step.batch.as_ref().ok_or(("StepForbidden", flow.mark()))
    }

    pub(crate) fn close(&mut self, flow: u8, no: usize) {
        let judged = self.of_batch(flow, no).map(|_| What::Ok);
        if self.ask(flow, FlowCommand::Close { id: flow_id(flow), step: name(no) }, judged) {
            if self.world.flows[&flow].steps[no].end.is_none() {
                self.world.batch(flow, no).unwrap().is_closed = true;
            }
            self.settled();
        }
    }

    pub(crate) fn look_at_batch(&mut self, pick: u8) {
        let (no, step) = self.pick_batch(pick);
        let judged = self.of_batch(no, step).map(|batch| {
            let flow = &self.world.flows[&no];
            let plan = flow.plan[step].batch.as_ref().map(super::plan::BatchSpec::plan).unwrap();
            What::Batch(Box::new(BatchView {
                member: MemberOf { place: 0, ..self.label(no, step) },
                plan,
                state: self.world.step_state(flow, step),
                counts: batch.counts(),
                queue: QUEUES[flow.plan[step].queue].into(),
            }))
        });
        let request = self.request();
        let command = FlowCommand::Batch { id: flow_id(no), step: name(step) };
        self.driver.handle(Command::Flow { request, command });
        match judged {
            Ok(what) => self.expect(request, what, 0),
            Err((word, mark)) => self.expect(request, What::No(word), mark),
        }
    }

    /// Jobs of batches that were called off are, when the timer of their flows' home fires.
    pub(crate) fn ask_members(&mut self, queue: usize) {
        for id in self.world.to_be_asked(queue) {
            self.world.call_off(id, &BTreeSet::new(), self.driver.now);
        }
    }

    /// All that stays open is closed, and all that is to be called off is.
    pub(crate) fn wind_up_batches(&mut self) {
        let flows: Vec<_> = self.world.flows.iter().map(|(no, flow)| (*no, flow.steps.len())).collect();
        for (flow, no) in flows.into_iter().flat_map(|(no, steps)| (0..steps).map(move |step| (no, step))) {
            if self.of_batch(flow, no).is_ok() {
                self.close(flow, no);
            }
        }
        for queue in 0..QUEUES.len() {
            if !self.world.to_be_asked(queue).is_empty() {
                self.due(queue, windlass_scheduler::command::TimerClass::Retention);
            }
        }
    }

    /// Whether the oracle has a job that waits for others, or for a signal.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.world.jobs.values().all(|job| job.phase == Phase::Waiting)
    }
}
