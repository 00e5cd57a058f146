//! The job that makes a picture smaller, three times.

use std::io::Cursor;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use windlass::{Context, Job, JobError};

use crate::app::App;
use crate::queues::PHOTOS;

/// What each is called, and the longest side in pixels.
const SIZES: [(&str, u32); 3] = [("small", 128), ("medium", 320), ("large", 800)];

/// Makes thumbnails of a stored picture.
#[derive(Serialize, Deserialize)]
pub(crate) struct MakeThumbnails {
    /// The picture's file.
    pub(crate) photo: String,
}

impl Job for MakeThumbnails {
    const KIND: &'static str = "make-thumbnails";
    const QUEUE: &'static str = PHOTOS;
    /// The thumbnails' files.
    type Output = Vec<String>;
}

/// Blocks: reads, computes, writes. Running twice writes the same files twice, each of them whole at any time.
// Handlers own what they are given.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn make_thumbnails(job: MakeThumbnails, cx: Context<Arc<App>>) -> Result<Vec<String>, JobError> {
    let app = cx.app();
    let photo = ImageReader::open(app.photos.file(&job.photo))?.with_guessed_format()?;
    // What cannot be decoded will not be better next time.
    let photo = photo.decode().map_err(JobError::permanent)?;
    let mut files = Vec::new();
    for (size, side) in SIZES {
        // Nobody can stop a thread from outside, so it asks. The files that are there already do no harm.
        if cx.is_cancelled() {
            return Err("stopped between two thumbnails".into());
        }
        let name = format!("{}-{size}.jpg", cx.id());
        let mut jpeg = Cursor::new(Vec::new());
        // JPEG knows no transparency.
        let thumbnail = DynamicImage::ImageRgb8(photo.thumbnail(side, side).into_rgb8());
        thumbnail.write_to(&mut jpeg, ImageFormat::Jpeg)?;
        app.thumbnails.write(&name, jpeg.get_ref())?;
        files.push(name);
        cx.progress(&files)?;
    }
    Ok(files)
}
