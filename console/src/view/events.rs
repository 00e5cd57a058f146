//! What happened, as it is streamed.

use serde::Serialize;
use utoipa::ToSchema;
use windlass::{Event, Gap, What};

use super::jobs::FailureView;
use super::{When, millis};

/// Something that happened. What does not belong to it is absent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// Where it stands among all events: `Last-Event-ID` goes on after it.
    pub(crate) no: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: When,
    /// What: `enqueued`, `started`, `succeeded`, `failed`, `dead`, ...
    pub(crate) what: &'static str,
    /// The job that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// The job's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// The flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flow: Option<String>,
    /// The number of the attempt, from 1; 0: none has begun.
    pub(crate) attempt: u32,
    /// The job's correlation id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    /// Why it failed or is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureView>,
    /// It runs again after so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again_in_ms: Option<u64>,
    /// It waits for this moment.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<When>,
    /// Its priority now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<u8>,
    /// The queue that it was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// What sort of flow it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flow_name: Option<String>,
    /// The step that failed, and that others of the flow hold for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flow_step: Option<String>,
    /// How the flow ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flow_state: Option<&'static str>,
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        let mut view = Self {
            no: event.no().to_string(),
            at: event.at().into(),
            what: event.what().kind().as_str(),
            job: event.job().map(|id| id.to_string()),
            kind: event.kind().map(str::to_owned),
            queue: event.queue().map(str::to_owned),
            flow: event.flow().map(|id| id.to_string()),
            attempt: event.attempt(),
            correlation_id: event.correlation_id().map(str::to_owned),
            failure: None,
            again_in_ms: None,
            due: None,
            priority: None,
            from: None,
            flow_name: None,
            flow_step: None,
            flow_state: None,
        };
        match event.what() {
            What::Enqueued { due } | What::Replaced { due } | What::Rescheduled { due } => view.due = due.map(When),
            What::Failed { failure, retry_in } => {
                (view.failure, view.again_in_ms) = (Some(failure.into()), retry_in.map(millis));
            }
            What::Snoozed { delay } => view.again_in_ms = Some(millis(*delay)),
            What::Dead { failure } => view.failure = failure.as_ref().map(FailureView::from),
            What::Reprioritised { priority } => view.priority = Some(priority.0),
            What::Moved { from } => view.from = Some(from.to_string()),
            What::FlowSubmitted { name } => view.flow_name = Some(name.to_string()),
            What::FlowHeld { name, step } => {
                (view.flow_name, view.flow_step) = (Some(name.to_string()), Some(step.to_string()));
            }
            What::FlowEnded { name, state } => {
                (view.flow_name, view.flow_state) = (Some(name.to_string()), Some(state.as_str()));
            }
            _ => {}
        }
        view
    }
}

/// Events that nobody can tell any more: whatever is made of events is to be made anew.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct GapView {
    /// The last one that was told, or what it was to go on from.
    pub(crate) from: String,
    /// Whatever came after this is told.
    pub(crate) to: String,
}

impl From<Gap> for GapView {
    fn from(gap: Gap) -> Self {
        Self { from: gap.from.to_string(), to: gap.to.to_string() }
    }
}
