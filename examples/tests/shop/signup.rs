use reqwest::StatusCode;

use crate::support::{Stage, in_time, text};

#[tokio::test]
async fn a_sign_up_is_answered_with_its_ids_and_mailed() {
    let mut stage = Stage::new().await;
    let (status, health) = stage.get("/healthz").await;
    assert_eq!((status, text(&health, "status").as_str()), (StatusCode::OK, "healthy"));

    let id = stage.sign_up("ada@example.org").await;
    let mail = stage.mail_to("ada@example.org").await;
    assert!(mail.contains("your code is"), "{mail}");
    assert!(mail.contains(&format!("Message-ID: <{id}@")), "{mail}");

    let job = stage.job_in(&id, "done").await;
    let fields = ["id", "kind", "queue"].map(|field| text(&job, field));
    assert_eq!(fields, [id, "verify-email".to_owned(), "critical-email".to_owned()]);
    assert_eq!((&job["attempts"], &job["priority"]), (&1.into(), &0.into()));
    let minutes = (job["expires_ms"].as_i64().unwrap() - job["created_ms"].as_i64().unwrap()) / 60_000;
    assert_eq!(minutes, 15);
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_answered_with_400_and_what_is_not_there_with_404() {
    let mut stage = Stage::new().await;
    let bodies = [
        "",
        "no JSON",
        "{}",
        r#"{"name": "Ada"}"#,
        r#"{"name": "Ada", "email": 7}"#,
        r#"{"name": "Ada", "email": "ada"}"#,
        r#"{"name": "Ada", "email": "ada@example.org\r\nRCPT TO:<bob@example.org>"}"#,
        r#"{"name": "  ", "email": "ada@example.org"}"#,
        r#"{"name": "A\nda", "email": "ada@example.org"}"#,
    ];
    for body in bodies {
        let (status, problem) = stage.post("/signup", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!text(&problem, "error").is_empty());
    }
    let long = format!(r#"{{"name": "{}", "email": "ada@example.org"}}"#, "a".repeat(101));
    assert_eq!(stage.post("/signup", long).await.0, StatusCode::BAD_REQUEST);

    assert_eq!(stage.get("/jobs/seven").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.get("/jobs/01a20a35-0449-73aa-82f4-058efb8ddc29").await.0, StatusCode::NOT_FOUND);
    assert_eq!(stage.post("/dead/seven/requeue", "").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.delete("/dead/01a20a35-0449-73aa-82f4-058efb8ddc29").await.0, StatusCode::NOT_FOUND);
    stage.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_answered_with_503_and_forgets_who_was_refused() {
    // A queue as deep as one job.
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shop/tiny.toml");
    let mut stage = Stage::with_mail_server_down(&["--config", config]).await;
    let mut accepted = Vec::new();
    let refused = in_time("the queue was never full", async {
        for no in 0.. {
            let email = format!("user-{no}@example.org");
            let response = stage.try_sign_up(&email).await;
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
                return email;
            }
            assert_eq!(response.status(), StatusCode::CREATED);
            accepted.push(email);
        }
        unreachable!()
    });
    let refused = refused.await;
    stage.stop().await;

    let database = rusqlite::Connection::open(stage.launch.data.join("shop.db")).unwrap();
    let count = |email: &str| -> i64 {
        database.query_row("SELECT count(*) FROM users WHERE email = ?1", [email], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&refused), 0);
    assert!(!accepted.is_empty());
    assert!(accepted.iter().all(|email| count(email) == 1));
}
