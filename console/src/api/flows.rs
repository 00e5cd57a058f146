//! Flows: where they stand, and what is done to them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use windlass::FlowId;

use super::change::{AnyChange, Change};
use super::problem::Problem;
use super::queues::{DONE, Done, Nothing};
use super::{act, look};
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::flows::{FlowList, FlowWhole};

/// Which flows.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FlowQuery {
    /// In this state: `running`, `held`, `undoing`, `done`, `failed`, `cancelled`.
    pub(crate) state: Option<String>,
    /// Goes on after the page that gave this as its `next`.
    pub(crate) after: Option<String>,
    /// Flows on a page: 1 to 1,000, and 50 unless said.
    pub(crate) limit: Option<usize>,
}

/// Flows on a page, unless asked otherwise.
pub(crate) const FLOWS_PAGE: usize = 50;

/// The flows that are remembered, by id.
#[utoipa::path(get, path = "/flows", params(FlowQuery),
    responses((status = 200, body = FlowList), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(console): State<Console>,
    query: Result<Query<FlowQuery>, QueryRejection>,
) -> Result<Json<FlowList>, Problem> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(FLOWS_PAGE);
    look::flows_page(&console, query.after.as_deref(), query.state.as_deref(), limit).await.map(Json)
}

/// A flow with its steps.
#[utoipa::path(get, path = "/flows/{id}", params(("id" = String, Path)),
    responses((status = 200, body = FlowWhole), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn whole(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<FlowWhole>, Problem> {
    look::flow_whole(&console, look::flow_id(&id)?).await.map(Json)
}

/// Calls off every step of a flow that has not ended; what succeeded is undone, where it says how.
#[utoipa::path(post, path = "/flows/{id}/cancel", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, body = Done), (status = 404, body = Problem)))]
pub(super) async fn cancel(
    Path(id): Path<String>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<Done>, Problem> {
    cancel_flow(&console, &visitor, look::flow_id(&id)?).await?;
    Ok(DONE)
}

pub(crate) async fn cancel_flow(console: &Console, visitor: &Visitor, id: FlowId) -> Result<(), Problem> {
    act(console, visitor, Action::CancelFlow, id, console.engine().flow::<()>(id).cancel()).await
}

/// Runs a step that failed once more, and after it all that was called off for want of it.
#[utoipa::path(post, path = "/flows/{id}/steps/{step}/retry", params(("id" = String, Path), ("step" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn retry(
    Path((id, step)): Path<(String, String)>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<Done>, Problem> {
    retry_step(&console, &visitor, look::flow_id(&id)?, &step).await?;
    Ok(DONE)
}

pub(crate) async fn retry_step(console: &Console, visitor: &Visitor, id: FlowId, step: &str) -> Result<(), Problem> {
    let target = format!("step `{step}` of flow {id}");
    act(console, visitor, Action::RetryStep, target, console.engine().flow::<()>(id).retry(step)).await
}

/// What a step leaves that is skipped.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skip {
    /// What those that need it get as if it had left it; nothing unless said.
    #[serde(default)]
    pub(crate) output: Option<Value>,
}

/// Has a flow go on without a step.
#[utoipa::path(post, path = "/flows/{id}/steps/{step}/skip", params(("id" = String, Path), ("step" = String, Path)),
    request_body = Skip,
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn skip(
    Path((id, step)): Path<(String, String)>,
    Change { console, visitor, body: Skip { output } }: Change<Skip>,
) -> Result<Json<Done>, Problem> {
    skip_step(&console, &visitor, look::flow_id(&id)?, &step, output.as_ref()).await?;
    Ok(DONE)
}

pub(crate) async fn skip_step(
    console: &Console,
    visitor: &Visitor,
    id: FlowId,
    step: &str,
    output: Option<&Value>,
) -> Result<(), Problem> {
    let flow = console.engine().flow::<()>(id);
    let doing = async {
        match output {
            Some(output) => flow.skip_with(step, output).await,
            None => flow.skip(step).await,
        }
    };
    act(console, visitor, Action::SkipStep, format!("step `{step}` of flow {id}"), doing).await
}

/// Whether a signal was the first one.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Signalled {
    /// A second one changes nothing.
    pub(crate) is_first: bool,
}

/// Brings a flow a signal. The body is its payload.
#[utoipa::path(post, path = "/flows/{id}/signals/{name}", params(("id" = String, Path), ("name" = String, Path)),
    request_body = Value,
    responses((status = 200, body = Signalled), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn signal(
    Path((id, name)): Path<(String, String)>,
    AnyChange(Change { console, visitor, body: payload }): AnyChange,
) -> Result<Json<Signalled>, Problem> {
    bring_signal(&console, &visitor, look::flow_id(&id)?, &name, &payload).await.map(Json)
}

pub(crate) async fn bring_signal(
    console: &Console,
    visitor: &Visitor,
    id: FlowId,
    name: &str,
    payload: &Value,
) -> Result<Signalled, Problem> {
    let doing = console.engine().signal(id, name, payload);
    let is_first = act(console, visitor, Action::Signal, format!("signal `{name}` to flow {id}"), doing).await?;
    Ok(Signalled { is_first })
}
