//! Whether it serves, and how much there is to do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass::{HealthState, HealthWarning, QueueStats};

use crate::app::Shop;
use crate::jobs::unix_ms;
use crate::problem::Problem;

/// `GET /healthz`: 200 while it serves, else 503; with why, since when, what to do, and what wants looking at besides.
pub(crate) async fn healthz(State(shop): State<Shop>) -> (StatusCode, Json<Value>) {
    let health = shop.engine.health();
    let status = match health.state {
        HealthState::Healthy => "healthy",
        HealthState::Recovering(_) => "recovering",
        HealthState::Unhealthy(_) => "unhealthy",
        _ => "stopped",
    };
    // A nearly full disk is no reason to restart it: what runs is finished, and new jobs come in again by themselves.
    let code = if health.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let warnings: Vec<_> = health.warnings.iter().map(warning_json).collect();
    let body = json!({
        "status": status,
        "why": health.state.to_string(),
        "since_ms": unix_ms(health.since),
        "what_to_do": health.state.what_to_do(),
        "accepts_jobs": health.accepts_jobs(),
        "warnings": warnings,
    });
    (code, Json(body))
}

fn warning_json(warning: &HealthWarning) -> Value {
    json!({ "what": warning.to_string(), "since_ms": unix_ms(warning.since()), "what_to_do": warning.what_to_do() })
}

/// `GET /queues`: the numbers of each queue. They come from counters, so asking costs the same however many jobs there
/// are.
pub(crate) async fn queues(State(shop): State<Shop>) -> Result<Json<Vec<Value>>, Problem> {
    Ok(Json(shop.engine.stats().await?.iter().map(queue_json).collect()))
}

fn queue_json(queue: &QueueStats) -> Value {
    json!({
        "queue": queue.queue.as_str(),
        "ready": queue.ready,
        "waiting": queue.waiting,
        "delayed": queue.delayed,
        "running": queue.running,
        "done": queue.done,
        "dead": queue.dead,
        "expired": queue.expired,
        "oldest_ready_ms": queue.oldest_ready_ms,
        "start_within_ms": queue.start_within_ms,
        "is_late": queue.is_late,
        "done_last_minute": queue.done_last_minute,
        "failed_last_minute": queue.failed_last_minute,
        "retries_total": queue.totals.retries,
        "lost_total": queue.totals.lost,
        "paused": queue.paused,
    })
}
