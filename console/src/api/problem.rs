//! What went wrong, as RFC 9457 has it.

use axum::extract::OriginalUri;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use windlass::{ControlError, EnqueueError, Refusal};

/// Why a request was not answered with yes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status code.
    status: u16,
    /// What it is, in few words.
    title: &'static str,
    /// What it is this time, with the numbers, and what to do.
    detail: String,
}

impl Problem {
    /// As RFC 9457 names it.
    pub(super) const MEDIA_TYPE: &'static str = "application/problem+json";

    pub(crate) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), title, detail: detail.into() }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not understood", detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(&self)).into_response();
        let kind = HeaderValue::from_static(Self::MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        // The guard says it in HTML to whoever looks at a page.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let (status, title) = match &error {
            ControlError::Refused(refusal) => return Self::from_refusal(refusal, error.to_string()),
            ControlError::Range(_) | ControlError::Encode { .. } => (StatusCode::BAD_REQUEST, "out of range"),
            ControlError::OtherKind { .. } => (StatusCode::CONFLICT, "another kind"),
            ControlError::CursorExpired => (StatusCode::GONE, "the list has ended"),
            ControlError::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, "interrupted"),
            ControlError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "the storage failed"),
        };
        Self::new(status, title, error.to_string())
    }
}

impl Problem {
    fn from_refusal(refusal: &Refusal, detail: String) -> Self {
        let (status, title) = match refusal {
            Refusal::NoQueue { .. }
            | Refusal::Forgotten { .. }
            | Refusal::NoSharedLimit { .. }
            | Refusal::NoOrder { .. }
            | Refusal::NoSchedule { .. }
            | Refusal::NoFlow { .. }
            | Refusal::NoStep { .. } => (StatusCode::NOT_FOUND, "not there"),
            Refusal::PayloadTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too large"),
            Refusal::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping"),
            Refusal::QueueFull { .. } | Refusal::TooManyWaiters { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "the queue is full")
            }
            _ => (StatusCode::CONFLICT, "refused"),
        };
        Self::new(status, title, detail)
    }
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "not understood", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "not understood", rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "not understood", rejection.body_text())
    }
}

pub(crate) async fn no_such_path(OriginalUri(uri): OriginalUri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "not there", format!("nothing is at `{path}`: see `openapi.json`"))
}
