//! What can be seen of flows from outside.

use std::time::{Duration, SystemTime};

use windlass_scheduler::attempt::Failure;
use windlass_scheduler::flow::{FlowId, FlowState, FlowSummary as CoreSummary, FlowView, StepState, Work};
use windlass_scheduler::job::JobId;
use windlass_scheduler::state::State;

use super::BatchReport;
use crate::status::time;

/// The numbers of a flow. They may show what is not yet durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowSummary {
    /// Its id.
    pub id: FlowId,
    /// What sort of flow it is.
    pub name: String,
    /// How it stands.
    pub state: FlowState,
    /// When it was accepted.
    pub created: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// Steps that it has.
    pub steps: usize,
    /// Steps that have ended.
    pub steps_ended: usize,
}

/// A flow with its steps. It may show what is not yet durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowStatus {
    /// Its numbers.
    pub summary: FlowSummary,
    /// Its steps; each needs only earlier ones.
    pub steps: Vec<StepStatus>,
    /// The step that failed first of those with which the flow fails: a place in `steps`.
    pub failed: Option<usize>,
}

/// A step of a flow.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// Its job.
    pub job: JobId,
    /// The job's kind.
    pub kind: String,
    /// The queue that it came in by.
    pub queue: String,
    /// What it does.
    pub work: Work,
    /// How it stands.
    pub state: StepState,
    /// The steps that it needs: places in the flow's list.
    pub needs: Vec<usize>,
    /// Those of them that it still waits for.
    pub waits_for: Vec<usize>,
    /// The step that it undoes if the flow fails.
    pub undoes: Option<usize>,
    /// How many attempts its job has had, with one that runs; of a step that has ended, until then.
    pub attempts: u32,
    /// When its last attempt was handed out, where it has ended.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// The step whose failure called it off.
    pub called_off_by: Option<usize>,
    /// It failed, and those that need it wait for somebody to requeue, skip or forget it.
    pub is_holding: bool,
    /// The jobs of a batch, counted.
    pub batch: Option<BatchReport>,
}

/// A step on the longest way through a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CriticalStep {
    /// The step's name.
    pub step: String,
    /// From the moment at which it could begin, its waiting in line and its retries included, to its end, or until now.
    pub took: Duration,
}

impl FlowStatus {
    pub(super) fn new(view: FlowView) -> Self {
        let is_ended = |no: u32| view.steps.get(no as usize).is_some_and(|step| step.state.is_ended());
        let step = |step: &windlass_scheduler::flow::StepView| {
            let (plan, end) = (&step.plan, step.end.as_ref());
            let needs: Vec<usize> = plan.needs.iter().map(|need| need.step as usize).collect();
            let waits = step.state == StepState::Job(State::Waiting);
            let open = |need: &u32| {
                let holds = view.steps.get(*need as usize).is_some_and(|step| step.is_holding);
                waits && (!is_ended(*need) || holds)
            };
            let waits_for = plan.needs.iter().map(|need| need.step).filter(open).map(|need| need as usize).collect();
            StepStatus {
                name: plan.name.to_string(),
                job: plan.job,
                kind: plan.kind.to_string(),
                queue: plan.queue.to_string(),
                work: plan.work,
                state: step.state,
                needs,
                waits_for,
                undoes: plan.undoes.map(|no| no as usize),
                attempts: step.attempts,
                started: end.and_then(|end| end.started).map(time),
                ended: end.map(|end| time(end.at)),
                failure: end.and_then(|end| end.failure.clone()),
                called_off_by: end.and_then(|end| end.cause).map(|no| no as usize),
                is_holding: step.is_holding,
                batch: step.batch.map(BatchReport::from),
            }
        };
        let steps = view.steps.iter().map(step).collect();
        Self { failed: view.summary.failed.map(|no| no as usize), summary: view.summary.into(), steps }
    }

    /// The steps that were to [undo](crate::Flow::undo) others, and failed: what those did stands, unless somebody has
    /// requeued them since.
    pub fn not_undone(&self) -> impl Iterator<Item = &StepStatus> {
        self.steps.iter().filter(|step| {
            let is_over = step.state.is_ended() && step.state != StepState::Skipped;
            step.undoes.is_some() && is_over && step.state != StepState::Job(State::Done)
        })
    }

    /// The step of this name.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepStatus> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The chain of steps that the flow's end waits, or waited, for longest so far: each could begin when the one before it had
    /// ended. In a flow that goes on, `now` is the end of what has not ended.
    #[must_use]
    pub fn critical_path(&self, now: SystemTime) -> Vec<CriticalStep> {
        let end_of = |no: usize| self.steps[no].ended.unwrap_or(now);
        let has_begun = |step: &StepStatus| {
            step.waits_for.is_empty() && step.called_off_by.is_none() && step.state != StepState::Skipped
        };
        let last = (0..self.steps.len()).filter(|no| has_begun(&self.steps[*no]) && self.steps[*no].undoes.is_none());
        let mut at = last.max_by_key(|no| (end_of(*no), *no));
        let mut path = Vec::new();
        while let Some(no) = at {
            at = self.steps[no].needs.iter().copied().max_by_key(|need| (end_of(*need), *need));
            let from = at.map_or(self.summary.created, end_of);
            let took = end_of(no).duration_since(from).unwrap_or_default();
            path.push(CriticalStep { step: self.steps[no].name.clone(), took });
        }
        path.reverse();
        path
    }
}

impl From<CoreSummary> for FlowSummary {
    fn from(summary: CoreSummary) -> Self {
        Self {
            id: summary.id,
            name: summary.name.to_string(),
            state: summary.state,
            created: time(summary.created),
            ended: summary.ended.map(time),
            steps: summary.steps,
            steps_ended: summary.steps_ended,
        }
    }
}
