//! The verbs on the jobs of steps, and what is asked of flows, each done to the driver and to the oracle.
//!
//! Guards I1 (whatever is done to a step, it comes back from the journal so), I2 (its answer waits for the flow's strongest level) and
//! I16 (what is brought back, skipped or given up lets go those that it held).

use std::collections::BTreeSet;

use bytes::Bytes;
use windlass_scheduler::command::Command;
use windlass_scheduler::flow::{FlowCommand, IfFailed, Work};
use windlass_scheduler::job::{JobId, When};
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::verb::{Retained, Verb};

use super::common::Store;
use super::plan::{LEVELS, QUEUES, Times, flow_id, name};
use super::play::{No, Play, What};
use super::world::{Job, Phase};

pub(crate) fn queue_no(name: &str) -> usize {
    QUEUES.iter().position(|queue| *queue == name).unwrap()
}

impl Play {
    fn read(&self, id: JobId) -> Option<Retained> {
        let read =
            |store: &Store| Some(Retained { ended: store.ended(id)?.clone(), body: store.job(id)?.body.clone() });
        [&self.driver.journal, &self.driver.twin].into_iter().find_map(read)
    }

    /// What was read is still what stands.
    fn is_current(&self, id: JobId) -> bool {
        let end_no = self.driver.shard.portrait().retained[&id].2;
        self.read(id).is_some_and(|read| read.ended.key.end_no == end_no)
    }

    /// The mark of what is said of a job, live or retained, and what it is.
    fn is(&self, id: JobId) -> Option<(State, usize)> {
        if let Some(job) = self.world.jobs.get(&id) {
            return Some((job.state(), LEVELS[job.queue] as usize));
        }
        let portrait = self.driver.shard.portrait();
        let (queue, state, _) = portrait.retained.get(&id)?;
        Some(((*state).into(), LEVELS[queue_no(queue.as_str())] as usize))
    }

    pub(crate) fn steer(&mut self, id: JobId, verb: &Verb) {
        let request = self.request();
        // The oracle judges what is, before it is done.
        let judged = self.judge(id, verb);
        let read = self.read(id).map(Box::new).filter(|_| *verb == Verb::Requeue);
        self.driver.handle(Command::Steer { request, id, verb: verb.clone(), read });
        match judged {
            Ok(mark) => {
                let state = self.do_it(id, verb);
                self.expect(request, What::Steered(state), mark);
            }
            Err((word, mark)) => self.expect(request, What::No(word), mark),
        }
        self.settled();
    }

    fn judge(&self, id: JobId, verb: &Verb) -> Result<usize, No> {
        let (state, mark) = self.is(id).ok_or(("Forgotten", 2))?;
        if !verb.acts_on(state) {
            return Err(("Forbidden", mark));
        }
        if let Verb::Move(to) = verb {
            let to = queue_no(to.as_str());
            let is_volatile = |queue: usize| LEVELS[queue] == Level::Memory;
            let is_elsewhere = is_volatile(self.world.jobs[&id].queue) != is_volatile(to);
            return if is_elsewhere { Err(("OtherStore", 0)) } else { Ok(mark.max(LEVELS[to] as usize)) };
        }
        if *verb != Verb::Requeue {
            return Ok(mark);
        }
        if !self.is_current(id) {
            return Err(("Changed", mark));
        }
        match self.step_of(id) {
            Some((no, step)) if self.comes_back(no, step) && !self.lost(no, step).is_empty() => {
                Err(("StepForbidden", self.world.flows[&no].mark()))
            }
            // By itself it would never end.
            Some((no, step)) if !self.comes_back(no, step) && self.is_idle(id) => {
                Err(("StepForbidden", self.world.flows[&no].mark()))
            }
            None if self.is_idle(id) => Err(("NoFlow", 2)),
            _ => Ok(mark),
        }
    }

    /// The step that a retained job was.
    fn step_of(&self, id: JobId) -> Option<(u8, usize)> {
        self.world.flows.iter().find_map(|(no, flow)| Some((*no, flow.steps.iter().position(|step| step.job == id)?)))
    }

