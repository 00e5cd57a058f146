//! The picture of the overview that the README shows: `WINDLASS_WRITE_SCREENSHOT=1` takes it anew.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use windlass::{Engine, HOUR, Limit, MIN, MemoryJournal, QueueConfig, RateLimit};
use windlass_console::{Access, Console, Identity};

use crate::driver::{LIGHT, Look, browser};
use crate::house::{Mail, Site, Watch, broken, mail, text, watch};

/// Beyond this it is no small picture.
const BYTES_MAX: usize = 150_000;
const SHOWN: Look = Look { height: 760, ..LIGHT };

/// Width and height, which stand at the begin of each PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// An hour as a console would have seen it: a wave of jobs each quarter of an hour, and a bad quarter of an hour.
fn hour() -> String {
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let (mut done, mut failed) = (90_000, 400);
    let samples: Vec<_> = (0..358_u64)
        .map(|at| {
            let wave = 45 - (at % 90).abs_diff(45);
            let is_bad = (200..250).contains(&at);
            done += 30 + wave * 2 + at * 7 % 11;
            failed += at % 3 + if is_bad { 14 + at * 5 % 7 } else { 0 };
            let dead = 3 + at.saturating_sub(200).min(50) / 4;
            [
                now - (358 - at) * 10_000,
                60 + at % 13,
                220 + wave,
                30 + wave * 9 + at * 13 % 17,
                18 + wave / 3,
                dead,
                done,
                failed,
            ]
        })
        .collect();
    json!({ "format": 1, "hour": samples, "week": [] }).to_string()
}

async fn busy() -> Engine {
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("mail").concurrency(8))
        .queue(QueueConfig::new("payments").concurrency(4).rate_limit(RateLimit::new(1, HOUR)))
        .queue(QueueConfig::new("bulk").concurrency(16).per_key(Limit::new().concurrency(4)))
        .queue(QueueConfig::new("reports").concurrency(2))
        .handler(mail)
        .handler(watch)
        .start()
        .await
        .unwrap();
    let drafts = |count: usize, of: &str| (0..count).map(|_| windlass::Draft::new(&text(of))).collect::<Vec<_>>();
    engine.pause("reports").await.unwrap();
    engine.enqueue_all(drafts(48, "report").into_iter().map(|draft| draft.queue("reports"))).await.unwrap();
    engine.enqueue_all(drafts(231, "digest").into_iter().map(|draft| draft.delay(MIN * 40))).await.unwrap();
    engine.enqueue_all(drafts(37, "charge").into_iter().map(|draft| draft.queue("payments"))).await.unwrap();
    for number in 0..13 {
        let watch = Watch { says: json!({ "done": number * 7, "total": 100 }) };
        engine.enqueue(watch).limit_key(format!("tenant {}", number % 5)).await.unwrap();
    }
    let mut last = None;
    for draft in drafts(1_284, "hello") {
        last = engine.enqueue_all([draft]).await.unwrap().pop();
    }
    for number in 0..15 {
        let message = if number % 4 == 0 {
            "the mailbox is full".to_owned()
        } else {
            format!("no user {} in the list", 400 + number)
        };
        last = engine.enqueue_all([windlass::Draft::new(&broken(&message))]).await.unwrap().pop();
    }
    engine.handle::<Mail>(last.unwrap().id).wait().await.unwrap_err();
    engine
}

#[tokio::test]
async fn the_overview_can_be_pictured_and_the_picture_that_is_shown_is_one() {
    let Some(browser) = browser().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history.json");
    std::fs::write(&history, hour()).unwrap();
    let console = Console::new(busy().await, Access::loopback(Identity::operator("ada")));
    let site = Site::of(console.environment("production").history_at(&history), "/console").await;
    browser.look(SHOWN).await;
    browser.go(&site.at("")).await;
    browser.until("document.querySelector('#since').innerText === '59 min ago'").await;
    browser.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)").await;
    let taken = browser.picture().await;
    assert_eq!(size(&taken), (SHOWN.width, SHOWN.height));
    assert!(taken.len() < BYTES_MAX, "{}", taken.len());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/overview.png");
    if std::env::var_os("WINDLASS_WRITE_SCREENSHOT").is_some() {
        std::fs::write(&file, &taken).unwrap();
    }
    let shown = std::fs::read(&file).unwrap();
    assert_eq!(size(&shown), (SHOWN.width, SHOWN.height), "WINDLASS_WRITE_SCREENSHOT=1 takes it anew");
    assert!(shown.len() < BYTES_MAX, "{}", shown.len());
    browser.end().await;
}
