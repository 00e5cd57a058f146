use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use reqwest::StatusCode;

use crate::support::{Stage, text};

const MIB: usize = 1 << 20;

fn picture(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(900, 600, |x, y| image::Rgb([x, y, 0].map(|value| u8::try_from(value % 256).unwrap())))
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn a_picture_gets_three_thumbnails() {
    let mut stage = Stage::new().await;
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let (status, answer) = stage.post("/photos", picture(format)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let photo = text(&answer, "photo_id");
        let job = stage.job_in(&text(&answer, "job_id"), "done").await;
        assert_eq!(text(&job, "queue"), "photos");
        for (size, width) in [("small", 128), ("medium", 320), ("large", 800)] {
            let file = stage.launch.data.join("thumbnails").join(format!("{photo}-{size}.jpg"));
            assert_eq!(image::open(file).unwrap().width(), width);
        }
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let mut stage = Stage::new().await;
    let mut broken = picture(ImageFormat::Png);
    broken.truncate(20);
    assert_eq!(stage.post("/photos", "just text").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(stage.post("/photos", b"GIF89a\x01\0\x01\0".to_vec()).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(stage.post("/photos", "").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.post("/photos", broken).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.post("/photos", vec![0; 10 * MIB + 1]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stage.post("/photos", vec![0; 20 * MIB]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let mut large = picture(ImageFormat::Jpeg);
    large.resize(10 * MIB, 0);
    assert_eq!(stage.post("/photos", large).await.0, StatusCode::CREATED, "10 MiB are allowed");
    let files = std::fs::read_dir(stage.launch.data.join("photos")).unwrap().count();
    assert_eq!(files, 1, "what is refused leaves nothing behind");
    stage.stop().await;
}
