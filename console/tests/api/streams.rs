//! What happens, as a stream: in order, filtered, gone on with, and bounded.

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use windlass::SEC;

use crate::bed::{Bed, READER, to, with_token};

/// A stream, as a client reads it.
struct Client {
    body: BodyDataStream,
    text: String,
}

/// One message: its name, its id and its data.
#[derive(Debug)]
struct Message {
    name: String,
    id: String,
    data: Value,
}

impl Client {
    async fn new(bed: &Bed, query: &str, last: Option<&str>) -> Self {
        let mut request = with_token(READER, Request::get(format!("/api/v1/events{query}")));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = bed.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// `None`: the stream has ended.
    async fn next(&mut self) -> Option<Message> {
        while !self.text.contains("\n\n") {
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let end = self.text.find("\n\n").unwrap() + 2;
        let message: String = self.text.drain(..end).collect();
        let line = |name: &str| {
            message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
        };
        let data = serde_json::from_str(&line("data:")).unwrap();
        Some(Message { name: line("event:"), id: line("id:"), data })
    }
}

#[tokio::test]
async fn what_happens_to_a_job_is_told_in_order() {
    let bed = Bed::new().await;
    let mut client = Client::new(&bed, "", None).await;
    let job = bed.engine.enqueue(to("ada")).await.unwrap();
    job.wait().await.unwrap();
    for what in ["enqueued", "started", "succeeded"] {
        let message = client.next().await.unwrap();
        assert_eq!(message.data["what"], what, "{message:?}");
        assert_eq!(message.data["job"], job.id().to_string());
        assert_eq!(message.data["no"], message.id);
    }
    let document = bed.get("/api/v1/openapi.json").await;
    assert!(document["components"]["schemas"]["EventView"].is_object());
    bed.stop().await;
    assert!(client.next().await.is_none(), "it ends with the engine");
}

#[tokio::test]
async fn a_filter_chooses_and_a_word_that_means_nothing_is_refused() {
    let bed = Bed::new().await;
    let mut client = Client::new(&bed, "?what=dead,paused&queue=mail", None).await;
    bed.engine.enqueue(to("ada")).await.unwrap().wait().await.unwrap();
    let dead = bed.dead().await;
    bed.engine.pause("mail").await.unwrap();
    let message = client.next().await.unwrap();
    assert_eq!((&message.data["what"], &message.data["job"]), (&json!("dead"), &json!(dead.to_string())));
    assert_eq!(message.data["failure"]["message"], "no mailbox `nobody`");
    assert_eq!(client.next().await.unwrap().data["what"], "paused");
    for query in ["?what=deaf", "?job=x", "?colour=red", "?after=x"] {
        assert_eq!(bed.get_as(READER, &format!("/api/v1/events{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_stream_that_broke_off_is_gone_on_with_and_another_process_is_a_gap() {
    let bed = Bed::new().await;
    let mut client = Client::new(&bed, "?what=succeeded", None).await;
    let mut done = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let job = bed.engine.enqueue(to(name)).await.unwrap();
        job.wait().await.unwrap();
        done.push(job.id().to_string());
    }
    let first = client.next().await.unwrap();
    assert_eq!(first.data["job"], done[0]);
    drop(client);
    let mut again = Client::new(&bed, "?what=succeeded", Some(&first.id)).await;
    for id in &done[1..] {
        let message = again.next().await.unwrap();
        assert_eq!((message.name.as_str(), &message.data["job"]), ("", &json!(id)), "{message:?}");
    }
    let mut lost = Client::new(&bed, "", Some("1.1.1.beef")).await;
    let gap = lost.next().await.unwrap();
    assert_eq!((gap.name.as_str(), &gap.data["from"]), ("gap", &json!("1.1.1.beef")), "{gap:?}");
    bed.stop().await;
}

#[tokio::test]
async fn streams_are_bounded_and_whoever_leaves_makes_room() {
    let bed = Bed::new().await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(Client::new(&bed, "", None).await);
    }
    let (status, problem) = bed.get_as(READER, "/api/v1/events").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    clients.pop();
    clients.push(Client::new(&bed, "", None).await);
    bed.engine.shutdown(SEC).await.unwrap();
}
