//! Flows, and their steps.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use windlass::{FlowStatus, FlowSummary, StepStatus, Work};

use super::jobs::FailureView;
use super::{When, millis};

/// A flow's numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FlowLine {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its state: `running`, `held`, `undoing`, `done`, `failed`, `cancelled`.
    pub(crate) state: &'static str,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created: When,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<When>,
    /// How many steps it has.
    pub(crate) step_count: usize,
    /// How many of them have ended.
    pub(crate) ended_count: usize,
}

impl From<&FlowSummary> for FlowLine {
    fn from(summary: &FlowSummary) -> Self {
        Self {
            id: summary.id.to_string(),
            name: summary.name.clone(),
            state: summary.state.as_str(),
            created: summary.created.into(),
            ended: summary.ended.map(When),
            step_count: summary.steps,
            ended_count: summary.steps_ended,
        }
    }
}

/// A part of the list of flows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FlowList {
    /// The flows, by id.
    pub(crate) flows: Vec<FlowLine>,
    /// Where to go on, for `after`; absent at the end.
    pub(crate) next: Option<String>,
}

impl FlowList {
    pub(crate) fn new(flows: &[FlowSummary], limit: usize) -> Self {
        let next = flows.last().filter(|_| flows.len() == limit).map(|last| last.id.to_string());
        Self { flows: flows.iter().map(FlowLine::from).collect(), next }
    }
}

/// A flow with its steps.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FlowWhole {
    /// Its numbers.
    #[serde(flatten)]
    pub(crate) flow: FlowLine,
    /// Its steps; each needs only earlier ones.
    pub(crate) steps: Vec<StepView>,
    /// The name of the step with which it failed.
    pub(crate) failed: Option<String>,
    /// The steps that its end waits, or waited, for longest.
    pub(crate) critical_path: Vec<CriticalView>,
}

/// A step on the longest way through a flow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CriticalView {
    /// Its name.
    pub(crate) step: String,
    /// From the moment at which it could begin to its end, or until now, in milliseconds.
    pub(crate) took_ms: u64,
}

/// A step of a flow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// Its name.
    pub(crate) name: String,
    /// Its job.
    pub(crate) job: String,
    /// The job's kind.
    pub(crate) kind: String,
    /// Its queue.
    pub(crate) queue: String,
    /// What it does: `job`, `timer`, `signal`, `batch`.
    pub(crate) work: &'static str,
    /// Its state.
    pub(crate) state: &'static str,
    /// The names of those that it needs.
    pub(crate) needs: Vec<String>,
    /// Those of them that it still waits for.
    pub(crate) blocked_by: Vec<String>,
    /// The step that it undoes if the flow fails.
    pub(crate) undoes: Option<String>,
    /// How many attempts its job has had.
    pub(crate) attempts: u32,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<When>,
    /// Why it did not succeed.
    pub(crate) failure: Option<FailureView>,
    /// The step whose failure called it off.
    pub(crate) called_off_by: Option<String>,
    /// It failed, and those that need it wait for somebody to requeue or skip it.
    pub(crate) is_holding: bool,
    /// The jobs of a batch, counted.
    pub(crate) batch: Option<BatchView>,
}

/// The jobs of a batch, counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// All that ever came.
    pub(crate) jobs: u32,
    /// Those that succeeded.
    pub(crate) done: u32,
    /// Those that are dead.
    pub(crate) dead: u32,
    /// Those that were called off.
    pub(crate) cancelled: u32,
    /// Those that expired.
    pub(crate) expired: u32,
}

impl FlowWhole {
    pub(crate) fn new(flow: &FlowStatus) -> Self {
        let name = |no: usize| flow.steps.get(no).map_or_else(|| no.to_string(), |step| step.name.clone());
        let path = flow.critical_path(SystemTime::now());
        Self {
            flow: FlowLine::from(&flow.summary),
            steps: flow.steps.iter().map(|step| StepView::new(step, name)).collect(),
            failed: flow.failed.map(name),
            critical_path: path
                .into_iter()
                .map(|step| CriticalView { step: step.step, took_ms: millis(step.took) })
                .collect(),
        }
    }
}

impl StepView {
    fn new(step: &StepStatus, name: impl Fn(usize) -> String) -> Self {
        Self {
            name: step.name.clone(),
            job: step.job.to_string(),
            kind: step.kind.clone(),
            queue: step.queue.clone(),
            work: match step.work {
                Work::Job => "job",
                Work::Timer => "timer",
                Work::Signal => "signal",
                Work::Batch => "batch",
            },
            state: step.state.as_str(),
            needs: step.needs.iter().copied().map(&name).collect(),
            blocked_by: step.waits_for.iter().copied().map(&name).collect(),
            undoes: step.undoes.map(&name),
            attempts: step.attempts,
            ended: step.ended.map(When),
            failure: step.failure.as_ref().map(FailureView::from),
            called_off_by: step.called_off_by.map(&name),
            is_holding: step.is_holding,
            batch: step.batch.as_ref().map(|batch| BatchView {
                jobs: batch.jobs,
                done: batch.done,
                dead: batch.dead,
                cancelled: batch.cancelled,
                expired: batch.expired,
            }),
        }
    }
}
