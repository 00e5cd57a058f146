//! The flows: which step waits for which, and how far each flow is.
//!
//! Owns the tables and their audit. A step knows its job by its id, a live job knows its step by its place, and the number of a
//! step's open needs always equals a recount: a link that goes one way only would be a step that waits for ever.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::apply::as_key;
use super::batches::{self, Batch};
use super::keys::Keys;
use super::maybe::Maybe;
use super::slab::{Slab, Slot};
use super::state::{Live, Map, Spot, State};
use crate::batch::MemberOf;
use crate::command::{QueueNo, Request};
use crate::flow::{FlowId, FlowRecord, FlowState, IfFailed, Need, StepEnd, StepHow, StepOf, StepPlan, StepState, Work};
use crate::job::{JobId, Name};
use crate::settings::Level;
use crate::state::{EndState, State as JobState};
use crate::time::{Now, Timestamp};

/// The place of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StepAt {
    pub(crate) flow: Slot,
    pub(crate) no: u32,
}

/// All flows.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) all: Slab<Flow>,
    pub(crate) by_id: BTreeMap<FlowId, Slot>,
    /// Those that have ended: first those that went well, the oldest one first.
    pub(crate) ended: BTreeSet<(Filed, Slot)>,
    /// Steps of those.
    pub(crate) steps_kept: usize,
    /// And of these those of flows that did not go well.
    pub(crate) failed_kept: usize,
    /// What all of them take in memory.
    pub(crate) bytes: usize,
    /// Retained jobs whose steps hold others up: with the job goes the hold.
    pub(crate) holding: BTreeMap<JobId, StepAt>,
    pub(crate) watchers: Map<FlowId, Vec<Request>>,
    /// Live jobs that were loaded and say that they are steps, and of what.
    pub(crate) loaded: Vec<(Slot, StepOf)>,
    /// And of those that say that they are of a batch.
    pub(crate) loaded_members: Vec<(Slot, MemberOf)>,
}

/// Under what a flow that has ended is filed. The step that comes back changes how its flow ended before anybody looks for that here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filed {
    /// It failed, or was called off: somebody may want to look at it, or run it again.
    pub(crate) has_failed: bool,
    pub(crate) at: Timestamp,
}

/// A flow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    pub(crate) name: Name,
    pub(crate) created: Timestamp,
    pub(crate) keep_ms: u64,
    pub(crate) keep_failed_ms: u64,
    pub(crate) fail_fast: bool,
    pub(crate) output: Option<u32>,
    /// Which store its records are in, as of keys.
    pub(crate) store: usize,
    /// The strongest of its queues'.
    pub(crate) level: Level,
    /// The queue with whose jobs it is forgotten.
    pub(crate) home: QueueNo,
    pub(crate) steps: Vec<Step>,
    /// Steps that have not ended, but for those that undo others.
    pub(crate) open: usize,
    /// Of those that undo others.
    pub(crate) undo_open: usize,
    /// Steps whose turn has come and that have not ended.
    pub(crate) going: usize,
    pub(crate) ended: Option<Filed>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) plan: StepPlan,
    pub(crate) is: Is,
    /// Needs that are not met.
    pub(crate) needs_open: u32,
    /// Those that need it.
    pub(crate) then: Vec<Then>,
    /// Its end, or the signal that came before its turn.
    pub(crate) end: Option<Box<StepEnd>>,
    /// It runs once more, and others have gone on without it.
    pub(crate) is_passed: bool,
    /// The numbers of a batch.
    pub(crate) batch: Option<Box<Batch>>,
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// Its turn has not come.
    Waiting,
    /// Its job is on its way.
    Going,
    /// It is over.
    Ended,
}

/// That another step needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Then {
    pub(crate) step: u32,
    pub(crate) if_failed: IfFailed,
}

impl Then {
    /// Whether the step meets this need of it.
    pub(crate) fn is_met_by(self, step: &Step) -> bool {
        let goes_on = self.if_failed == IfFailed::GoOn;
        match step.end.as_ref().filter(|end| end.is_end()) {
            Some(end) => end.is_good() || goes_on,
            None => step.is_passed && goes_on,
        }
    }
}