    /// Whether it comes back as that step, and not by itself.
    fn comes_back(&self, no: u8, step: usize) -> bool {
        let flow = &self.world.flows[&no];
        flow.has_failed(step) && flow.may_resume() && !flow.steps[step].is_alone
    }

    /// It is a timer, or waits for a signal.
    fn is_idle(&self, id: JobId) -> bool {
        self.read(id).is_some_and(|read| read.ended.kind.as_str() != "work")
    }

    fn lost(&self, no: u8, step: usize) -> Vec<usize> {
        self.world.flows[&no].lost_needs(step, &self.kept())
    }

    /// Does it to the oracle; what the job is then.
    fn do_it(&mut self, id: JobId, verb: &Verb) -> State {
        let now = self.driver.now;
        let is = self.world.jobs.get(&id).map(Job::state);
        let root = BTreeSet::new();
        match verb {
            Verb::Cancel | Verb::Discard if is.is_some() && self.world.has_open_members(id) => {
                self.world.call_off(id, &root, now);
            }
            Verb::Cancel => {
                self.world.call_off(id, &root, now);
                return if is == Some(State::Running) { State::Running } else { State::Cancelled };
            }
            Verb::Discard => match is {
                Some(is) => {
                    self.world.close(id, EndState::Cancelled, &root, now);
                    return is;
                }
                None => return self.world.ends[&id].1.into(),
            },
            Verb::Requeue => return self.requeue(id),
            Verb::RunNow if is == Some(State::Delayed) => {
                let is_timer = self.world.work_of(id) == Work::Timer;
                self.world.fall_due(id, now);
                return if is_timer { State::Done } else { State::Ready };
            }
            Verb::Reschedule(when) => return self.reschedule(id, *when),
            Verb::Move(to) => self.world.jobs.get_mut(&id).unwrap().queue = queue_no(to.as_str()),
            _ => {}
        }
        is.unwrap()
    }

    fn reschedule(&mut self, id: JobId, when: When) -> State {
        let now = self.driver.now;
        let is_timer = self.world.work_of(id) == Work::Timer;
        let job = self.world.jobs.get_mut(&id).unwrap();
        let was = job.phase;
        job.set_due(when, now);
        let is_later = job.due.is_some();
        match was {
            Phase::Waiting | Phase::Idle => return State::Waiting,
            _ if is_timer && !is_later => {
                self.world.succeed(id, false, now);
                return State::Done;
            }
            _ => job.phase = if is_later { Phase::Delayed } else { Phase::Ready },
        }
        job.state()
    }

    fn requeue(&mut self, id: JobId) -> State {
        let at = self.step_of(id).filter(|(no, step)| self.comes_back(*no, *step));
        if let Some((no, step)) = at {
            self.reopen(no, step);
            let flow = &self.world.flows[&no];
            let spec = &flow.plan[step];
            let times = if spec.is_ordinary() { Times::default() } else { spec.times };
            let is_delayed = Job::new(0, None).begin(times, self.driver.now);
            return match spec.work {
                _ if flow.needs_open(step) > 0 => State::Waiting,
                Work::Signal => State::Waiting,
                Work::Batch => flow.comes_back_as(step),
                _ if is_delayed => State::Delayed,
                Work::Timer => State::Done,
                Work::Job => State::Ready,
            };
        }
        if let Some((no, step)) = self.step_of(id) {
            self.world.flows.get_mut(&no).unwrap().steps[step].is_alone = true;
        }
        let mut job = self.back(id, None);
        job.begin(Times::default(), self.driver.now);
        self.world.jobs.insert(id, job);
        self.world.rejoin(id);
        State::Ready
    }

    /// A retained job, as it comes back.
    fn back(&self, id: JobId, of: Option<(u8, usize)>) -> Job {
        let read = self.read(id).unwrap();
        let queue = queue_no(read.ended.key.queue.as_str());
        Job { attempts_ended: read.ended.head.attempts_ended, ..Job::new(queue, of) }
    }

