//! What a request that changes something brings: who asks, and what its JSON says.

use axum::Json;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::console::Console;
use crate::guard::Visitor;

/// Somebody wants something changed.
pub(super) struct Change<T> {
    pub(super) console: Console,
    pub(super) visitor: Visitor,
    pub(super) body: T,
}

impl<T: DeserializeOwned> FromRequest<Console> for Change<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let visitor = Visitor::of(request.extensions())?;
        let Json(body) = Json::from_request(request, console).await?;
        Ok(Self { console: console.clone(), visitor, body })
    }
}
