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
async fn a_queue_tells_what_it_promises() {
    let mut stage = Stage::new().await;
    let queue = stage.queue_until("critical-email", |_| true).await;
    assert_eq!((&queue["start_within_ms"], &queue["is_late"]), (&30_000.into(), &false.into()));
    let queue = stage.queue_until("sync", |_| true).await;
    assert!(queue["start_within_ms"].is_null(), "{queue}");
    stage.stop().await;
}
