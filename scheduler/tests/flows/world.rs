//! The oracle: of each flow its plan, and of each step how it ended as the moves said. All else it works out anew.
//!
//! I16: whose turn has come, who is called off, who is held and who undoes is looked for again and again until nothing changes, with
//! no counts and no lists of who waits for whom. Which jobs are retained is not its affair: it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::flow::{FlowState, IfFailed, StepState, Work};
use windlass_scheduler::job::{JobId, When};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;

use super::batches::{Batch, Seat};
use super::plan::{ATTEMPTS_MAX, LEVELS, RETRY_MS, StepSpec, Times};

/// How steps ended by what the shard says, and for want of which one.
pub(crate) type SaidEnds = BTreeMap<(u8, usize), (StepState, Option<usize>)>;

/// The ids of retained jobs.
pub(crate) type Kept = BTreeSet<JobId>;

/// Where a live job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    /// Its turn has come, and it waits for a signal, or for other jobs.
    Idle,
    Delayed,
    Ready,
    Running,
}

/// A live job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) queue: usize,
    /// The step that it is.
    pub(crate) of: Option<(u8, usize)>,
    /// Where it counts in a batch.
    pub(crate) seat: Option<Seat>,
    pub(crate) phase: Phase,
    pub(crate) due: Option<u64>,
    pub(crate) by_wall: bool,
    pub(crate) clock: i64,
    pub(crate) expires: Option<u64>,
    pub(crate) ends_by: Option<u64>,
    pub(crate) attempts_ended: u32,
    pub(crate) failures: u32,
    pub(crate) cancel: bool,
}

/// How a step ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// `None`: somebody skipped it.
    pub(crate) how: Option<EndState>,
    pub(crate) at: u64,
    /// How many its job had.
    pub(crate) attempts: u32,
    /// The steps for want of which it was called off: more than one where several failed at once.
    pub(crate) causes: BTreeSet<usize>,
}

impl End {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.how, None | Some(EndState::Done))
    }

    fn is_dead(&self) -> bool {
        matches!(self.how, Some(EndState::Dead | EndState::Expired))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) job: JobId,
    pub(crate) end: Option<End>,
    /// It runs once more, and others had gone on without it.
    pub(crate) is_passed: bool,
    /// What it left; of one that has not ended, its signal.
    pub(crate) has_output: bool,
    /// Its job was brought back to run by itself: nobody can bring back the step any more.
    pub(crate) is_alone: bool,
    /// Of a batch.
    pub(crate) batch: Option<Batch>,
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) plan: Arc<Vec<StepSpec>>,
    pub(crate) fail_fast: bool,
    pub(crate) steps: Vec<Step>,
    /// Steps that ended by the move at hand.
    pub(crate) fresh: BTreeSet<usize>,
    pub(crate) ended: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) flows: BTreeMap<u8, Flow>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// How jobs ended last, and in which queue.
    pub(crate) ends: BTreeMap<JobId, (usize, EndState)>,
    /// Steps that are done, as the shard says: only asked where two steps ended at once, and either may have been the first.
    pub(crate) said_done: BTreeSet<(u8, usize)>,
    /// And how steps have ended, and for want of which other one, in flows that the first failure calls off.
    pub(crate) said_ends: SaidEnds,
    /// And of their jobs that are live the times, and whether they run.
    pub(crate) said_live: BTreeMap<JobId, ([Option<u64>; 3], bool)>,
    /// Which batch jobs say that they are of, the ended ones as well.
    pub(crate) labels: BTreeMap<JobId, Seat>,
}

impl Flow {
    pub(crate) fn is_volatile(&self) -> bool {
        self.plan[0].queue == 2
    }

    /// What answers about it wait for.
    pub(crate) fn mark(&self) -> usize {
        self.plan.iter().map(|step| LEVELS[step.queue] as usize).max().unwrap_or(0)
    }

    pub(crate) fn has_failed(&self, no: usize) -> bool {
        self.steps[no].end.as_ref().is_some_and(|end| !end.is_good())
    }

    /// Whether this step needs nothing more of the other.
    pub(crate) fn is_met(&self, (other, if_failed): (usize, IfFailed)) -> bool {
        let other = &self.steps[other];
        match &other.end {
            Some(end) => end.is_good() || if_failed == IfFailed::GoOn,
            None => other.is_passed && if_failed == IfFailed::GoOn,
        }
    }

    pub(crate) fn needs_open(&self, no: usize) -> usize {
        self.plan[no].needs.iter().filter(|need| !self.is_met(**need)).count()
    }

