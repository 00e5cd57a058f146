//! The API's description of itself.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::Server;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema, SecurityRequirement};
use utoipa::{Modify, OpenApi, ToSchema};

use super::problem::Problem;
use super::steer::VerbWords;
use super::{events, flows, jobs, limits, orders, queues, schedules, steer};
use crate::guard::Visitor;
use crate::view::events::GapView;
use crate::view::limits::LimitRef;

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
    components(schemas(GapView)),
    modifiers(&Common)
)]
struct Api;

/// What is said of every operation: how to be let in, and how it says no. And what the derive does not see: that of what a request says,
/// variants take no field that they do not know, either.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of the console's `Access`"));
        let parts = api.components.get_or_insert_default();
        parts.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
        for name in [LimitRef::name(), VerbWords::name()] {
            let Some(RefOr::T(Schema::OneOf(either))) = parts.schemas.get_mut(&*name) else { continue };
            for one in &mut either.items {
                if let RefOr::T(Schema::Object(object)) = one {
                    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                }
            }
        }
        api.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
        let problem = || {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
            ResponseBuilder::new().description("Why not").content(Problem::MEDIA_TYPE, content).build()
        };
        for path in api.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post].into_iter().flatten() {
                for (status, response) in &mut operation.responses.responses {
                    if !status.starts_with('2') {
                        *response = problem().into();
                    }
                }
                operation.responses.responses.insert("default".to_owned(), problem().into());
            }
        }
    }
}

/// In the words of `OpenAPI` 3.1.
pub(super) async fn document(Extension(visitor): Extension<Visitor>) -> Response {
    let mut api = Api::openapi();
    api.servers = Some(vec![Server::new(format!("{}/api/v1", visitor.base))]);
    ([(header::CONTENT_TYPE, "application/json")], Json(api)).into_response()
}
