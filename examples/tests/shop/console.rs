use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Stage, text};

#[tokio::test]
async fn the_console_shows_the_shops_jobs_and_steers_them_but_for_what_is_hidden() {
    let mut stage = Stage::new().await;
    let id = stage.sign_up("nobody-1@example.org").await;
    stage.job_in(&id, "dead").await;

    let (status, job) = stage.get(&format!("/console/api/v1/jobs/{id}")).await;
    assert_eq!(status, StatusCode::OK, "{job}");
    assert!(text(&job["failure"], "message").contains("nobody of that name"), "{job}");
    assert_eq!(stage.get("/console/api/v1/overview").await.1["environment"], "the shop");

    let words = json!({ "verb": "discard" });
    assert_eq!(stage.post_json(&format!("/console/api/v1/jobs/{id}/steer"), &words).await.0, StatusCode::OK);
    assert_eq!(stage.get(&format!("/jobs/{id}")).await.0, StatusCode::NOT_FOUND);
    let hook = json!({ "url": "http://127.0.0.1:1/hook", "body": { "card": "4111" } }).to_string();
    let (_, accepted) = stage.post("/webhooks", hook).await;
    let (_, job) = stage.get(&format!("/console/api/v1/jobs/{}", text(&accepted, "job_id"))).await;
    assert_eq!(job["payload"]["body"], "(hidden)", "{job}");
    stage.stop().await;
}

#[tokio::test]
async fn a_shop_with_a_token_asks_for_it() {
    let token = "a-token-that-nobody-guesses-for-a-while";
    let mut stage = Stage::with_mail_server_down(&["--console-token", token]).await;
    assert_eq!(stage.get("/console/api/v1/queues").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.get_with_token("/console/api/v1/queues", token).await.0, StatusCode::OK);
    stage.stop().await;
}
