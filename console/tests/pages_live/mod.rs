//! Pages are told when to look again, and what they show of how fast it goes is what happened.

#![expect(clippy::unwrap_used, reason = "a test ends where what it asked for does not come")]

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use tower::ServiceExt;
use windlass_console::Identity;

use crate::pages_support::{House, house, mail_of};

/// Opens a stream, as the script of a page does.
async fn open(house: &House) -> (StatusCode, BodyDataStream) {
    let request = Request::get("/console/live").body(Body::empty()).unwrap();
    let routes = axum::Router::new().nest("/console", house.console().router());
    let response = routes.oneshot(request).await.unwrap();
    (response.status(), response.into_body().into_data_stream())
}

async fn text(stream: &mut BodyDataStream) -> String {
    String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_page_is_told_to_look_at_once_and_when_something_changes() {
    let house = house().await;
    let (status, mut stream) = open(&house).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text(&mut stream).await.contains("event: look"));
    // The first sample is news, too.
    assert!(text(&mut stream).await.contains("event: look"));
    house.engine.pause("mail").await.unwrap();
    assert!(text(&mut stream).await.contains("event: look"));
    let page = house.site("/console", Identity::reader("eve")).get("").await;
    assert_eq!(page.attribute("[data-live-sign]", "data-live-sign"), "/console/live");
}

#[tokio::test]
async fn watchers_are_bounded_and_whoever_leaves_makes_room() {
    let house = house().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(open(&house).await);
    }
    assert!(streams.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(open(&house).await.0, StatusCode::SERVICE_UNAVAILABLE);
    streams.pop();
    assert_eq!(open(&house).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_a_page_shows_live_is_what_it_shows() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    for path in [
        "",
        "/queues",
        "/queue?name=mail",
        "/jobs?state=dead",
        "/workers",
        "/orders",
        "/flows",
        "/limits",
        "/schedules",
    ] {
        let (page, live) = (site.get(path).await, site.get_live(path).await);
        assert_eq!(live.status, StatusCode::OK, "{path}");
        let parts = |selector: &str| page.all(selector).len();
        assert_eq!(parts("[data-live]"), live.all("[data-live]").len(), "{path}");
        live.is_sound("/console");
    }
    // What was done through a page is shown by the next one, whoever watches.
    house.engine.pause("mail").await.unwrap();
    assert!(site.get("/queues").await.shown("td.do").contains("Resume"), "of `mail`, which is first");
    assert!(site.get("/queue?name=mail").await.shown(".title").contains("paused"));
}

#[tokio::test]
async fn rates_and_times_are_shown_by_kind() {
    let house = house().await;
    // The engine counts from the first router on.
    let site = house.site("/console", Identity::operator("ada"));
    assert!(!site.get("").await.shown("[data-live=kinds]").contains("mail"));
    for _ in 0..3 {
        house.engine.enqueue(mail_of("x")).and_wait().await.unwrap();
    }
    for path in ["", "/queue?name=mail"] {
        let page = site.get(path).await;
        let cells = page.texts("[data-live=kinds] tbody tr > *");
        assert_eq!((cells[0].as_str(), cells[1].as_str(), cells[4].as_str()), ("mail", "mail", "0"), "{cells:?}");
        assert!(cells[5..].iter().all(|cell| cell.ends_with("ms") || cell.ends_with("µs")), "{cells:?}");
    }
    let shown = site.get("").await.shown("[data-live=journal]");
    assert!(shown.contains("it is in memory") && shown.contains("once, at the start"), "{shown}");
}