impl Step {
    /// What a step takes in memory, within a few bytes.
    pub(crate) fn bytes(&self) -> usize {
        let lists = self.plan.needs.len() * (size_of::<Need>() + size_of::<Then>());
        size_of::<Self>()
            + self.plan.name.len()
            + lists
            + self.plan.times.as_ref().map_or(0, |times| size_of_val(&**times))
            + self.batch.as_ref().map_or(0, |batch| size_of_val(&**batch))
    }

    /// It is over, and did not succeed.
    pub(crate) fn has_failed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.is_end() && !end.is_good())
    }

    /// It undoes another one, and there was nothing to undo.
    pub(crate) fn was_spared(&self) -> bool {
        let is_skipped = self.end.as_ref().is_some_and(|end| end.how == StepHow::Skipped);
        self.plan.undoes.is_some() && is_skipped
    }

    /// It failed, and nobody asked for that to be borne.
    pub(crate) fn fails_the_flow(&self) -> bool {
        let is_borne = !self.then.is_empty() && self.then.iter().all(|then| then.if_failed == IfFailed::GoOn);
        self.has_failed() && self.plan.undoes.is_none() && !self.plan.is_optional && !is_borne
    }

    /// It is dead, or expired.
    fn is_dead(&self) -> bool {
        let how = self.end.as_ref().map(|end| end.how);
        matches!(how, Some(StepHow::Job(EndState::Dead | EndState::Expired)))
    }

    /// Its own end and no other step's was what went wrong.
    fn is_cause(&self) -> bool {
        self.fails_the_flow() && self.end.as_ref().is_some_and(|end| end.cause.is_none())
    }
}

impl Flow {
    pub(crate) const fn is_volatile(&self) -> bool {
        self.store == Keys::VOLATILE
    }

    pub(crate) fn step(&self, no: u32) -> &Step {
        &self.steps[no as usize]
    }

    pub(crate) fn step_named(&self, name: &str) -> Option<u32> {
        (0..).zip(&self.steps).find(|(_, step)| &*step.plan.name == name).map(|(no, _)| no)
    }

    /// What the flow is when all has ended that undoes nothing.
    pub(crate) fn result(&self) -> FlowState {
        let mut result = FlowState::Done;
        for step in self.steps.iter().filter(|step| step.fails_the_flow()) {
            // What was called off because of a failure that is borne elsewhere has failed with it.
            let cause = step.end.as_ref().and_then(|end| end.cause).map(|no| self.step(no));
            if step.is_dead() || cause.is_some_and(Step::is_dead) {
                return FlowState::Failed;
            }
            result = FlowState::Cancelled;
        }
        result
    }

    /// Under what it is filed if it ends as it stands.
    pub(crate) fn filed(&self, at: Timestamp) -> Filed {
        Filed { has_failed: self.result() != FlowState::Done, at }
    }

    /// When it is forgotten, ended as it is.
    pub(crate) const fn forgotten_at(&self, filed: Filed) -> Timestamp {
        filed.at.plus_ms(if filed.has_failed { self.keep_failed_ms } else { self.keep_ms })
    }

    pub(crate) fn state(&self) -> FlowState {
        match (self.ended, self.open) {
            (Some(_), _) => self.result(),
            (None, 0) => FlowState::Undoing,
            (None, _) if self.going == 0 => FlowState::Held,
            (None, _) => FlowState::Running,
        }
    }

    /// The step that went wrong first.
    pub(crate) fn failed(&self) -> Option<u32> {
        let failed = (0..).zip(&self.steps).filter(|(_, step)| step.is_cause());
        let first = failed.min_by_key(|(no, step)| (step.end.as_ref().map(|end| end.at), *no)).map(|(no, _)| no);
        // None but what was called off: then what it was called off for, if nobody has mended that meanwhile.
        first.or_else(|| {
            let (no, step) = (0..).zip(&self.steps).find(|(_, step)| step.fails_the_flow())?;
            let cause = step.end.as_ref()?.cause.filter(|cause| self.step(*cause).has_failed());
            Some(cause.unwrap_or(no))
        })
    }

