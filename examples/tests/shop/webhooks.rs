use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use windlass_examples::smtp::MailServer;

use crate::support::{Stage, in_time, text};

/// A service that wants to be told. Returns its address and what it hears: body, content type and idempotency key.
async fn listener() -> (String, mpsc::UnboundedReceiver<[String; 3]>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let hook = move |headers: HeaderMap, body: String| async move {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        heard.send([body, header("content-type"), header("idempotency-key")]).unwrap();
    };
    let routes = Router::new().route("/hook", post(hook)).route("/gone", post(|| async { StatusCode::GONE }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    (address, hears)
}

#[tokio::test]
async fn a_webhook_is_delivered_or_waits_or_dies() {
    let mut stage = Stage::new().await;
    let (address, mut hears) = listener().await;
    for (body, heard, content_type) in [
        (json!({ "order": 7 }), r#"{"order":7}"#, "application/json"),
        (json!("as it is"), "as it is", "text/plain; charset=utf-8"),
    ] {
        let request = json!({ "url": format!("{address}/hook"), "body": body }).to_string();
        let (status, answer) = stage.post("/webhooks", request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let id = text(&answer, "job_id");
        let got = in_time("the hook was not called", hears.recv()).await.unwrap();
        assert_eq!(got, [heard, content_type, &id]);
        stage.job_in(&id, "done").await;
    }

    let gone = json!({ "url": format!("{address}/gone"), "body": 1 }).to_string();
    let dead = stage.job_in(&text(&stage.post("/webhooks", gone).await.1, "job_id"), "dead").await;
    assert!(text(&dead, "error").contains("410"), "{dead}");

    // Nobody listens there: the first retry comes after about 30 s.
    let closed = MailServer::closed().unwrap();
    let nobody = json!({ "url": format!("http://{}", closed.address()), "body": 1 }).to_string();
    let later = stage.job_in(&text(&stage.post("/webhooks", nobody).await.1, "job_id"), "delayed").await;
    assert_eq!(later["failures"], 1, "{later}");

    for bad in [json!({ "url": "nowhere", "body": 1 }), json!({ "url": "ftp://example.org", "body": 1 }), json!({})] {
        assert_eq!(stage.post("/webhooks", bad.to_string()).await.0, StatusCode::BAD_REQUEST);
    }
    stage.stop().await;
}
