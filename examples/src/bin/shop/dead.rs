//! Dead letters: see them, bring them back, throw them away.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use windlass::{Cursor, Filter, JobState};

use crate::app::Shop;
use crate::jobs::{parse_id, status_json, unix_ms};
use crate::problem::Problem;

/// Dead letters on one page, unless asked otherwise.
const PAGE: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Page {
    /// Only this queue's.
    queue: Option<String>,
    /// Only those whose last error has this text.
    error: Option<String>,
    /// The page after the one that gave this `next`.
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /dead?queue=&error=&after=&limit=`: queue by queue, the latest first.
pub(crate) async fn list(State(shop): State<Shop>, Query(page): Query<Page>) -> Result<Json<Value>, Problem> {
    let mut filter = Filter::new().state(JobState::Dead);
    if let Some(queue) = &page.queue {
        filter = filter.queue(queue);
    }
    if let Some(error) = &page.error {
        filter = filter.error(error);
    }
    let mut list = shop.engine.jobs(filter).limit(page.limit.unwrap_or(PAGE));
    if let Some(after) = &page.after {
        list = list.after(after.parse::<Cursor>().map_err(|error| Problem::bad_request(error.to_string()))?);
    }
    let page = list.await?;
    let jobs: Vec<Value> = page.jobs.iter().map(status_json).collect();
    Ok(Json(json!({ "jobs": jobs, "next": page.next.map(|next| next.to_string()) })))
}

/// `GET /dead/{id}`: with what went wrong in each attempt, and with the payload.
pub(crate) async fn inspect(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let detail = shop.engine.inspect(parse_id(&id)?).await?;
    let mut letter = status_json(&detail.status);
    letter["payload"] = serde_json::from_slice(&detail.payload).unwrap_or_default();
    letter["ends"] = detail
        .attempts
        .iter()
        .map(|end| {
            json!({
                "attempt": end.attempt,
                "started_ms": unix_ms(end.started),
                "ended_ms": unix_ms(end.ended),
                "result": end.result.as_str(),
                "error": end.failure().map(ToString::to_string),
            })
        })
        .collect();
    Ok(Json(letter))
}

/// `POST /dead/{id}/requeue`: back into its queue, with all its retries before it.
pub(crate) async fn requeue(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id = parse_id(&id)?;
    shop.engine.requeue(id).await?;
    Ok(Json(status_json(&shop.engine.job(id).await?)))
}

/// `DELETE /dead/{id}`: forgotten, payload and all.
pub(crate) async fn discard(State(shop): State<Shop>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    shop.engine.discard(parse_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