    /// The step that undoes next, in the reverse order of the successes; those before whose turn it never is.
    pub(crate) fn next_undo(&self) -> (Option<u32>, Vec<u32>) {
        let (mut next, mut idle) = (None, Vec::new());
        for (no, step) in (0..).zip(&self.steps).filter(|(_, step)| step.is != Is::Ended) {
            let Some(undoes) = step.plan.undoes else { continue };
            let end = self.step(undoes).end.as_ref();
            match end.filter(|end| end.how == StepHow::Job(EndState::Done)) {
                Some(end) => next = next.max(Some((end.at, undoes, no))),
                None => idle.push(no),
            }
        }
        (next.map(|(_, _, no)| no), idle)
    }

    /// Nothing was undone yet, nor found to need no undoing, so that steps may run once more.
    pub(crate) fn may_resume(&self) -> bool {
        self.steps.iter().all(|step| step.plan.undoes.is_none() || step.is == Is::Waiting)
    }

    /// As [`may_resume`](Self::may_resume), or it failed and nothing was there to be undone: a retry brings back what was skipped, too.
    pub(crate) fn may_be_retried(&self) -> bool {
        let skipped = self.steps.iter().any(Step::was_spared);
        let is_untouched = |step: &Step| step.plan.undoes.is_none() || step.is == Is::Waiting || step.was_spared();
        self.steps.iter().all(is_untouched) && !(skipped && self.result() == FlowState::Done)
    }

    /// Whether some step waits until somebody does something about this one.
    pub(crate) fn is_waited_for(&self, no: u32) -> bool {
        let waits = |then: &Then| then.if_failed == IfFailed::Hold && self.step(then.step).is == Is::Waiting;
        self.step(no).then.iter().any(waits)
    }

    /// Whether this step, which is over, may run once more as what it is: one that failed, and not one that somebody skipped.
    pub(crate) fn may_reopen(&self, no: u32) -> bool {
        self.may_resume() && self.step(no).has_failed()
    }
}

impl Flows {
    pub(crate) fn new(hash: foldhash::fast::FixedState) -> Self {
        Self {
            all: Slab::new(),
            by_id: BTreeMap::new(),
            ended: BTreeSet::new(),
            steps_kept: 0,
            failed_kept: 0,
            bytes: 0,
            holding: BTreeMap::new(),
            watchers: Map::with_hasher(hash),
            loaded: Vec::new(),
            loaded_members: Vec::new(),
        }
    }

    pub(crate) fn step(&self, at: StepAt) -> &Step {
        self.all[at.flow].step(at.no)
    }

    /// Where this step is, if it is that job's.
    pub(crate) fn place_of(&self, of: StepOf, job: JobId) -> Option<StepAt> {
        let at = StepAt { flow: *self.by_id.get(&of.flow)?, no: of.no };
        let step = self.all[at.flow].steps.get(of.no as usize)?;
        (step.plan.job == job).then_some(at)
    }
}

