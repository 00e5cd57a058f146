//! Flows: that steps take their turns, and that flows come to what their steps came to.

use alloc::format;

use super::story::Story;
use super::{Checker, Finish, FlowSeen, Graph, GraphStep, Law};
use crate::flow::{FlowId, FlowState, IfFailed, Need, StepState, Work};
use crate::job::JobId;
use crate::state::{EndState, State};

/// A place among the graphs that were told of, and the step in it.
pub(super) type StepOfGraph = (usize, u32);

impl Graph {
    fn job(&self, no: u32) -> Option<JobId> {
        self.steps.get(no as usize).map(|step| step.job)
    }

    /// The needs of a step; what undoes another one needs its success.
    fn needs(&self, no: u32) -> impl Iterator<Item = Need> + '_ {
        let step = self.steps.get(no as usize);
        let undone = step.and_then(|step| step.undoes).map(|step| Need { step, if_failed: IfFailed::Cancel });
        step.into_iter().flat_map(|step| step.needs.iter().copied()).chain(undone)
    }

    /// Whether the flow fails where this step does.
    fn is_borne(&self, no: u32) -> bool {
        let others = self.steps.iter().flat_map(|step| &step.needs).filter(|need| need.step == no);
        let (mut some, mut all) = (false, true);
        for need in others {
            (some, all) = (true, all && need.if_failed == IfFailed::GoOn);
        }
        self.steps.get(no as usize).is_none_or(|step| step.is_optional || step.undoes.is_some()) || some && all
    }
}

fn end_of(state: StepState) -> Option<EndState> {
    let StepState::Job(state) = state else { return Some(EndState::Done) };
    EndState::ALL.into_iter().find(|end| State::from(*end) == state)
}

fn is_waiting(state: StepState) -> bool {
    state == StepState::Job(State::Waiting)
}

impl Checker {
    /// The jobs of the next call are the steps of this.
    pub(super) fn graph(&mut self, graph: &Graph) {
        let at = self.graphs.len();
        self.steps.extend((0..).zip(&graph.steps).map(|(no, step)| (step.job, (at, no))));
        self.graphs.push(graph.clone());
    }

    /// A job that is a step may be called off for want of another one, at any time, and one of a batch with its batch; and one that
    /// nobody's code runs is done by itself.
    pub(super) fn as_step(&self, story: Story) -> Story {
        if story.intent.batch.is_some() {
            return Story { cancel_asked: true, ..story };
        }
        let Some((at, no)) = self.steps.get(&story.intent.id).copied() else { return story };
        let graph = &self.graphs[at];
        let is_idle = graph.steps[no as usize].work != Work::Job;
        Story { is_idle, cancel_asked: true, begins_later: graph.needs(no).next().is_some(), ..story }
    }

    pub(super) fn signalled(&mut self, flow: FlowId, no: u32) {
        let jobs = self.graphs.iter().filter(|graph| graph.id == flow).filter_map(|graph| graph.job(no));
        self.signalled.extend(jobs);
    }

    /// An operator called a flow off, or skipped one of its steps, or had it run once more.
    pub(super) fn steered_flow(&mut self, flow: FlowId) {
        let steps = self.graphs.iter().filter(|graph| graph.id == flow).flat_map(|graph| &graph.steps);
        for step in steps {
            if let Some(story) = self.stories.get_mut(&step.job) {
                story.is_anybodys();
            }
        }
    }

    pub(super) fn judge_turn(&mut self, story: &Story) {
        let id = story.intent.id;
        let Some((at, no)) = self.steps.get(&id).copied().filter(|_| !story.is_steered && !story.is_shared()) else {
            return;
        };
        let early = self.graphs[at].needs(no).find(|need| !self.may_be_met((at, *need)));
        if let Some(other) = early.and_then(|need| self.graphs[at].job(need.step)) {
            let last = self.stories.get(&other).and_then(|other| other.last_end).map(|last| last.how);
            let found = format!("{id} starts, and it needs {other}, whose last attempt ended so: {last:?}");
            self.broken(Law::StepInTurn, Some(id), found);
        }
    }

    /// Whether nothing that was told speaks against it that this need is met.
    fn may_be_met(&self, (at, need): (usize, Need)) -> bool {
        let graph = &self.graphs[at];
        let Some(other) = graph.job(need.step).and_then(|job| self.stories.get(&job)) else { return true };
        if other.is_steered || other.is_shared() {
            return true;
        }
        let last = other.last_end.map(|last| last.how);
        let goes_on = need.if_failed == IfFailed::GoOn;
        let mut needs = graph.needs(need.step);
        match graph.steps[need.step as usize].work {
            Work::Job if !goes_on => last == Some(Finish::Ok),
            Work::Job if other.running.is_some() => false,
            // It was called off before it began, or it has ended for good.
            Work::Job if other.known == 0 && (graph.fail_fast || needs.next().is_some()) => true,
            Work::Job => {
                let ends = [EndState::Done, EndState::Dead, EndState::Expired];
                let rules = self.rules(&other.queue);
                last == Some(Finish::CalledOff) || ends.into_iter().any(|end| other.may_have_ended(end, rules))
            }
            Work::Batch if self.runs_of(other.intent.id) => false,
            _ if goes_on => true,
            work => {
                let has_come = match work {
                    Work::Signal => self.signalled.contains(&other.intent.id),
                    Work::Batch => true,
                    _ => self.now_ms >= other.intent.due_ms,
                };
                has_come && needs.all(|need| self.may_be_met((at, need)))
            }
        }
    }

