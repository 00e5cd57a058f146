//! How a no is answered: a status, a sentence, and where it helps, when to come again.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use windlass::{ControlError, EnqueueError, Refusal};

use crate::database::DatabaseError;

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    message: String,
    retry_after_s: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_s: None }
    }

    /// The caller's fault.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nobody's fault: later it will work.
    pub(crate) fn later(retry_after_s: u32, message: impl Into<String>) -> Self {
        let retry_after_s = Some(retry_after_s);
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message: message.into(), retry_after_s }
    }

    /// Our fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), "{}", self.message);
        }
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::QueueFull { .. } | Refusal::TooManyWaiters { .. } | Refusal::Stopping => Self::later(2, message),
            Refusal::PayloadTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, message),
            Refusal::Forgotten { .. } => Self::new(StatusCode::NOT_FOUND, message),
            Refusal::Forbidden { .. } | Refusal::Changed { .. } => Self::new(StatusCode::CONFLICT, message),
            _ => Self::internal(message),
        }
    }
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        let message = error.to_string();
        match error {
            EnqueueError::Refused(refusal) => refusal.into(),
            EnqueueError::DiskNearlyFull { .. } => Self::later(60, message),
            EnqueueError::Interrupted { .. } | EnqueueError::Unavailable(_) => Self::later(5, message),
            _ => Self::internal(message),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        match error {
            ControlError::Refused(refusal) => refusal.into(),
            _ => Self::later(5, message),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        Self::later(5, error.to_string())
    }
}
