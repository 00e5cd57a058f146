//! Webhooks: somebody else's service is told, and told again while it does not listen.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use reqwest::{Url, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass::{Context, Job, JobError};

use crate::app::{App, Shop};
use crate::body::read_json;
use crate::problem::Problem;
use crate::queues::SYNC;

/// Tells a URL.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeliverWebhook {
    url: String,
    body: Value,
}

impl Job for DeliverWebhook {
    const KIND: &'static str = "deliver-webhook";
    const QUEUE: &'static str = SYNC;
    /// The status that the other side answered with.
    type Output = u16;
}

/// Delivered means 2xx. A 4xx says that the request itself is wrong, so repeating it is of no use, but for those that
/// speak of time.
pub(crate) async fn deliver_webhook(job: DeliverWebhook, cx: Context<Arc<App>>) -> Result<u16, JobError> {
    tracing::info!(url = job.url, attempt = cx.attempt(), "delivering");
    let (content_type, body) = match job.body {
        Value::String(text) => ("text/plain; charset=utf-8", text),
        json => ("application/json", json.to_string()),
    };
    let request = cx.app().web.post(job.url).header(header::CONTENT_TYPE, content_type);
    // At least once means sometimes twice: this tells the other side what is the same.
    let response = request.header("Idempotency-Key", cx.id().to_string()).body(body).send().await?;
    let status = response.status();
    tracing::info!(status = status.as_u16(), "answered");
    match status.as_u16() {
        200..300 => Ok(status.as_u16()),
        408 | 425 | 429 | 500.. => Err(format!("the other side answered {status}").into()),
        _ => Err(JobError::permanent(format!("the other side answered {status}"))),
    }
}

/// `POST /webhooks`: `{"url", "body"}`; a body that is a string is sent as it is, and anything else as JSON.
pub(crate) async fn accept(State(shop): State<Shop>, body: Body) -> Result<(StatusCode, Json<Value>), Problem> {
    #[derive(Deserialize)]
    struct Request {
        url: String,
        body: Value,
    }
    let request = read_json::<Request>(body).await?;
    let url: Url = request.url.parse().map_err(|error| Problem::bad_request(format!("`url`: {error}")))?;
    if url.scheme() != "http" {
        return Err(Problem::bad_request("`url`: only http, this example carries no TLS"));
    }
    let job = shop.engine.enqueue(DeliverWebhook { url: url.into(), body: request.body }).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "job_id": job.id().to_string() }))))
}
