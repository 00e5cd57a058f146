//! What is asked is answered with what is so.

use axum::http::StatusCode;
use serde_json::json;
use windlass_console::Console;

use crate::bed::{Bed, READER, access, engine, to};

#[tokio::test]
async fn the_overview_has_the_numbers_of_all_queues() {
    let bed = Bed::new().await;
    bed.dead().await;
    bed.delayed().await;
    let seen = bed.get("/api/v1/overview").await;
    assert_eq!(seen["all"]["dead"], 1);
    assert_eq!(seen["all"]["delayed"], 1);
    assert_eq!(seen["all"]["slots"], 4);
    assert_eq!(seen["queues"][0]["name"], "mail");
    assert_eq!(seen["queues"][0]["dead_total"], 1);
    assert_eq!(seen["health"]["is_serving"], true);
    assert!(seen["memory"]["bytes_max"].as_u64().unwrap() > 1 << 20);
    bed.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_and_paged_until_its_end() {
    let bed = Bed::new().await;
    for no in 0..7 {
        bed.engine
            .enqueue(to(&format!("user-{no}")))
            .tag(if no < 5 { "odd" } else { "even" })
            .delay(windlass::HOUR)
            .await
            .unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = bed.get(&format!("/api/v1/jobs?state=delayed,ready&tag=odd&limit=2&after={after}")).await;
        assert!(page["jobs"].as_array().unwrap().len() <= 2);
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    assert_eq!(bed.get("/api/v1/jobs/count?tag=even").await["count"], 2);
    assert_eq!(bed.get("/api/v1/jobs/count?tag=even&created_until=2020-01-01T00:00:00Z").await["count"], 0);
    bed.stop().await;
}

#[tokio::test]
async fn a_job_is_shown_with_payload_attempts_and_why_it_does_not_run() {
    let bed = Bed::new().await;
    let (dead, delayed) = (bed.dead().await, bed.delayed().await);
    let seen = bed.get(&format!("/api/v1/jobs/{dead}")).await;
    assert_eq!(seen["payload"]["to"], "nobody");
    assert_eq!(seen["state"], "dead");
    assert_eq!(seen["failure"]["kind"], "permanent error");
    let attempt = &seen["attempts_kept"][0];
    assert_eq!((&attempt["failure"]["message"], &attempt["result"]), (&json!("no mailbox `nobody`"), &json!("failed")));
    let line = &attempt["log"]["lines"][0];
    assert_eq!((&line["level"], &line["text"]), (&json!("warn"), &json!("nobody is there password=\"secret\"")));
    let seen = bed.get(&format!("/api/v1/jobs/{delayed}")).await;
    assert_eq!(seen["why"], "its time has not come");
    let done = bed.engine.enqueue(to("ada")).await.unwrap();
    done.wait().await.unwrap();
    assert_eq!(bed.get(&format!("/api/v1/jobs/{}", done.id())).await["output"], "sent to ada");
    bed.stop().await;
}

#[tokio::test]
async fn dead_letters_are_grouped_by_what_is_the_same_in_their_errors() {
    let bed = Bed::new().await;
    bed.dead().await;
    bed.dead().await;
    let seen = bed.get("/api/v1/dead").await;
    assert_eq!(seen["groups"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(seen["groups"][0]["count"], 2);
    assert_eq!(seen["retained"], 2);
    bed.stop().await;
}

#[tokio::test]
async fn what_runs_is_among_the_workers() {
    let bed = Bed::new().await;
    let job = bed.engine.enqueue(to("never")).await.unwrap();
    let seen = loop {
        let seen = bed.get("/api/v1/workers").await;
        if seen.as_array().is_some_and(|jobs| !jobs.is_empty()) {
            break seen;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(seen[0]["id"], job.id().to_string());
    bed.stop().await;
}

#[tokio::test]
async fn schedules_are_told_in_words_with_what_comes() {
    let bed = Bed::new().await;
    let seen = bed.get("/api/v1/schedules").await;
    assert_eq!(seen[0]["name"], "nightly");
    assert!(seen[0]["rule"].as_str().unwrap().ends_with("(Europe/Berlin)"), "{seen}");
    assert_ne!(seen[0]["rule"], "0 3 * * * (Europe/Berlin)", "a pattern is no words");
    assert_eq!(seen[0]["upcoming"].as_array().unwrap().len(), 5);
    bed.stop().await;
}

#[tokio::test]
async fn a_flow_says_what_it_waits_for() {
    let bed = Bed::new().await;
    let id = bed.flow().await;
    let seen = bed.get(&format!("/api/v1/flows/{id}")).await;
    assert_eq!(seen["state"], "running");
    assert_eq!(seen["steps"][0]["state"], "done");
    assert_eq!(seen["steps"][1]["work"], "signal");
    let job = seen["steps"][0]["job"].as_str().unwrap();
    let part = json!({"flow": id, "step_no": 0, "step": "welcome", "is_of_batch": false});
    assert_eq!(bed.get(&format!("/api/v1/jobs/{job}")).await["part_of"], part);
    assert_eq!(bed.get("/api/v1/flows?state=running").await["flows"][0]["id"], id);
    assert_eq!(bed.get("/api/v1/flows?state=failed").await["flows"].as_array().unwrap().len(), 0);
    bed.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_said_so() {
    let bed = Bed::new().await;
    for (path, status, words) in [
        ("/api/v1/jobs?state=deaf", 400, "`deaf` is no state"),
        ("/api/v1/jobs?limit=0", 400, "1 to 1000"),
        ("/api/v1/jobs?limit=1001", 400, "1 to 1000"),
        ("/api/v1/jobs?limit=many", 400, "limit"),
        ("/api/v1/jobs?colour=red", 400, "unknown field `colour`"),
        ("/api/v1/jobs?created_from=yesterday", 400, "`created_from`"),
        ("/api/v1/jobs?after=x", 400, "no cursor"),
        ("/api/v1/jobs/x", 400, "no job id"),
        ("/api/v1/jobs/00000000-0000-0000-0000-000000000001", 404, "00000000-0000-0000-0000-000000000001"),
        ("/api/v1/flows/00000000-0000-0000-0000-000000000001", 404, "00000000-0000-0000-0000-000000000001"),
        ("/api/v1/nothing", 404, "/api/v1/nothing"),
    ] {
        let (status_is, problem) = bed.get_as(READER, path).await;
        assert_eq!(status_is.as_u16(), status, "{path}: {problem}");
        assert_eq!(problem["status"], status, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn an_engine_that_has_stopped_is_told_by_its_health_and_refuses_the_rest() {
    let bed = Bed::new().await;
    bed.engine.shutdown(windlass::SEC).await.unwrap();
    assert_eq!(bed.get("/api/v1/health").await["is_serving"], false);
    assert_eq!(bed.get_as(READER, "/api/v1/queues").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_the_service_hides_is_nowhere_to_be_seen() {
    let engine = engine().await;
    let console = Console::new(engine.clone(), access()).redact(|kind, value| {
        assert_eq!(kind, "mail");
        if let Some(password) = value.get_mut("password") {
            *password = "***".into();
        }
        if value.as_str().is_some_and(|text| text.starts_with("sent to") || text.contains("password=")) {
            *value = "hidden".into();
        }
    });
    let bed = Bed::of(engine, console);
    let (dead, done) = (bed.dead().await, bed.engine.enqueue(to("ada")).await.unwrap());
    done.wait().await.unwrap();
    let seen = bed.get(&format!("/api/v1/jobs/{dead}")).await;
    assert_eq!(seen["payload"]["password"], "***");
    assert!(!seen.to_string().contains("secret"), "{seen}");
    assert_eq!(seen["attempts_kept"][0]["log"]["lines"][0]["text"], "hidden");
    assert_eq!(bed.get(&format!("/api/v1/jobs/{}", done.id())).await["output"], "hidden");
    let edit = serde_json::json!({"payload": {"to": "ada", "password": "***"}});
    let (status, problem) = bed.post(&format!("/api/v1/jobs/{dead}/edit"), &edit).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    bed.stop().await;
}