    /// A step that failed is to run once more.
    fn reopen(&mut self, no: u8, step: usize) {
        let flow = &self.world.flows[&no];
        let needs = |next: &usize| flow.plan[*next].needs.iter().any(|(other, _)| *other == step);
        let is_passed = (0..flow.steps.len()).filter(needs).any(|next| flow.is_going(next));
        let id = flow.steps[step].job;
        let job = self.back(id, Some((no, step)));
        self.world.jobs.insert(id, job);
        let flow = self.world.flows.get_mut(&no).unwrap();
        flow.ended = None;
        let step = &mut flow.steps[step];
        (step.end, step.is_passed, step.has_output) = (None, is_passed, false);
        if let Some(batch) = &mut step.batch {
            batch.called_off = None;
        }
    }

    pub(crate) fn look(&mut self, no: u8) {
        let request = self.request();
        self.driver.handle(Command::Flow { request, command: FlowCommand::Look { id: flow_id(no) } });
        if self.world.flows.contains_key(&no) {
            self.expect(request, What::View(self.stands(no)), 0);
        } else {
            self.expect(request, What::No("NoFlow"), 2);
        }
    }

    pub(crate) fn watch(&mut self, no: u8) {
        let request = self.request();
        self.driver.handle(Command::Flow { request, command: FlowCommand::Watch { id: flow_id(no) } });
        match self.world.flows.get(&no) {
            None => self.expect(request, What::No("NoFlow"), 2),
            Some(flow) if flow.ended.is_some() => self.expect(request, What::Ending(self.stands(no)), flow.mark()),
            Some(_) => {
                self.expect(request, What::Nothing, 0);
                self.watchers.entry(no).or_default().push(request);
            }
        }
    }

    pub(crate) fn unwatch(&mut self, no: u8) {
        if let Some(request) = self.watchers.get_mut(&no).and_then(Vec::pop) {
            self.driver.handle(Command::UnwatchFlow { request, id: flow_id(no) });
            self.expected.remove(&request);
        }
    }

    /// A command about a step; whether there is one.
    pub(crate) fn ask(&mut self, no: u8, command: FlowCommand, judged: Result<What, No>) -> bool {
        let request = self.request();
        self.driver.handle(Command::Flow { request, command });
        let mark = self.world.flows.get(&no).map_or(2, super::world::Flow::mark);
        let is_done = judged.is_ok();
        match judged {
            Ok(what) => self.expect(request, what, mark),
            Err((word, mark)) => self.expect(request, What::No(word), mark),
        }
        is_done
    }

    fn place(&self, no: u8, step: u8) -> Result<usize, No> {
        let flow = self.world.flows.get(&no).ok_or(("NoFlow", 2))?;
        let step = usize::from(step);
        if step < flow.steps.len() { Ok(step) } else { Err(("NoStep", 0)) }
    }

    pub(crate) fn cancel(&mut self, no: u8) {
        let judged = if self.world.flows.contains_key(&no) { Ok(What::Ok) } else { Err(("NoFlow", 2)) };
        if self.ask(no, FlowCommand::Cancel { id: flow_id(no) }, judged) {
            let flow = self.world.flows[&no].clone();
            let is_open = |step: &usize| flow.steps[*step].end.is_none() && flow.plan[*step].undoes.is_none();
            for step in (0..flow.steps.len()).filter(is_open) {
                self.world.call_off(flow.steps[step].job, &BTreeSet::new(), self.driver.now);
            }
            self.settled();
        }
    }