    fn members_of(&self, batch: JobId) -> impl Iterator<Item = &Story> {
        self.members.get(&batch).into_iter().flatten().filter_map(|id| self.stories.get(id))
    }

    /// Whether this is a batch that may have failed with one of its jobs.
    pub(super) fn has_failed_member(&self, batch: JobId) -> bool {
        self.members_of(batch).any(|story| story.is_steered || story.last_end.is_none_or(|last| last.how != Finish::Ok))
    }

    /// Whether a job of this batch runs that nobody brought back.
    fn runs_of(&self, batch: JobId) -> bool {
        self.members_of(batch).any(|story| story.running.is_some() && !story.is_steered && !story.is_shared())
    }

    /// How flows stand, while nothing goes on in any queue.
    pub(super) fn flows_at_rest(&mut self, flows: &[FlowSeen]) {
        for flow in flows {
            let first = flow.steps.first().and_then(|(job, _)| self.steps.get(job));
            let Some(graph) = first.map(|(at, _)| self.graphs[*at].clone()) else { continue };
            match flow.state {
                FlowState::Done | FlowState::Failed | FlowState::Cancelled => self.judge_result(&graph, flow),
                _ => self.judge_rest(&graph, flow),
            }
            for (id, state) in &flow.steps {
                self.judge_step(*id, *state);
            }
        }
    }

    /// It may fail only with a step that is not borne, and has to then.
    fn judge_result(&mut self, graph: &Graph, flow: &FlowSeen) {
        let open = flow.steps.iter().find(|(_, state)| end_of(*state).is_none());
        let ends = (0..).zip(&flow.steps).filter_map(|(no, (id, state))| Some((no, *id, end_of(*state)?)));
        let bad = ends.filter(|(no, _, end)| *end != EndState::Done && !graph.is_borne(*no));
        let bad = bad.map(|(_, id, _)| id).next();
        let has_died =
            flow.steps.iter().any(|(_, state)| matches!(end_of(*state), Some(EndState::Dead | EndState::Expired)));
        let is_so = match flow.state {
            FlowState::Done => bad.is_none(),
            FlowState::Failed => bad.is_some() && has_died,
            _ => bad.is_some(),
        };
        let first = flow.steps.first().map(|(id, _)| *id);
        let wrong = open.map(|(id, _)| *id).or(bad.or(first).filter(|_| !is_so));
        if let Some(id) = wrong {
            let found = format!("flow {} is {:?}, and its steps are {:?}", flow.id, flow.state, flow.steps);
            self.broken(Law::FlowAsItsSteps, Some(id), found);
        }
    }

    /// Somebody has to say something, or do something about a step that failed; then it rests, and otherwise it goes on.
    fn judge_rest(&mut self, graph: &Graph, flow: &FlowSeen) {
        let state = |no: u32| flow.steps.get(no as usize).map(|(_, state)| *state);
        let is_over = |need: &Need| state(need.step).and_then(end_of).is_some();
        let waits_for_somebody = |no: u32| {
            // Somebody has to send it, or to close it.
            let waits = |step: &GraphStep| matches!(step.work, Work::Signal | Work::Batch);
            graph.steps.get(no as usize).is_some_and(waits) && graph.needs(no).all(|need| is_over(&need))
        };
        let is_held = |no: u32| {
            let failed = |need: &Need| state(need.step).and_then(end_of).is_some_and(|end| end != EndState::Done);
            graph.needs(no).any(|need| need.if_failed == IfFailed::Hold && failed(&need))
        };
        let waiting = || (0..).zip(&flow.steps).filter(|(_, (_, state))| is_waiting(*state)).map(|(no, _)| no);
        let has_reason = waiting().any(|no| is_held(no) || waits_for_somebody(no) && flow.state != FlowState::Held);
        if !has_reason {
            let found = format!("flow {} is {:?}, and nothing holds it: {:?}", flow.id, flow.state, flow.steps);
            self.broken(Law::FlowsEnd, flow.steps.first().map(|(id, _)| *id), found);
        }
    }

    /// What a flow says of a step is what its attempts had.
    fn judge_step(&mut self, id: JobId, state: StepState) {
        let Some(story) = self.stories.get(&id).filter(|story| !story.is_steered && !story.is_shared()) else { return };
        let last = story.last_end.map(|last| last.how);
        let is_so = match end_of(state) {
            Some(EndState::Done) => story.is_idle || last == Some(Finish::Ok),
            _ => last != Some(Finish::Ok),
        };
        if !is_so {
            let found = format!("step {id} is shown as {state:?}, and its last attempt ended so: {last:?}");
            self.broken(Law::FlowAsItsSteps, Some(id), found);
        }
    }
}
