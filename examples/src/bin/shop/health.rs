//! Whether it serves, and how much there is to do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass::{HealthState, QueueStats};

use crate::app::Shop;
use crate::jobs::unix_ms;
use crate::problem::Problem;

/// `GET /healthz`: 200 while it serves, else 503 with why, and since when.
pub(crate) async fn healthz(State(shop): State<Shop>) -> (StatusCode, Json<Value>) {
    let health = shop.engine.health();
    let (status, why) = match health.state {
        HealthState::Healthy => ("healthy", None),
        HealthState::Recovering(why) => ("recovering", Some(why)),
        HealthState::Unhealthy(why) => ("unhealthy", Some(why)),
        HealthState::RuntimeGone => ("stopped", Some("the handlers' runtime is gone".to_owned())),
        HealthState::Stopped(why) => ("stopped", Some(why)),
        other => ("unknown", Some(format!("{other:?}"))),
    };
    let code = if why.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "status": status, "why": why, "since_ms": unix_ms(health.since) })))
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
