//! What can go wrong with flows.

use windlass_scheduler::attempt::Failure;
use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::JobId;
use windlass_scheduler::refusal::Refusal;

use super::{ControlError, EnqueueError};

/// Why a flow was not accepted, or may have been. Whole, or not at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A job of it cannot be accepted.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The flow's own name cannot be stored. Nothing was stored.
    #[error("flow name `{name}`: 1 to {bytes_max} letters, digits and `-_.:/` are allowed")]
    Name {
        /// The name.
        name: String,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
    /// Two steps have one name. Nothing was stored.
    #[error("two steps of the flow are called `{name}`: give one of them another name")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// Something was said of a step that the flow does not have. Nothing was stored.
    #[error("the flow has no step `{step}`, and {why}")]
    UnknownStep {
        /// The name.
        step: String,
        /// What was said of it.
        why: String,
    },
    /// A step is said to need, or to undo, another one twice. Nothing was stored.
    #[error(
        "step `{step}` is said to need step `{needs}` twice, and what counts where that fails is not clear: say it once"
    )]
    NeedTwice {
        /// The step.
        step: String,
        /// What it needs.
        needs: String,
    },
    /// Steps need one another in a circle: none of them could begin. Nothing was stored.
    #[error("these steps wait for one another, or for those that do, and none could begin: {}", steps.join(", "))]
    Circle {
        /// The steps that are in the circle, or behind it.
        steps: Vec<String>,
    },
    /// A handle on a step of another flow was used. Nothing was stored.
    #[error("a step needs one of another flow: handles are of the flow that gave them")]
    OtherFlow,
    /// Nothing in the flow runs, and no queue is said. Nothing was stored.
    #[error(
        "the flow has no job to tell its queue by: add one to it or to its batch, or say where its batches are to stand, with `Flow::queue`"
    )]
    NoJob,
}

/// What is left to be undone by hand, as the rest of a sentence.
fn left_by(not_undone: &[String]) -> String {
    let steps: Vec<_> = not_undone.iter().map(|step| format!("`{step}`")).collect();
    if steps.is_empty() { String::new() } else { format!("; not all is undone: {} failed", steps.join(", ")) }
}

/// Why a flow gave no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowWaitError {
    /// A step failed.
    #[error("flow `{name}` ({flow}) failed at step `{step}`: {}{}", failure.as_ref().map_or_else(|| "it expired".to_owned(), ToString::to_string), left_by(not_undone))]
    Failed {
        /// The flow.
        flow: FlowId,
        /// What sort of flow it is.
        name: String,
        /// The step that failed first.
        step: String,
        /// Why; `None`: it was not started in time.
        failure: Option<Failure>,
        /// The steps that were to [undo](crate::Flow::undo) others, and failed, too: what those did stands.
        not_undone: Box<[String]>,
    },
    /// The flow, or a step of it, was called off.
    #[error("flow `{name}` ({flow}) was called off at step `{step}`{}{}", failure.as_ref().map_or_else(String::new, |why| format!(": {why}")), left_by(not_undone))]
    Cancelled {
        /// The flow.
        flow: FlowId,
        /// What sort of flow it is.
        name: String,
        /// The step that was called off first.
        step: String,
        /// Why; `None`: nobody said.
        failure: Option<Failure>,
        /// The steps that were to [undo](crate::Flow::undo) others, and failed: what those did stands.
        not_undone: Box<[String]>,
    },
    /// The output could not be read or decoded.
    #[error("the output of flow `{name}` ({flow}): {error}")]
    Output {
        /// The flow.
        flow: FlowId,
        /// What sort of flow it is.
        name: String,
        /// Why.
        error: InputError,
    },
    /// The question could not be answered.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Why there is no such input, or output of a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The job is of no flow, or, where it asks for an input, no step of one.
    #[error("job {id} is of no flow: it has no input, and no batch")]
    NoFlow {
        /// The job.
        id: JobId,
    },
    /// The job's flow has no such batch.
    #[error("there is no such batch: {refusal}")]
    NoBatch {
        /// What the core said.
        refusal: Refusal,
    },
    /// The batch is over: what came now would be no part of it.
    #[error(
        "batch `{step}` is over, and a job that came now would run by itself: let the batch need the step that fills it, or plan it as an `open_batch`, which waits to be closed"
    )]
    BatchOver {
        /// The batch.
        step: String,
    },
    /// A step left more than its queue keeps.
    #[error(
        "step `{step}` left {bytes} bytes, over its queue's limit of {bytes_max}, and they were not kept: keep it elsewhere and pass on where"
    )]
    TooLarge {
        /// The step.
        step: String,
        /// Bytes that it left.
        bytes: u64,
        /// Bytes that the queue keeps.
        bytes_max: u64,
    },
    /// What a step left is no longer there.
    #[error("what step `{step}` left is no longer there: it runs once more, or the flow was forgotten")]
    Gone {
        /// The step.
        step: String,
    },
    /// The step was asked for what another one left that it does not need.
    #[error("this step needs no step `{step}`, and gets nothing of it: it needs {}", listed(needs))]
    NotNeeded {
        /// The name that was asked for.
        step: String,
        /// The steps that it needs, or undoes.
        needs: Vec<String>,
    },
    /// What the steps left is not of the type that is asked for.
    #[error("what the steps left is not of the type that is asked for: {reason}")]
    Decode {
        /// Why.
        reason: String,
    },
    /// It could not be asked for or read.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl InputError {
    /// No further attempt would be given it.
    pub(crate) const fn is_for_good(&self) -> bool {
        !matches!(self, Self::Control(_))
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}
