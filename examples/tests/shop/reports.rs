use reqwest::StatusCode;
use rusqlite::{Connection, params};

use crate::support::{Stage, text};

#[tokio::test]
async fn a_report_counts_the_sign_ups_of_each_day() {
    let mut stage = Stage::new().await;
    stage.stop().await;
    let database = Connection::open(stage.launch.data.join("shop.db")).unwrap();
    // The first two of them on one day, a millisecond before its end.
    for (no, created_ms) in [0_i64, 86_399_999, 86_400_000].into_iter().enumerate() {
        let insert =
            "INSERT INTO users (name, email, code, created_ms, job_id, job_known) VALUES ('A', 'a', 'a', ?1, ?2, 1)";
        database.execute(insert, params![created_ms, no.to_string()]).unwrap();
    }
    drop(database);
    stage.start().await;

    let (status, answer) = stage.post("/reports", "").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let job = stage.job_in(&text(&answer, "job_id"), "done").await;
    assert_eq!(text(&job, "queue"), "reports");
    let csv = std::fs::read_to_string(stage.launch.data.join("reports").join(text(&answer, "file"))).unwrap();
    assert_eq!(csv, "day,sign_ups\n1970-01-01,2\n1970-01-02,1\n");
    stage.stop().await;
}

#[tokio::test]
async fn whoever_asks_for_a_report_while_one_waits_gets_that_one() {
    let mut stage = Stage::new().await;
    // With one at a time, a crowd finds one that waits, or has just begun.
    let mut jobs = std::collections::BTreeSet::new();
    let (client, url) = (reqwest::Client::new(), stage.url("/reports"));
    let calls: tokio::task::JoinSet<_> = (0..40).map(|_| client.post(&url).send()).collect();
    for answer in calls.join_all().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        jobs.insert(text(&answer.json().await.unwrap(), "job_id"));
    }
    assert!(jobs.len() < 40, "forty callers, {} reports", jobs.len());
    for job in &jobs {
        stage.job_in(job, "done").await;
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_queue_tells_what_it_promises() {
    let mut stage = Stage::new().await;
    let queue = stage.queue_until("critical-email", |_| true).await;
    assert_eq!((&queue["start_within_ms"], &queue["is_late"]), (&30_000.into(), &false.into()));
    let queue = stage.queue_until("sync", |_| true).await;
    assert!(queue["start_within_ms"].is_null(), "{queue}");
    stage.stop().await;
}
