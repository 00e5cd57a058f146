//! The engine at a glance, and its queues.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::Change;
use super::look::Fresh;
use super::orders::Placed;
use super::problem::Problem;
use super::{act, look};
use crate::AuditEntry;
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::overview::{HealthView, Overview, QueueView};
use crate::view::pace::{JournalView, KindView};

/// Entries of the audit log that are given at most.
const AUDIT_MAX: usize = 1_000;

/// It is done.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    done: bool,
}

pub(super) const DONE: Json<Done> = Json(Done { done: true });

/// Says nothing: that it is JSON is what keeps other sites' forms out.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[utoipa::path(get, path = "/overview", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(console): State<Console>) -> Result<Json<Overview>, Problem> {
    look::overview(&console, Fresh::Now).await.map(Json)
}

/// Answered without asking the engine's parts, so that it is also when they do not.
#[utoipa::path(get, path = "/health", responses((status = 200, body = HealthView)))]
pub(super) async fn health(State(console): State<Console>) -> Json<HealthView> {
    Json(HealthView::from(&console.engine().health()))
}

#[utoipa::path(get, path = "/queues", responses((status = 200, body = Vec<QueueView>)))]
pub(super) async fn list(State(console): State<Console>) -> Result<Json<Vec<QueueView>>, Problem> {
    look::seen(&console, Fresh::Now).await.map(|seen| Json(seen.queues.clone()))
}

/// How fast jobs go, by queue and kind: rates, and how long they waited and ran, over the last five minutes or since the console looked
/// first. Kinds of which nothing has started since then are left out.
#[utoipa::path(get, path = "/kinds", responses((status = 200, body = Vec<KindView>)))]
pub(super) async fn kinds(State(console): State<Console>) -> Result<Json<Vec<KindView>>, Problem> {
    look::seen(&console, Fresh::Now).await.map(|seen| Json(seen.paces.kinds.clone()))
}

/// How the journal is: times of writes and syncs, how much shares a write, what it takes on its disk.
#[utoipa::path(get, path = "/journal",
    responses((status = 200, body = JournalView), (status = 503, body = Problem)))]
pub(super) async fn journal(State(console): State<Console>) -> Result<Json<JournalView>, Problem> {
    let silent = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the journal does not answer",
            "it is closed, or being opened anew",
        )
    };
    look::seen(&console, Fresh::Now).await?.paces.journal.clone().map(Json).ok_or_else(silent)
}

#[utoipa::path(post, path = "/queues/{queue}/pause", params(("queue" = String, Path)), request_body = Nothing,
    responses((status = 200, body = Done), (status = 404, body = Problem)))]
pub(super) async fn pause(
    Path(queue): Path<String>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<Done>, Problem> {
    pause_queue(&console, &visitor, &queue).await?;
    Ok(DONE)
}

pub(crate) async fn pause_queue(console: &Console, visitor: &Visitor, queue: &str) -> Result<(), Problem> {
    act(console, visitor, Action::PauseQueue, queue, console.engine().pause(queue)).await
}

#[utoipa::path(post, path = "/queues/{queue}/resume", params(("queue" = String, Path)), request_body = Nothing,
    responses((status = 200, body = Done), (status = 404, body = Problem)))]
pub(super) async fn resume(
    Path(queue): Path<String>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<Done>, Problem> {
    resume_queue(&console, &visitor, &queue).await?;
    Ok(DONE)
}

pub(crate) async fn resume_queue(console: &Console, visitor: &Visitor, queue: &str) -> Result<(), Problem> {
    act(console, visitor, Action::ResumeQueue, queue, console.engine().resume(queue)).await
}

/// The queue's name once more: what cannot be taken back is said twice.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purge {
    /// The queue's name.
    confirm: String,
}

/// Empties a queue: what waits in it is called off and forgotten. What runs goes on, and what is retained stays.
#[utoipa::path(post, path = "/queues/{queue}/purge", params(("queue" = String, Path)), request_body = Purge,
    responses((status = 200, body = Placed), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn purge(
    Path(queue): Path<String>,
    Change { console, visitor, body }: Change<Purge>,
) -> Result<Json<Placed>, Problem> {
    purge_queue(&console, &visitor, &queue, &body.confirm).await.map(Json)
}

pub(crate) async fn purge_queue(
    console: &Console,
    visitor: &Visitor,
    queue: &str,
    confirm: &str,
) -> Result<Placed, Problem> {
    if confirm != queue {
        return Err(Problem::bad(format!("to forget its jobs, `confirm` has to be the queue's name: `{queue}`")));
    }
    let doing = async {
        let is_there = look::queues(console).await?.iter().any(|one| one.name == queue);
        if is_there { Ok(console.engine().purge(queue).await?) } else { Err(look::no_queue(queue)) }
    };
    let order = act(console, visitor, Action::PurgeQueue, queue, doing).await?;
    Ok(Placed::order(&order))
}

/// What was done through this console, the latest first.
#[utoipa::path(get, path = "/audit", responses((status = 200, body = Vec<AuditEntry>)))]
pub(super) async fn audit(State(console): State<Console>) -> Json<Vec<AuditEntry>> {
    Json(console.audit(AUDIT_MAX))
}
