use reqwest::StatusCode;
use windlass_examples::smtp::Rules;

use crate::support::{Stage, text};

#[tokio::test]
async fn a_dead_letter_is_listed_brought_back_or_thrown_away() {
    let mut stage = Stage::new().await;
    // 550 is for ever: no retry.
    let first = stage.sign_up("nobody-1@example.org").await;
    let second = stage.sign_up("nobody-2@example.org").await;
    for id in [&first, &second] {
        let job = stage.job_in(id, "dead").await;
        assert!(text(&job, "error").contains("nobody of that name"), "{job}");
    }

    let (status, list) = stage.get("/dead").await;
    assert_eq!(status, StatusCode::OK);
    let mut ids: Vec<String> = list["jobs"].as_array().unwrap().iter().map(|letter| text(letter, "id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [first.clone(), second.clone()], "ids of version 7 sort by time");
    assert_eq!(stage.get("/dead?queue=photos").await.1["jobs"], serde_json::json!([]));
    let (_, letter) = stage.get(&format!("/dead/{first}")).await;
    assert_eq!(letter["ends"][0]["attempt"], 1, "{letter}");

    // The mail server learns the name, and the letter goes out.
    stage.mail_server.set_rules(Rules::default());
    assert_eq!(stage.post(&format!("/dead/{first}/requeue"), "").await.0, StatusCode::OK);
    stage.mail_to("nobody-1@example.org").await;
    stage.job_in(&first, "done").await;
    assert_eq!(stage.post(&format!("/dead/{first}/requeue"), "").await.0, StatusCode::CONFLICT);

    assert_eq!(stage.delete(&format!("/dead/{second}")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(stage.get(&format!("/jobs/{second}")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stage.get("/dead").await.1["jobs"], serde_json::json!([]));

    // A restart does not bring back what was thrown away.
    stage.stop().await;
    stage.start().await;
    assert_eq!(stage.get(&format!("/jobs/{second}")).await.0, StatusCode::NOT_FOUND);
    stage.stop().await;
}
