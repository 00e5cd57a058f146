//! What a request that changes something brings: who asks, and what its JSON says.
//!
//! Where an object is described, only an object is taken: serde alone would take an array for it, and its items for the fields.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::console::Console;
use crate::guard::Visitor;

/// Somebody wants something changed.
pub(super) struct Change<T> {
    pub(super) console: Console,
    pub(super) visitor: Visitor,
    pub(super) body: T,
}

/// The same, of which any JSON will do.
pub(super) struct AnyChange(pub(super) Change<Value>);

impl FromRequest<Console> for AnyChange {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let visitor = Visitor::of(request.extensions())?;
        let Json(body) = Json::from_request(request, console).await?;
        Ok(Self(Change { console: console.clone(), visitor, body }))
    }
}

impl<T: DeserializeOwned> FromRequest<Console> for Change<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let AnyChange(Change { console, visitor, body }) = AnyChange::from_request(request, console).await?;
        let no = |error: serde_json::Error| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not understood",
                format!("the JSON is not as described: {error}"),
            )
        };
        Ok(Self { console, visitor, body: object(body).map_err(no)? })
    }
}

/// What has to be an object.
pub(crate) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let fields = Map::deserialize(deserializer)?;
    T::deserialize(Value::Object(fields)).map_err(D::Error::custom)
}

/// What has to be an object, or is not there.
pub(crate) fn maybe_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let fields = Option::<Map<_, _>>::deserialize(deserializer)?;
    fields.map(|fields| T::deserialize(Value::Object(fields))).transpose().map_err(D::Error::custom)
}
