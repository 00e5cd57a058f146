use reqwest::StatusCode;
use rusqlite::{Connection, params};

use crate::support::Stage;

const INSERT: &str = "INSERT INTO users (name, email, code, created_ms, job_id, job_known, mailed_ms)
    VALUES ('Ada', ?1, '1815', 0, ?2, ?3, ?4)";
const MAILED: &str = "01a20a35-0449-73aa-82f4-000000000001";
const KNOWN: &str = "01a20a35-0449-73aa-82f4-000000000002";
const LOST: &str = "01a20a35-0449-73aa-82f4-000000000003";

/// As if the process had died between the database's commit and the enqueue, and as if two other jobs were long
/// forgotten.
#[tokio::test]
async fn a_start_enqueues_what_the_engine_never_got_and_nothing_that_it_only_forgot() {
    let mut stage = Stage::new().await;
    stage.stop().await;
    let database = Connection::open(stage.launch.data.join("shop.db")).unwrap();
    database.execute(INSERT, params!["mailed@example.org", MAILED, 0, 1_000]).unwrap();
    database.execute(INSERT, params!["known@example.org", KNOWN, 1, None::<i64>]).unwrap();
    database.execute(INSERT, params!["lost@example.org", LOST, 0, None::<i64>]).unwrap();
    drop(database);

    stage.start().await;
    stage.mail_to("lost@example.org").await;
    stage.job_in(LOST, "done").await;
    // They came before the lost one in the database: had they been enqueued, the engine would know them.
    for id in [MAILED, KNOWN] {
        assert_eq!(stage.get(&format!("/jobs/{id}")).await.0, StatusCode::NOT_FOUND);
    }

    // And once is enough.
    stage.stop().await;
    stage.start().await;
    stage.sign_up("last@example.org").await;
    stage.mail_to("last@example.org").await;
    assert_eq!(stage.mail_server.mails().len(), 2);
    stage.stop().await;
}
