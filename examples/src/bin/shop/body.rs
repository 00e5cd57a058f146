//! Reading what callers send: never more than they may send, whatever they announce.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use windlass::SEC;

use crate::problem::Problem;

/// The longest JSON request, in bytes. A webhook's body has to fit into a job's payload anyway.
const JSON_BYTES_MAX: usize = 1 << 20;
/// How much of a body that is too long is read and thrown away. A caller that is still sending would not see our
/// answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// The whole body.
pub(crate) async fn read(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let read = async {
        let (mut kept, mut bytes) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::bad_request(format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes += data.len();
            if bytes <= bytes_max {
                kept.extend_from_slice(&data);
            } else {
                kept = Vec::new();
                if bytes > bytes_max + DISCARDED_BYTES_MAX {
                    break;
                }
            }
        }
        if bytes > bytes_max {
            let message = format!("the body has more than {bytes_max} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Ok(Bytes::from(kept))
    };
    let too_slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within 60 s");
    tokio::time::timeout(SEC * 60, read).await.map_err(too_slow)?
}

/// A body of JSON, whatever its content type is called.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = read(body, JSON_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("not the JSON that is expected: {error}")))
}