impl State {
    /// A flow as memory has it, of what is remembered. Its steps all wait.
    pub(crate) fn flow_of(&self, record: FlowRecord, is_new: bool) -> Option<Flow> {
        let FlowRecord { created, plan } = record;
        let queues: Option<Vec<_>> = plan.steps.iter().map(|step| self.queue_no(&step.queue)).collect();
        let queues = queues?;
        let home = *queues.first()?;
        let level = queues.iter().map(|no| self.queue(*no).level()).max()?;
        let undo_open = plan.steps.iter().filter(|step| step.undoes.is_some()).count();
        let as_step = |plan: StepPlan| Step {
            is: Is::Waiting,
            needs_open: plan.needs.len() as u32,
            then: Vec::new(),
            end: None,
            is_passed: false,
            batch: (plan.work == Work::Batch).then(|| Box::new(Batch::new(is_new))),
            plan,
        };
        let mut steps: Vec<_> = plan.steps.into_iter().map(as_step).collect();
        for no in 0..steps.len() {
            for Need { step, if_failed } in steps[no].plan.needs.clone() {
                steps[step as usize].then.push(Then { step: no as u32, if_failed });
            }
        }
        Some(Flow {
            id: plan.id,
            name: plan.name,
            created,
            keep_ms: plan.keep_ms,
            keep_failed_ms: plan.keep_failed_ms,
            fail_fast: plan.fail_fast,
            output: plan.output,
            store: Keys::store(self.queue(home).level()),
            level,
            home,
            open: steps.len() - undo_open,
            undo_open,
            going: 0,
            steps,
            ended: None,
        })
    }

    /// How it stands with a step.
    pub(crate) fn step_state(&self, step: &Step) -> StepState {
        match (step.is, step.end.as_ref().map(|end| end.how)) {
            (Is::Ended, Some(StepHow::Job(end))) => StepState::Job(end.into()),
            (Is::Ended, _) => StepState::Skipped,
            (Is::Waiting, _) => StepState::Job(JobState::Waiting),
            (Is::Going, _) => {
                let live = self.live(step.plan.job);
                StepState::Job(live.map_or(JobState::Ready, |(_, live)| Self::state_of(live)))
            }
        }
    }

    /// Whether a step failed, and others wait until somebody does something about that.
    pub(crate) fn is_holding(&self, at: StepAt) -> bool {
        let flow = &self.flows.all[at.flow];
        self.flows.holding.contains_key(&flow.step(at.no).plan.job) && flow.is_waited_for(at.no)
    }

    /// Whether the delay of a job that is not among the timers is over.
    pub(crate) fn is_due(live: &Live, now: Now) -> bool {
        let clock = if live.due_by_wall { now.wall.0 } else { now.mono.0 };
        live.due == Maybe::NONE || live.clock_ms <= as_key(clock)
    }

    /// The live job of a step.
    pub(crate) fn job_of(&self, at: StepAt) -> Option<(Slot, &Live)> {
        self.live(self.flows.step(at).plan.job).filter(|(_, live)| live.more().step == Some(at))
    }

    /// Whether a live job waits for its step's turn, or is a step that waits for a signal, or for other jobs.
    pub(crate) fn waits_for_step(&self, live: &Live) -> bool {
        live.more().step.is_some_and(|at| {
            let step = self.flows.step(at);
            step.is == Is::Waiting || matches!(step.plan.work, Work::Signal | Work::Batch)
        })
    }

    /// Whether a live job is a step that ends when it is due.
    pub(crate) fn is_timer(&self, live: &Live) -> bool {
        live.more().step.is_some_and(|at| self.flows.step(at).plan.work == Work::Timer)
    }
}

/// How a flow stands, and each of its steps, with the number of its open needs.
pub(crate) fn portrait(state: &State, slot: Slot) -> (FlowState, Vec<(StepState, u32)>) {
    let flow = &state.flows.all[slot];
    (flow.state(), flow.steps.iter().map(|step| (state.step_state(step), step.needs_open)).collect())
}

