//! The API's description of itself.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa::OpenApi;
use utoipa::openapi::server::Server;

use super::{events, flows, jobs, limits, orders, queues, schedules, steer};
use crate::guard::Visitor;
use crate::view::events::GapView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Windlass console",
        description = "Looks at the jobs of an engine, and steers them. Reading is GET; every change is a POST with a JSON body. \
                       What goes wrong is told as RFC 9457 has it, in `application/problem+json`."
    ),
    paths(
        queues::overview,
        queues::health,
        queues::list,
        queues::kinds,
        queues::journal,
        queues::pause,
        queues::resume,
        queues::purge,
        queues::audit,
        limits::list,
        limits::set,
        limits::reset,
        jobs::list,
        jobs::count,
        jobs::whole,
        jobs::dead,
        jobs::workers,
        steer::steer,
        steer::edit,
        orders::place,
        orders::list,
        orders::cancel,
        schedules::list,
        schedules::steer,
        flows::list,
        flows::whole,
        flows::cancel,
        flows::retry,
        flows::skip,
        flows::signal,
        events::stream,
    ),
    components(schemas(GapView))
)]
struct Api;

/// In the words of `OpenAPI` 3.1.
pub(super) async fn document(Extension(visitor): Extension<Visitor>) -> Response {
    let mut api = Api::openapi();
    api.servers = Some(vec![Server::new(format!("{}/api/v1", visitor.base))]);
    ([(header::CONTENT_TYPE, "application/json")], Json(api)).into_response()
}
