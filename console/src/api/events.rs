//! What happens, as server-sent events.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::IntoParams;
use windlass::{Event, EventFilter, EventKind, EventNo, Gap};

use super::look;
use super::problem::Problem;
use super::query::values;
use crate::console::Console;
use crate::view::events::{EventView, GapView};

/// Streams at once: each is a connection, and a place in the engine's list of subscribers.
pub(crate) const STREAMS_MAX: usize = 64;
/// A stream on which nothing happens says so, lest something between takes it for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Places for streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Streams {
    /// A place, until it is dropped.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// Which events: all that meet every part that is said; several values of a part have commas between.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Of these queues.
    queue: Option<String>,
    /// Of jobs of these kinds.
    kind: Option<String>,
    /// Of these jobs.
    job: Option<String>,
    /// Of these flows.
    flow: Option<String>,
    /// Of jobs with this correlation id.
    correlation_id: Option<String>,
    /// Of these sorts: `enqueued`, `started`, `succeeded`, `failed`, `dead`, ...
    what: Option<String>,
    /// Goes on after this event, as the header `Last-Event-ID` does; what is not in memory any more is told as a gap.
    after: Option<String>,
}

impl EventQuery {
    fn filter(&self) -> Result<EventFilter, Problem> {
        let mut filter = EventFilter::new();
        for queue in values(self.queue.as_deref()) {
            filter = filter.queue(queue);
        }
        for kind in values(self.kind.as_deref()) {
            filter = filter.kind(kind);
        }
        for job in values(self.job.as_deref()) {
            filter = filter.job(look::job_id(job)?);
        }
        for flow in values(self.flow.as_deref()) {
            filter = filter.flow(look::flow_id(flow)?);
        }
        for id in values(self.correlation_id.as_deref()) {
            filter = filter.correlation_id(id);
        }
        for what in values(self.what.as_deref()) {
            filter = filter.what([kind_of(what)?]);
        }
        Ok(filter)
    }
}

fn kind_of(word: &str) -> Result<EventKind, Problem> {
    let kind = EventKind::ALL.iter().copied().find(|kind| kind.as_str() == word);
    kind.ok_or_else(|| {
        let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        Problem::bad(format!("no such sort of event: there are {}", known.join(", ")))
    })
}

/// What happens from now on, or after an event that was told before. Each message is an `EventView`, with its number as its id; one of the
/// name `gap` says that some are missing. The stream ends with the engine.
#[utoipa::path(get, path = "/events", params(EventQuery),
    responses((status = 200, body = EventView, content_type = "text/event-stream"), (status = 400, body = Problem),
        (status = 503, body = Problem)))]
pub(super) async fn stream(
    State(console): State<Console>,
    headers: HeaderMap,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Problem> {
    let Query(query) = query?;
    let place = console.streams().place().ok_or_else(|| {
        let detail = format!("{STREAMS_MAX} streams of events are open: close some, or ask for what stands instead");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many streams", detail)
    })?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?"));
    let mut events = console.engine().events(query.filter()?);
    if let Some(after) = last.or(query.after.as_deref()).filter(|text| !text.is_empty()) {
        events = events.after(EventNo::from_str(after).map_err(|error| Problem::bad(error.to_string()))?);
    }
    let messages = events.map(move |event| {
        // Whoever leaves gives their place back.
        let _ = &place;
        Ok(message(event))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

fn message(event: Result<Event, Gap>) -> Message {
    match event {
        Ok(event) => with_data(&EventView::from(&event)).id(event.no().to_string()),
        Err(gap) => with_data(&GapView::from(gap)).event("gap").id(gap.to.to_string()),
    }
}

fn with_data(data: &impl Serialize) -> Message {
    Message::default().json_data(data).unwrap_or_else(|error| Message::default().comment(error.to_string()))
}
