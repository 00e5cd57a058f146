//! Dead letters: see them, bring them back, throw them away.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use windlass::DeadLetter;

use crate::app::Shop;
use crate::jobs::{parse_id, status_json, unix_ms};
use crate::problem::Problem;
use crate::queues;

/// Dead letters of one queue on one page, unless asked otherwise.
const PAGE: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Page {
    /// Only this queue's.
    queue: Option<String>,
    /// Only those before this `cursor`; goes with `queue`.
    before: Option<u64>,
    /// Of each queue.
    limit: Option<usize>,
}

/// `GET /dead?queue=&before=&limit=`: the latest first.
pub(crate) async fn list(State(shop): State<Shop>, Query(page): Query<Page>) -> Result<Json<Vec<Value>>, Problem> {
    if page.before.is_some() && page.queue.is_none() {
        return Err(Problem::bad_request("`before` is a place in one queue's list: say which `queue`"));
    }
    let mut letters = Vec::new();
    for queue in queues::ALL.into_iter().filter(|name| page.queue.as_deref().is_none_or(|queue| queue == *name)) {
        letters.extend(shop.engine.dead_letters(queue, page.before, page.limit.unwrap_or(PAGE)).await?);
    }
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.died));
    Ok(Json(letters.iter().map(letter_json).collect()))
}

fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id.to_string(),
        "kind": letter.kind,
        "queue": letter.queue,
        "attempts": letter.attempts,
        "created_ms": unix_ms(letter.created),
        "died_ms": unix_ms(letter.died),
        "error": letter.failure.as_ref().map(ToString::to_string),
        "cursor": letter.cursor,
    })
}

/// `GET /dead/{id}`: with what went wrong in each attempt, and with the payload.
pub(crate) async fn inspect(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let detail = shop.engine.dead_letter(parse_id(&id)?).await?;
    let mut letter = letter_json(&detail.letter);
    letter["payload"] = serde_json::from_slice(&detail.payload).unwrap_or_default();
    letter["ends"] = detail
        .attempts
        .iter()
        .map(|end| {
            json!({
                "attempt": end.attempt,
                "started_ms": unix_ms(end.started),
                "ended_ms": unix_ms(end.ended),
                "error": end.failure.to_string(),
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
