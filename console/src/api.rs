//! The JSON API, under `/api/v1`.
//!
//! Owns paths, status codes and problems. Reading is GET; every change is a POST with a JSON body, asks for a permission of its own, and
//! is noted in the audit log whatever comes of it.

pub(crate) mod change;
mod events;
pub(crate) mod flows;
mod jobs;
pub(crate) mod limits;
pub(crate) mod look;
mod openapi;
pub(crate) mod orders;
mod problem;
pub(crate) mod query;
pub(crate) mod queues;
pub(crate) mod schedules;
pub(crate) mod steer;

use std::fmt::Display;
use std::future::Future;

use axum::Router;
use axum::routing::{get, post};

pub(crate) use self::events::{STREAMS_MAX, Streams};
pub(crate) use self::problem::Problem;
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;

pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/overview", get(queues::overview))
        .route("/api/v1/health", get(queues::health))
        .route("/api/v1/queues", get(queues::list))
        .route("/api/v1/kinds", get(queues::kinds))
        .route("/api/v1/journal", get(queues::journal))
        .route("/api/v1/queues/{queue}/pause", post(queues::pause))
        .route("/api/v1/queues/{queue}/resume", post(queues::resume))
        .route("/api/v1/queues/{queue}/purge", post(queues::purge))
        .route("/api/v1/limits", get(limits::list))
        .route("/api/v1/limits/set", post(limits::set))
        .route("/api/v1/limits/reset", post(limits::reset))
        .route("/api/v1/jobs", get(jobs::list))
        .route("/api/v1/jobs/count", get(jobs::count))
        .route("/api/v1/jobs/steer", post(orders::place))
        .route("/api/v1/jobs/{id}", get(jobs::whole))
        .route("/api/v1/jobs/{id}/steer", post(steer::steer))
        .route("/api/v1/jobs/{id}/edit", post(steer::edit))
        .route("/api/v1/orders", get(orders::list))
        .route("/api/v1/orders/{id}/cancel", post(orders::cancel))
        .route("/api/v1/dead", get(jobs::dead))
        .route("/api/v1/workers", get(jobs::workers))
        .route("/api/v1/schedules", get(schedules::list))
        .route("/api/v1/schedules/{name}/{what}", post(schedules::steer))
        .route("/api/v1/flows", get(flows::list))
        .route("/api/v1/flows/{id}", get(flows::whole))
        .route("/api/v1/flows/{id}/cancel", post(flows::cancel))
        .route("/api/v1/flows/{id}/steps/{step}/retry", post(flows::retry))
        .route("/api/v1/flows/{id}/steps/{step}/skip", post(flows::skip))
        .route("/api/v1/flows/{id}/signals/{name}", post(flows::signal))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/audit", get(queues::audit))
        .route("/api/v1/{*rest}", get(problem::no_such_path).post(problem::no_such_path))
}

/// Does something for a visitor, if they may, and notes what came of it.
pub(crate) async fn act<T, E: Into<Problem>>(
    console: &Console,
    visitor: &Visitor,
    action: Action,
    target: impl Display,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    let outcome = match visitor.may(action) {
        Ok(()) => doing.await.map_err(Into::into),
        Err(no) => Err(no),
    };
    let word = outcome.as_ref().map_or_else(|problem| problem.detail().to_owned(), |_| "done".to_owned());
    console.audit_log().note(visitor.identity.name(), action, &target.to_string(), &word);
    outcome
}
