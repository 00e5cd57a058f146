//! Looking at one job.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use windlass::{JobId, JobStatus};

use crate::app::Shop;
use crate::problem::Problem;

/// An id as it stands in a path.
pub(crate) fn parse_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::bad_request(format!("`{text}` is no job id")))
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// `GET /jobs/{id}`
pub(crate) async fn job(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(status_json(&shop.engine.job(parse_id(&id)?).await?)))
}

pub(crate) fn status_json(status: &JobStatus) -> Value {
    json!({
        "id": status.id.to_string(),
        "kind": status.kind,
        "queue": status.queue,
        "state": status.state.to_string(),
        "priority": status.priority.0,
        "attempts": status.attempts,
        "failures": status.failures,
        "lost": status.lost,
        "created_ms": unix_ms(status.created),
        "due_ms": status.due.map(unix_ms),
        "expires_ms": status.expires.map(unix_ms),
        "ended_ms": status.ended.map(unix_ms),
        "error": status.failure.as_ref().map(ToString::to_string),
        "progress": status.progress,
    })
}
