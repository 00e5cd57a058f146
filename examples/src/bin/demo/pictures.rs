//! Pictures of a real size, PNG and JPEG in turns, each different.

use std::io::Cursor;
use std::sync::Arc;

use image::{ImageFormat, ImageResult, Rgb, RgbImage};

const WIDTH: u32 = 1_600;
const HEIGHT: u32 = 1_200;

/// Blocks: this is work.
pub(crate) fn paint(pictures: usize) -> ImageResult<Vec<Arc<[u8]>>> {
    (0..pictures).map(|no| encode(no, &one(no))).collect()
}

fn encode(no: usize, picture: &RgbImage) -> ImageResult<Arc<[u8]>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, if no.is_multiple_of(2) { ImageFormat::Png } else { ImageFormat::Jpeg })?;
    Ok(bytes.into_inner().into())
}

/// Waves in three colours, with some grain: smooth as a sky, and not as cheap to encode.
fn one(no: usize) -> RgbImage {
    let [red, green, blue] = [7, 11, 13].map(|prime| u32::try_from(no * prime % 97).unwrap_or_default() + 40);
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let wave = |length: u32, at: u32| {
            let phase = at % (2 * length);
            phase.min(2 * length - phase) * 200 / length
        };
        let grain = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA6B)) >> 29;
        let shade = |value: u32| u8::try_from(value + grain).unwrap_or(u8::MAX);
        Rgb([shade(wave(red * 4, x + y)), shade(wave(green * 4, 2 * x)), shade(wave(blue * 4, x + 2 * y))])
    })
}
