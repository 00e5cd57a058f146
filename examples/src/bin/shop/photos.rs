//! Uploads: a picture on the disk first, then a job that makes it smaller.
//!
//! The file is synced under its final name before the job is enqueued, so no job ever looks for a picture that a power
//! cut took away. Killed between the two, a picture stays without a job: nobody was promised anything, and it only
//! takes space.

use std::io::Cursor;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use image::{ImageFormat, ImageReader};
use serde::Serialize;
use windlass::{EnqueueError, JobId, new_job_id};

use crate::app::Shop;
use crate::body;
use crate::problem::Problem;
use crate::thumbnails::MakeThumbnails;

/// The largest picture, in bytes.
const PHOTO_BYTES_MAX: usize = 10 << 20;
/// The largest picture, in pixels: a small file can unfold to a giant.
const PIXELS_MAX: u64 = 64_000_000;

#[derive(Debug, Serialize)]
pub(crate) struct Uploaded {
    photo_id: String,
    job_id: String,
}

/// `POST /photos`
pub(crate) async fn upload(State(shop): State<Shop>, body: Body) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let permit = shop.app.uploads.acquire().await;
    let _permit = permit.map_err(|error| Problem::internal(error.to_string()))?;
    let bytes = body::read(body, PHOTO_BYTES_MAX).await?;
    // In a task of its own: a caller that hangs up must not stop it half way.
    let accepted = tokio::spawn(accept(shop.clone(), bytes)).await;
    let uploaded = accepted.map_err(|error| Problem::internal(format!("the upload broke off: {error}")))??;
    Ok((StatusCode::CREATED, Json(uploaded)))
}

async fn accept(shop: Shop, bytes: Bytes) -> Result<Uploaded, Problem> {
    let job_id = new_job_id();
    // A picture is called after its job.
    let photos = shop.app.photos.clone();
    let stored = tokio::task::spawn_blocking(move || {
        let name = format!("{job_id}.{}", extension(&bytes)?);
        photos
            .write(&name, &bytes)
            .map_err(|error| Problem::later(30, format!("the picture was not stored: {error}")))?;
        Ok::<_, Problem>(name)
    });
    let name = stored.await.map_err(|error| Problem::internal(error.to_string()))??;
    match enqueue(&shop, job_id, &name).await {
        Ok(()) => Ok(Uploaded { photo_id: job_id.to_string(), job_id: job_id.to_string() }),
        // The job may be stored, and then it needs the picture.
        Err(error @ EnqueueError::Interrupted { .. }) => Err(error.into()),
        Err(error) => {
            let photos = shop.app.photos.clone();
            let removed = tokio::task::spawn_blocking(move || photos.remove(&name)).await;
            if !matches!(removed, Ok(Ok(()))) {
                tracing::warn!(%job_id, "a picture stays without a job: {removed:?}");
            }
            Err(error.into())
        }
    }
}

async fn enqueue(shop: &Shop, job_id: JobId, photo: &str) -> Result<(), EnqueueError> {
    shop.engine.enqueue(MakeThumbnails { photo: photo.to_owned() }).id(job_id).await.map(drop)
}

/// What the picture's file ends with, if it is a picture of a sort and size that we take.
fn extension(bytes: &[u8]) -> Result<&'static str, Problem> {
    if bytes.is_empty() {
        return Err(Problem::bad_request("the body is empty"));
    }
    let (format, extension) = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => (ImageFormat::Png, "png"),
        Ok(ImageFormat::Jpeg) => (ImageFormat::Jpeg, "jpg"),
        _ => return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "neither a PNG nor a JPEG picture")),
    };
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), format)
        .into_dimensions()
        .map_err(|error| Problem::bad_request(format!("not a whole picture: {error}")))?;
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(Problem::bad_request(format!("{width} x {height} are more than {PIXELS_MAX} pixels")));
    }
    Ok(extension)
}
