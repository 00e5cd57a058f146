//! Flows and their steps as they are shown: to those who look, who wait, and who read what was left.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{FlowId, FlowState, StepEnd, StepOf, StepPlan, StepState};
use crate::attempt::{Failure, Output};
use crate::batch::BatchCounts;
use crate::job::Name;
use crate::time::Timestamp;

/// One step of a flow, for those who look. It may show what is not yet durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// What was planned.
    pub plan: StepPlan,
    /// How it stands.
    pub state: StepState,
    /// Its end, if it has ended.
    pub end: Option<StepEnd>,
    /// How many attempts its job has had, with one that runs.
    pub attempts: u32,
    /// Those that need it are held up by it.
    pub is_holding: bool,
    /// The jobs of a batch.
    pub batch: Option<BatchCounts>,
}

/// A flow, for those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Its numbers.
    pub summary: FlowSummary,
    /// The step whose output is the flow's.
    pub output: Option<u32>,
    /// Its steps.
    pub steps: Vec<StepView>,
}

/// The numbers of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSummary {
    /// Its id.
    pub id: FlowId,
    /// What sort of flow it is.
    pub name: Name,
    /// How it stands.
    pub state: FlowState,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Steps that it has.
    pub steps: usize,
    /// Steps that have ended.
    pub steps_ended: usize,
    /// The step that failed first of those with which the flow fails.
    pub failed: Option<u32>,
}

/// How a flow ended, for those who waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowEnding {
    /// The steps that were to undo others, and failed: what those did stands.
    pub not_undone: Vec<Arc<str>>,
    /// Its numbers.
    pub summary: FlowSummary,
    /// The step that failed, and why.
    pub failed: Option<(Arc<str>, Option<Failure>)>,
    /// The step whose output is the flow's, and what it left.
    pub output: Option<StepInput>,
    /// A queue of it, for those who read.
    pub queue: Name,
}

/// What a step gets from those that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInputs {
    /// A queue of the flow, for those who read.
    pub queue: Name,
    /// See [`StepPlan::input`].
    pub input: Vec<u32>,
    /// In the order of its needs; or of the one that it undoes.
    pub needs: Vec<StepInput>,
}

/// What one of them left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInput {
    /// Which.
    pub of: StepOf,
    /// Its name.
    pub name: Arc<str>,
    /// What; the bytes stand in a record of their own. `None`: it did not succeed.
    pub output: Option<Output>,
    /// It is a batch: the numbers of its jobs, and whether what they left is collected. Not of one that somebody skipped.
    pub batch: Option<(BatchCounts, bool)>,
}
