use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Stage, text};

/// Signs up, and brings the code back.
async fn verified(stage: &Stage, email: &str) {
    stage.sign_up(email).await;
    let mail = stage.mail_to(email).await;
    let code = mail.split("your code is ").nth(1).and_then(|rest| rest.split('.').next()).unwrap();
    for _ in 0..2 {
        let (status, answer) = stage.post("/verify", json!({ "code": code }).to_string()).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }
}

#[tokio::test]
async fn a_newsletter_goes_once_to_everybody_who_is_verified_and_to_nobody_else() {
    let mut stage = Stage::new().await;
    verified(&stage, "ada@example.org").await;
    verified(&stage, "bob@example.org").await;
    let unverified = stage.sign_up("eve@example.org").await;
    stage.job_in(&unverified, "done").await;

    let request = json!({ "subject": "News", "text": "There are some." }).to_string();
    let (status, answer) = stage.post("/newsletters", request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let job = stage.job_in(&text(&answer, "job_id"), "done").await;
    assert_eq!((text(&job, "queue"), text(&job, "kind")), ("marketing-email".to_owned(), "newsletter".to_owned()));
    // Both pages (the second is empty) and both mails.
    stage.queue_until("marketing-email", |queue| queue["done"] == 4).await;

    let news = stage.mail_server.mails().into_iter().filter(|mail| mail.text.contains("There are some."));
    let mut to: Vec<_> = news.map(|mail| mail.to).collect();
    to.sort_unstable();
    assert_eq!(to, ["ada@example.org", "bob@example.org"]);
    stage.stop().await;
}

#[tokio::test]
async fn a_code_that_nobody_has_and_a_newsletter_that_says_nothing_are_refused() {
    let mut stage = Stage::new().await;
    assert_eq!(stage.post("/verify", r#"{"code": "1815"}"#).await.0, StatusCode::NOT_FOUND);
    for bad in [json!({}), json!({ "subject": " ", "text": "x" }), json!({ "subject": "a\nb", "text": "x" })] {
        assert_eq!(stage.post("/newsletters", bad.to_string()).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    stage.stop().await;
}