/// Checks flows against jobs, both ways, and every number against a recount.
pub(crate) fn audit(state: &State) -> Result<(), String> {
    let (mut steps_kept, mut failed_kept, mut bytes, mut ended) = (0, 0, 0, 0);
    for (slot, flow) in state.flows.all.iter() {
        check(state, slot, flow).map_err(|wrong| format!("flow {}: {wrong}", flow.id))?;
        bytes += flow.steps.iter().map(Step::bytes).sum::<usize>();
        if let Some(filed) = flow.ended {
            let forgotten = (flow.forgotten_at(filed), slot);
            if filed != flow.filed(filed.at) {
                return Err(format!("flow {} is {:?}, and filed as {filed:?}", flow.id, flow.result()));
            }
            if !state.flows.ended.contains(&(filed, slot)) || !state.queue(flow.home).flows.contains(&forgotten) {
                return Err(format!("flow {} has ended, and nobody will forget it", flow.id));
            }
            (ended, steps_kept) = (ended + 1, steps_kept + flow.steps.len());
            failed_kept += if filed.has_failed { flow.steps.len() } else { 0 };
        }
    }
    let flows = &state.flows;
    let armed: usize = state.queues.iter().map(|queue| queue.flows.len()).sum();
    let kept = (flows.steps_kept, flows.failed_kept);
    let counted = (kept, flows.bytes, flows.ended.len(), armed, flows.by_id.len());
    let should_be = ((steps_kept, failed_kept), bytes, ended, ended, flows.all.len());
    if counted != should_be {
        return Err(format!("flows are counted {counted:?}, and should be {should_be:?}"));
    }
    for (slot, live) in state.jobs.iter() {
        let waits = state.waits_for_key(live) || state.waits_for_step(live);
        if (live.spot == Spot::Waiting) != waits {
            return Err(format!("job {} is {:?}, its key is {:?}", live.id, live.spot, state.held_of(live)));
        }
        let is_known = live.more().step.is_none_or(|at| state.flows.step(at).plan.job == live.id);
        if !is_known {
            return Err(format!("job {} at {slot} is a step that is another job's", live.id));
        }
        let is_counted = |at: StepAt| {
            let step = state.flows.all.get(at.flow).map(|flow| flow.step(at.no));
            step.and_then(|step| step.batch.as_ref()).is_some_and(|batch| batch.open.contains(&slot))
        };
        if live.more().member.is_some_and(|member| !is_counted(member.at)) {
            return Err(format!("job {} at {slot} is of a batch that does not count it", live.id));
        }
    }
    Ok(())
}

fn check(state: &State, slot: Slot, flow: &Flow) -> Result<(), String> {
    let (mut open, mut undo_open, mut going) = (0, 0, 0);
    for (no, step) in (0..).zip(&flow.steps) {
        let name = &step.plan.name;
        let is_met = |need: &Need| {
            let then = Then { step: no, if_failed: need.if_failed };
            then.is_met_by(flow.step(need.step))
        };
        let needs_open = step.plan.needs.iter().filter(|need| !is_met(need)).count();
        if needs_open != step.needs_open as usize {
            return Err(format!("step `{name}` has {needs_open} open needs, counted {}", step.needs_open));
        }
        let has_ended = step.end.as_ref().is_some_and(|end| end.is_end());
        if has_ended != (step.is == Is::Ended) {
            return Err(format!("step `{name}` is {:?}, its end is {:?}", step.is, step.end));
        }
        let is_live = state.job_of(StepAt { flow: slot, no }).is_some();
        if is_live == has_ended {
            return Err(format!("step `{name}` is {:?}, its job is live: {is_live}", step.is));
        }
        batches::check(state, StepAt { flow: slot, no }, step)?;
        if step.is == Is::Waiting && step.plan.undoes.is_none() && needs_open == 0 {
            return Err(format!("step `{name}` waits for nothing"));
        }
        going += usize::from(step.is == Is::Going);
        if step.is != Is::Ended {
            *(if step.plan.undoes.is_some() { &mut undo_open } else { &mut open }) += 1;
        }
    }
    let counted = (flow.open, flow.undo_open, flow.going);
    if counted != (open, undo_open, going) {
        return Err(format!("open, undoing, going are {counted:?} and should be {:?}", (open, undo_open, going)));
    }
    if flow.ended.is_some() != (open + undo_open == 0) {
        return Err(format!("its end is {:?} with {open} and {undo_open} steps open", flow.ended));
    }
    // I16: it goes on, or someone is told what holds it.
    let is_held = (0..flow.steps.len() as u32).any(|no| state.is_holding(StepAt { flow: slot, no }));
    if flow.ended.is_none() && going == 0 && !is_held {
        return Err(String::from("it waits for ever"));
    }
    Ok(())
}