    /// Somebody may still bring back or skip what failed.
    fn is_held(&self, (other, if_failed): (usize, IfFailed), kept: &Kept) -> bool {
        let step = &self.steps[other];
        let is_root = step.end.as_ref().is_some_and(|end| end.causes.is_empty());
        if_failed == IfFailed::Hold && self.has_failed(other) && is_root && !step.is_alone && kept.contains(&step.job)
    }

    /// What it needs and never gets.
    pub(crate) fn lost_needs(&self, no: usize, kept: &Kept) -> Vec<usize> {
        let is_lost =
            |need: (usize, IfFailed)| self.has_failed(need.0) && !self.is_met(need) && !self.is_held(need, kept);
        self.plan[no].needs.iter().filter(|need| is_lost(**need)).map(|need| need.0).collect()
    }

    /// Some step waits until somebody does something about this one.
    pub(crate) fn is_holding(&self, no: usize, kept: &Kept) -> bool {
        (0..self.steps.len()).any(|next| {
            let needs = self.plan[next].needs.iter().copied();
            let waits = self.steps[next].end.is_none() && !self.is_called_off(next);
            waits && needs.filter(|need| need.0 == no).any(|need| self.is_held(need, kept))
        })
    }

    pub(crate) fn fails(&self, no: usize) -> bool {
        let mut hows =
            self.plan.iter().flat_map(|step| &step.needs).filter(|(other, _)| *other == no).map(|(_, how)| how);
        let is_needed = hows.clone().next().is_some();
        let is_borne = is_needed && hows.all(|how| *how == IfFailed::GoOn);
        self.has_failed(no) && self.plan[no].undoes.is_none() && !self.plan[no].is_optional && !is_borne
    }

    /// What the flow may be said to have come to: mostly one word.
    fn results(&self) -> BTreeSet<FlowState> {
        let mut results = BTreeSet::from([FlowState::Done]);
        for end in (0..self.steps.len()).filter(|no| self.fails(*no)).filter_map(|no| self.steps[no].end.as_ref()) {
            let is_dead = |no: &usize| self.steps[*no].end.as_ref().is_some_and(End::is_dead);
            if end.is_dead() || (!end.causes.is_empty() && end.causes.iter().all(is_dead)) {
                return BTreeSet::from([FlowState::Failed]);
            }
            results.remove(&FlowState::Done);
            results.insert(FlowState::Cancelled);
            if end.causes.iter().any(is_dead) {
                results.insert(FlowState::Failed);
            }
        }
        results
    }

    pub(crate) fn is_done(&self) -> bool {
        self.results().contains(&FlowState::Done)
    }

    fn is_open(&self, no: usize) -> bool {
        self.steps[no].end.is_none() && self.plan[no].undoes.is_none()
    }

    pub(crate) fn states(&self) -> BTreeSet<FlowState> {
        let numbers = || 0..self.steps.len();
        if self.ended.is_some() {
            self.results()
        } else if !numbers().any(|no| self.is_open(no)) {
            BTreeSet::from([FlowState::Undoing])
        } else if numbers().any(|no| self.is_going(no)) {
            BTreeSet::from([FlowState::Running])
        } else {
            BTreeSet::from([FlowState::Held])
        }
    }

    /// The step that went wrong first; mostly one.
    pub(crate) fn failed(&self) -> BTreeSet<Option<usize>> {
        let fails = || (0..self.steps.len()).filter(|no| self.fails(*no));
        let end = |no: usize| self.steps[no].end.as_ref().unwrap();
        let root = fails().filter(|no| end(*no).causes.is_empty()).min_by_key(|no| (end(*no).at, *no));
        match (root, fails().next()) {
            (Some(root), _) => BTreeSet::from([Some(root)]),
            (None, None) => BTreeSet::from([None]),
            (None, Some(no)) => {
                end(no).causes.iter().map(|cause| Some(if self.has_failed(*cause) { *cause } else { no })).collect()
            }
        }
    }

    /// Its turn has come, and it is not over.
    pub(crate) fn is_going(&self, no: usize) -> bool {
        if self.plan[no].undoes.is_some() {
            return self.next_undo() == Some(no);
        }
        self.steps[no].end.is_none() && (self.needs_open(no) == 0 || self.is_called_off(no))
    }

    /// The end of what this step undoes, if there is something to undo.
    fn undone(&self, no: usize) -> Option<(u64, usize, usize)> {
        let undoes = self.plan[no].undoes?;
        let end = self.steps[undoes].end.as_ref().filter(|end| end.how == Some(EndState::Done))?;
        Some((end.at, undoes, no))
    }

