//! Tells pages when to look again, as server-sent events: one look at the engine serves all who watch.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::sleep;

use crate::api::{Problem, STREAMS_MAX};
use crate::console::Console;

/// A stream ends after this, and the page opens another one: whoever stopped reading gives the place back, and whoever may not come in
/// any more is noticed.
const LASTS: Duration = Duration::from_secs(300);
/// A stream on which nothing happens says so, lest something between takes it for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// How long a browser waits before it opens one again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An event `look` at once, and whenever something may look otherwise. One that is not taken in time is replaced by the next.
pub(super) async fn stream(
    State(console): State<Console>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = console.watchers().place().ok_or_else(|| {
        let detail = format!("{STREAMS_MAX} pages are watched: close some, or load this one again from time to time");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many watchers", detail)
    })?;
    let mut watcher = console.sampler().watch();
    watcher.mark_changed();
    let looks = stream::unfold((watcher, place), |(mut watcher, place)| async move {
        watcher.changed().await.ok()?;
        let no = *watcher.borrow_and_update();
        let look = Event::default().event("look").retry(AGAIN_AFTER).data(no.to_string());
        Some((Ok(look), (watcher, place)))
    });
    Ok(Sse::new(looks.take_until(sleep(LASTS))).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}