    pub(crate) fn skip(&mut self, no: u8, step: u8, output: Option<Bytes>) {
        let judged = self.place(no, step).and_then(|step| {
            let (flow, kept) = (&self.world.flows[&no], self.kept());
            let runs = self.world.jobs.get(&flow.steps[step].job).is_some_and(|job| job.phase == Phase::Running);
            let is_over = flow.steps[step].end.is_some();
            let may = flow.ended.is_none() && flow.plan[step].undoes.is_none() && !flow.has_open_members(step);
            let is_free = if is_over { flow.is_holding(step, &kept) } else { !runs };
            if may && is_free { Ok(What::Ok) } else { Err(("StepForbidden", flow.mark())) }
        });
        let has_output = output.is_some();
        let command = FlowCommand::Skip { id: flow_id(no), step: name(step.into()), output };
        if self.ask(no, command, judged) {
            let (now, step) = (self.driver.now, usize::from(step));
            let job = self.world.flows[&no].steps[step].job;
            if self.world.flows[&no].steps[step].end.is_none() {
                self.world.close_as(job, EndState::Cancelled, None, &BTreeSet::new(), now);
            }
            let flow = self.world.flows.get_mut(&no).unwrap();
            let attempts = flow.steps[step].end.as_ref().map_or(0, |end| end.attempts);
            flow.steps[step].end =
                Some(super::world::End { how: None, at: now.wall.0, attempts, causes: BTreeSet::new() });
            flow.steps[step].has_output = has_output;
            self.settled();
        }
    }

    pub(crate) fn signal(&mut self, no: u8, step: u8) {
        let judged = self.place(no, step).and_then(|step| {
            let flow = &self.world.flows[&no];
            if flow.plan[step].work != Work::Signal {
                return Err(("StepForbidden", flow.mark()));
            }
            let is_first = flow.steps[step].end.is_none() && !flow.steps[step].has_output;
            Ok(What::Signalled(is_first))
        });
        let is_first = matches!(judged, Ok(What::Signalled(true)));
        let payload = Bytes::from_static(b"hello");
        let command = FlowCommand::Signal { id: flow_id(no), step: name(step.into()), payload };
        if self.ask(no, command, judged) && is_first {
            let one = &self.world.flows[&no].steps[usize::from(step)];
            let job = one.job;
            if self.world.jobs[&job].phase == Phase::Idle || one.is_passed {
                self.world.succeed(job, true, self.driver.now);
            } else {
                self.world.flows.get_mut(&no).unwrap().steps[usize::from(step)].has_output = true;
            }
            self.settled();
        }
    }

    pub(crate) fn retry(&mut self, no: u8, step: u8) {
        let mut again = Vec::new();
        let judged = self.place(no, step).and_then(|step| {
            let (flow, kept) = (&self.world.flows[&no], self.kept());
            if !flow.has_failed(step) || !flow.may_be_retried() || !flow.lost_needs(step, &kept).is_empty() {
                return Err(("StepForbidden", flow.mark()));
            }
            again = self.again(no, step);
            for step in &again {
                let id = self.world.flows[&no].steps[*step].job;
                let was_step = |read: Retained| read.body.labels.step().is_some();
                let is_step = self.read(id).is_none_or(was_step) && !self.world.jobs.contains_key(&id);
                match self.is(id).filter(|_| is_step) {
                    None => return Err(("StepForgotten", flow.mark())),
                    Some((_, mark)) if !self.is_current(id) => return Err(("Changed", mark)),
                    Some(_) => {}
                }
            }
            Ok(What::Ok)
        });
        let jobs = self.world.flows.get(&no).into_iter().flat_map(|flow| &flow.steps).map(|step| step.job);
        let read = jobs.filter_map(|id| self.read(id)).collect();
        let command = FlowCommand::Retry { id: flow_id(no), step: name(step.into()), read };
        if self.ask(no, command, judged) {
            for step in again {
                self.reopen(no, step);
            }
            self.settled();
        }
    }

    /// The step, and all that need what runs again and did not succeed, but for what would be called off at once. And those that undo
    /// others, and were skipped.
    fn again(&self, no: u8, step: usize) -> Vec<usize> {
        let (flow, kept) = (&self.world.flows[&no], self.kept());
        let mut again = vec![step];
        for next in step + 1..flow.steps.len() {
            let needs: Vec<(usize, IfFailed)> = flow.plan[next].needs.clone();
            let is_called = needs.iter().any(|(other, _)| again.contains(other));
            let is_vain = flow.lost_needs(next, &kept).iter().any(|other| !again.contains(other));
            if is_called && flow.has_failed(next) && !is_vain {
                again.push(next);
            }
        }
        again.extend((0..flow.steps.len()).filter(|no| flow.was_spared(*no)));
        again.sort_unstable();
        again
    }
}