    /// The flow went well, or what this step undoes did not succeed.
    pub(crate) fn has_nothing_to_undo(&self, no: usize) -> bool {
        self.is_done() || self.undone(no).is_none()
    }

    fn next_undo(&self) -> Option<usize> {
        if (0..self.steps.len()).any(|no| self.is_open(no)) || self.is_done() {
            return None;
        }
        let left = (0..self.steps.len()).filter(|no| self.steps[*no].end.is_none());
        left.filter_map(|no| self.undone(no)).max().map(|(_, _, no)| no)
    }

    /// Nothing of it was or will be undone before somebody looks again.
    pub(crate) fn may_resume(&self) -> bool {
        let is_undoing = (0..self.steps.len()).any(|no| self.plan[no].undoes.is_some() && self.is_going(no));
        !is_undoing && (0..self.steps.len()).all(|no| self.plan[no].undoes.is_none() || self.steps[no].end.is_none())
    }

    /// It undoes another one, and was skipped.
    pub(crate) fn was_spared(&self, no: usize) -> bool {
        self.plan[no].undoes.is_some() && self.steps[no].end.as_ref().is_some_and(|end| end.how.is_none())
    }

    /// Nothing of it was or will be undone; and where it is over, that is for want of what there was to undo.
    pub(crate) fn may_be_retried(&self) -> bool {
        let mut undoing = (0..self.steps.len()).filter(|no| self.plan[*no].undoes.is_some());
        let is_spared = undoing.clone().any(|no| self.was_spared(no));
        let is_untouched = |no| self.was_spared(no) || (self.steps[no].end.is_none() && !self.is_going(no));
        undoing.all(is_untouched) && !(is_spared && self.is_done())
    }
}

impl Job {
    /// One that just came in or back.
    pub(crate) fn new(queue: usize, of: Option<(u8, usize)>) -> Self {
        Self {
            queue,
            of,
            seat: None,
            phase: Phase::Waiting,
            due: None,
            by_wall: false,
            clock: 0,
            expires: None,
            ends_by: None,
            attempts_ended: 0,
            failures: 0,
            cancel: false,
        }
    }

    pub(crate) fn set_due(&mut self, when: When, now: Now) {
        let (due, clock, by_wall) = match when {
            When::After(ms) => (now.wall.0 + ms, now.mono.0 + ms, false),
            When::At(at) => (at.0, at.0, true),
        };
        (self.due, self.clock, self.by_wall) = (Some(due).filter(|due| *due > now.wall.0), clock as i64, by_wall);
    }

    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.due.is_none() || self.clock <= (if self.by_wall { now.wall.0 } else { now.mono.0 }) as i64
    }

    /// Its times begin. Whether it is delayed then.
    pub(crate) fn begin(&mut self, times: Times, now: Now) -> bool {
        let by_wall = |when: When| match when {
            When::After(ms) => now.wall.0 + ms,
            When::At(at) => at.0,
        };
        if let Some(due) = times.due {
            self.set_due(due, now);
        }
        (self.expires, self.ends_by) = (times.expires.map(by_wall), times.deadline.map(by_wall));
        self.expires = self.expires.into_iter().chain(self.ends_by).min();
        if self.is_due(now) {
            self.due = None;
        }
        self.phase = if self.due.is_some() { Phase::Delayed } else { Phase::Ready };
        self.due.is_some()
    }

    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Waiting | Phase::Idle => State::Waiting,
            Phase::Delayed => State::Delayed,
            Phase::Ready => State::Ready,
            Phase::Running => State::Running,
        }
    }

    pub(crate) fn times(&self) -> [Option<u64>; 3] {
        [self.due, self.expires, self.ends_by]
    }

    fn delay(&mut self, ms: u64, now: Now) {
        self.set_due(When::After(ms), now);
        self.phase = if ms > 0 { Phase::Delayed } else { Phase::Ready };
    }
}

impl World {
    /// A job's life ends, and with it its step's.
    pub(crate) fn close(&mut self, id: JobId, how: EndState, causes: &BTreeSet<usize>, now: Now) {
        self.close_as(id, how, Some(how), causes, now);
    }

