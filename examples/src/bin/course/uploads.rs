//! What teachers upload: the frames of a video as pictures, and a file with what is said in it.

use std::fs;
use std::path::{Path, PathBuf};

use image::{ImageError, ImageFormat, Rgb, RgbImage};
use windlass::JobError;

use crate::files::make_whole;

const FRAMES: u32 = 24;
const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;

/// A course, and the id of its flow: given once and for all, so that handing it in twice is handing it in once.
pub(crate) struct Course {
    pub(crate) name: &'static str,
    pub(crate) flow: &'static str,
    words: &'static [u8],
    /// A frame that is broken off in the middle.
    damaged: Option<u32>,
}

pub(crate) const COURSES: [Course; 4] = [
    Course {
        name: "algebra",
        flow: "3d9c5a52-6f0c-4c0b-8a61-0d6f7f1e0a01",
        words: b"A group has one operation.\nA ring has two, and a field is a ring in which one may divide.\n",
        damaged: None,
    },
    Course {
        name: "botany",
        flow: "3d9c5a52-6f0c-4c0b-8a61-0d6f7f1e0a02",
        // Latin-1, as an old word processor left it.
        words: b"The leaf of the ma\xEFs plant is long.\n",
        damaged: None,
    },
    Course {
        name: "chess",
        flow: "3d9c5a52-6f0c-4c0b-8a61-0d6f7f1e0a03",
        words: b"The king moves one square.\nThe queen moves as far as she likes, the king never does.\n",
        damaged: None,
    },
    Course {
        name: "drawing",
        flow: "3d9c5a52-6f0c-4c0b-8a61-0d6f7f1e0a04",
        words: b"Look twice, draw once.\n",
        damaged: Some(17),
    },
];

/// The frame's file in the folder of its upload.
pub(crate) fn frame(upload: &Path, no: u32) -> PathBuf {
    upload.join(format!("frame-{no:03}.png"))
}

/// The words' file in the folder of their upload.
pub(crate) fn words(upload: &Path) -> PathBuf {
    upload.join("words.txt")
}

/// Makes the uploads that are not there yet. Blocks: this is work.
pub(crate) fn make(uploads: &Path) -> Result<(), ImageError> {
    for (shade, course) in (1..).zip(&COURSES) {
        let upload = uploads.join(course.name);
        if !upload.exists() {
            make_whole(&upload, |upload| fill(upload, course, shade))?;
        }
    }
    Ok(())
}

fn fill(upload: &Path, course: &Course, shade: u32) -> Result<(), ImageError> {
    for no in 0..FRAMES {
        let file = frame(upload, no);
        paint(no, shade).save_with_format(&file, ImageFormat::Png)?;
        if course.damaged == Some(no) {
            let whole = fs::read(&file)?;
            fs::write(&file, &whole[..whole.len() / 2])?;
        }
    }
    Ok(fs::write(words(upload), course.words)?)
}

/// A disc that crosses a sky.
fn paint(no: u32, shade: u32) -> RgbImage {
    let (disc_x, disc_y) = (WIDTH * (no + 1) / (FRAMES + 1), HEIGHT / 2);
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        if x.abs_diff(disc_x).pow(2) + y.abs_diff(disc_y).pow(2) < 60 * 60 {
            return Rgb([250, 220, 80]);
        }
        let grain = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA6B)) >> 29;
        let [red, green, blue] = [shade * 30, y * 160 / HEIGHT, x * 200 / WIDTH];
        Rgb([red, green, blue].map(|colour| u8::try_from(colour + grain).unwrap_or(u8::MAX)))
    })
}

/// A frame as a picture. One that cannot be decoded will not be better next time.
pub(crate) fn read_frame(upload: &Path, no: u32) -> Result<image::DynamicImage, JobError> {
    let bytes = fs::read(frame(upload, no))?;
    image::load_from_memory_with_format(&bytes, ImageFormat::Png)
        .map_err(|error| JobError::permanent(format!("frame {no}: {error}")))
}