    /// As [`close`](Self::close); `None`: its step is skipped.
    pub(crate) fn close_as(
        &mut self,
        id: JobId,
        job: EndState,
        how: Option<EndState>,
        causes: &BTreeSet<usize>,
        now: Now,
    ) {
        let Job { queue, of, seat, attempts_ended: attempts, .. } = self.jobs.remove(&id).unwrap();
        self.ends.insert(id, (queue, job));
        if let Some(seat) = seat {
            self.leave(seat, job);
        }
        let Some((flow, no)) = of else { return };
        let flow = self.flows.get_mut(&flow).unwrap();
        let step = &mut flow.steps[no];
        assert!(step.end.is_none(), "step {no} ended twice");
        step.end = Some(End { how, at: now.wall.0, attempts, causes: causes.clone() });
        (step.has_output, step.is_passed) = (false, false);
        if let Some(batch) = step.batch.as_mut().filter(|_| how == Some(EndState::Cancelled)) {
            batch.called_off.get_or_insert_with(|| causes.clone());
        }
        flow.fresh.insert(no);
    }

    /// A job that is a step ends well, and leaves something.
    pub(crate) fn succeed(&mut self, id: JobId, has_output: bool, now: Now) {
        let of = self.jobs[&id].of;
        self.close(id, EndState::Done, &BTreeSet::new(), now);
        if let Some((flow, no)) = of {
            self.flows.get_mut(&flow).unwrap().steps[no].has_output = has_output;
        }
    }

    /// An attempt's end is taken note of.
    pub(crate) fn end(&mut self, id: JobId, outcome: &Outcome, now: Now) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert_eq!(job.phase, Phase::Running);
        job.attempts_ended += 1;
        let root = BTreeSet::new();
        if job.cancel && !matches!(outcome, Outcome::Done { .. }) {
            return self.close(id, EndState::Cancelled, &root, now);
        }
        match outcome {
            Outcome::Done { output, follow_ups } => {
                self.succeed(id, *output != Output::None, now);
                for job in follow_ups {
                    self.follow(job, now);
                }
            }
            Outcome::Failed { retry, .. } => {
                job.failures += 1;
                let is_last = *retry == windlass_scheduler::attempt::Retry::Never || job.failures >= ATTEMPTS_MAX;
                let is_late = job.ends_by.is_some_and(|at| at.saturating_sub(now.wall.0) <= RETRY_MS);
                if is_last || is_late {
                    self.close(id, EndState::Dead, &root, now);
                } else {
                    job.delay(RETRY_MS, now);
                }
            }
            Outcome::Snoozed { delay_ms } => job.delay(*delay_ms, now),
            Outcome::Cancelled { .. } => self.close(id, EndState::Cancelled, &root, now),
            Outcome::Released => job.phase = Phase::Ready,
        }
    }

    /// Calls a job off: at once where it does not run, and is no batch that jobs of have not ended.
    pub(crate) fn call_off(&mut self, id: JobId, causes: &BTreeSet<usize>, now: Now) {
        if self.has_open_members(id) {
            let job = self.jobs.get_mut(&id).unwrap();
            job.phase = Phase::Idle;
            let (flow, no) = job.of.unwrap();
            self.batch(flow, no).unwrap().called_off.get_or_insert_with(|| causes.clone());
            return;
        }
        let job = self.jobs.get_mut(&id).unwrap();
        if job.phase == Phase::Running {
            job.cancel = true;
        } else {
            self.close(id, EndState::Cancelled, causes, now);
        }
    }

    /// A delay is over.
    pub(crate) fn fall_due(&mut self, id: JobId, now: Now) {
        if self.work_of(id) == Work::Timer {
            return self.succeed(id, false, now);
        }
        let job = self.jobs.get_mut(&id).unwrap();
        (job.due, job.phase) = (None, Phase::Ready);
    }

    pub(crate) fn work_of(&self, id: JobId) -> Work {
        self.jobs[&id].of.map_or(Work::Job, |(flow, no)| self.flows[&flow].plan[no].work)
    }

    /// How many attempts a step's job has had, with one that runs.
    pub(crate) fn attempts(&self, flow: &Flow, no: usize) -> u32 {
        let step = &flow.steps[no];
        let so_far = |job: &Job| job.attempts_ended + u32::from(job.phase == Phase::Running);
        step.end.as_ref().map_or_else(|| so_far(&self.jobs[&step.job]), |end| end.attempts)
    }

    pub(crate) fn step_state(&self, flow: &Flow, no: usize) -> StepState {
        match &flow.steps[no].end {
            Some(End { how: Some(how), .. }) => StepState::Job((*how).into()),
            Some(End { how: None, .. }) => StepState::Skipped,
            None => StepState::Job(self.jobs[&flow.steps[no].job].state()),
        }
    }
}
