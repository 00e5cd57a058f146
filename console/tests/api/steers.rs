//! What is to be done is done, and noted.

use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass::JobState;

use crate::bed::Bed;

async fn done(bed: &Bed, path: &str, body: Value) -> Value {
    let (status, answer) = bed.post(path, &body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_queue_is_paused_resumed_and_emptied() {
    let bed = Bed::new().await;
    done(&bed, "/api/v1/queues/mail/pause", json!({})).await;
    assert!(bed.engine.stats().await.unwrap()[0].paused);
    done(&bed, "/api/v1/queues/mail/resume", json!({})).await;
    assert!(!bed.engine.stats().await.unwrap()[0].paused);
    bed.delayed().await;
    let (status, problem) = bed.post("/api/v1/queues/mail/purge", &json!({"confirm": "mial"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let placed = done(&bed, "/api/v1/queues/mail/purge", json!({"confirm": "mail"})).await;
    let order = placed["order"]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(bed.engine.wait_order(order).await.unwrap().changed, 1);
    let orders = bed.get("/api/v1/orders").await;
    assert_eq!(
        (&orders[0]["changed"], &orders[0]["which"]),
        (&json!(1), &json!("queue `mail`, waiting or delayed or ready or parked"))
    );
    for (what, body) in [("pause", json!({})), ("purge", json!({"confirm": "none"}))] {
        let (status, problem) = bed.post(&format!("/api/v1/queues/none/{what}"), &body).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{what}: {problem}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn each_verb_does_what_it_says() {
    let bed = Bed::new().await;
    done(&bed, "/api/v1/queues/mail/pause", json!({})).await;
    let id = bed.delayed().await;
    let steer = format!("/api/v1/jobs/{id}/steer");
    done(&bed, &steer, json!({"verb": "reprioritise", "priority": 7})).await;
    assert_eq!(bed.engine.job(id).await.unwrap().priority.0, 7);
    done(&bed, &steer, json!({"verb": "reschedule", "at": "2040-01-01T00:00:00Z"})).await;
    let due = bed.engine.job(id).await.unwrap().due.unwrap();
    assert_eq!(due.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 2_208_988_800);
    done(&bed, &steer, json!({"verb": "reschedule", "in_ms": 1000})).await;
    assert_ne!(bed.engine.job(id).await.unwrap().due.unwrap(), due);
    assert_eq!(done(&bed, &steer, json!({"verb": "run_now"})).await["state"], "ready");
    assert_eq!(done(&bed, &steer, json!({"verb": "cancel"})).await["state"], "cancelled");
    assert_eq!(done(&bed, &steer, json!({"verb": "requeue"})).await["state"], "ready");
    done(&bed, &steer, json!({"verb": "discard"})).await;
    assert!(bed.engine.job(id).await.is_err());
    let (status, problem) = bed.post(&steer, &json!({"verb": "reschedule"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, problem) = bed.post(&steer, &json!({"verb": "explode"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let moved = bed.delayed().await;
    let (status, problem) =
        bed.post(&format!("/api/v1/jobs/{moved}/steer"), &json!({"verb": "move", "queue": "none"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    bed.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_edited_and_runs_again() {
    let bed = Bed::new().await;
    let id = bed.dead().await;
    let edit = json!({"payload": {"to": "ada", "password": "x"}, "requeue": true});
    done(&bed, &format!("/api/v1/jobs/{id}/edit"), edit).await;
    bed.engine.handle::<crate::bed::Mail>(id).wait().await.unwrap();
    assert_eq!(bed.engine.job(id).await.unwrap().state, JobState::Done);
    bed.stop().await;
}

#[tokio::test]
async fn many_are_steered_by_a_filter_and_counted_before() {
    let bed = Bed::new().await;
    bed.dead().await;
    bed.dead().await;
    let mut words = json!({"do": {"verb": "discard"}, "filter": {"error": "no mailbox"}, "dry_run": true});
    assert_eq!(done(&bed, "/api/v1/jobs/steer", words.clone()).await["jobs"], 2);
    assert_eq!(bed.engine.stats().await.unwrap()[0].dead, 2);
    words["dry_run"] = json!(false);
    let placed = done(&bed, "/api/v1/jobs/steer", words.clone()).await;
    let order = placed["order"]["id"].as_str().unwrap().to_owned();
    bed.engine.wait_order(order.parse().unwrap()).await.unwrap();
    assert_eq!(bed.engine.stats().await.unwrap()[0].dead, 0);
    let (status, problem) = bed.post(&format!("/api/v1/orders/{order}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "it has ended: {problem}");
    words["filter"] = json!({});
    let (status, problem) = bed.post("/api/v1/jobs/steer", &words).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nobody means all jobs by leaving out a word: {problem}");
    words["all_jobs"] = json!(true);
    done(&bed, "/api/v1/jobs/steer", words).await;
    bed.stop().await;
}

#[tokio::test]
async fn limits_are_set_and_taken_back() {
    let bed = Bed::new().await;
    let of = json!({"scope": "key", "name": "mail", "key": "tenant-7"});
    let set = json!({"of": of, "set": {"slots": 1, "rate": {"jobs": 5, "period_ms": 1000}}});
    done(&bed, "/api/v1/limits/set", set).await;
    let limits = bed.get("/api/v1/limits").await;
    let limit = limits.as_array().unwrap().iter().find(|limit| limit["of"] == of).unwrap();
    assert_eq!(limit["overridden"]["slots"], 1);
    assert_eq!(limit["overridden"]["rate"], json!({"jobs": 5, "period_ms": 1000, "burst": 1}));
    done(&bed, "/api/v1/limits/reset", json!({"of": of})).await;
    assert!(!bed.get("/api/v1/limits").await.as_array().unwrap().iter().any(|limit| limit["of"] == of));
    let (status, problem) = bed.post("/api/v1/limits/set", &json!({"of": of, "set": {"slots": 1_000_000_000}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    bed.stop().await;
}

#[tokio::test]
async fn schedules_are_paused_resumed_run_and_removed() {
    let bed = Bed::new().await;
    let path = |what: &str| format!("/api/v1/schedules/nightly/{what}");
    done(&bed, &path("pause"), json!({})).await;
    assert!(bed.engine.schedule("nightly").await.unwrap().is_paused);
    done(&bed, &path("resume"), json!({})).await;
    let job = done(&bed, &path("run"), json!({})).await["job"].as_str().unwrap().parse().unwrap();
    bed.engine.handle::<crate::bed::Mail>(job).wait().await.unwrap();
    let night = json!({"at": "2026-01-15T02:00:00Z"});
    let job = done(&bed, &path("run"), night.clone()).await["job"].as_str().unwrap().to_owned();
    assert_eq!(done(&bed, &path("run"), night.clone()).await["job"], job);
    let whole = bed.get(&format!("/api/v1/jobs/{job}")).await;
    let of = (whole["schedule"].as_str(), whole["scheduled_for"].as_str());
    assert_eq!(of, (Some("nightly"), Some("2026-01-15T02:00:00.000Z")), "{whole}");
    for (what, at, status) in [
        ("run", "2026-01-15T03:00:00Z", StatusCode::CONFLICT),
        ("run", "in January", StatusCode::BAD_REQUEST),
        ("pause", "2026-01-15T02:00:00Z", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(bed.post(&path(what), &json!({"at": at})).await.0, status, "{what} {at}");
    }
    done(&bed, &path("remove"), json!({})).await;
    assert!(bed.engine.schedules().await.unwrap().is_empty());
    assert_eq!(bed.post(&path("pause"), &json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(bed.post(&path("explode"), &json!({})).await.0, StatusCode::NOT_FOUND);
    bed.stop().await;
}

#[tokio::test]
async fn flows_are_signalled_skipped_and_called_off() {
    let bed = Bed::new().await;
    let id = bed.flow().await;
    let path = |rest: &str| format!("/api/v1/flows/{id}/{rest}");
    assert_eq!(bed.post(&path("steps/none/skip"), &json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(bed.post(&path("steps/welcome/retry"), &json!({})).await.0, StatusCode::CONFLICT, "it did not fail");
    assert_eq!(done(&bed, &path("signals/confirm"), json!({"by": "ada"})).await["is_first"], true);
    assert_eq!(done(&bed, &path("signals/confirm"), json!({"by": "bob"})).await["is_first"], false);
    assert_eq!(bed.get(&format!("/api/v1/flows/{id}")).await["state"], "done");
    let id = bed.flow().await;
    done(&bed, &format!("/api/v1/flows/{id}/steps/confirm/skip"), json!({"output": {"by": "nobody"}})).await;
    assert_eq!(bed.get(&format!("/api/v1/flows/{id}")).await["steps"][1]["state"], "skipped");
    let id = bed.flow().await;
    done(&bed, &format!("/api/v1/flows/{id}/cancel"), json!({})).await;
    assert_eq!(bed.get(&format!("/api/v1/flows/{id}")).await["state"], "cancelled");
    bed.stop().await;
}

#[tokio::test]
async fn what_was_done_and_what_was_not_is_in_the_audit_log() {
    let bed = Bed::new().await;
    done(&bed, "/api/v1/queues/mail/pause", json!({})).await;
    bed.post("/api/v1/queues/none/resume", &json!({})).await;
    bed.post_as(crate::bed::READER, "/api/v1/queues/mail/resume", &json!({})).await;
    let log = bed.get("/api/v1/audit").await;
    let entry = |no: usize| {
        (log[no]["who"].as_str().unwrap(), log[no]["action"].as_str().unwrap(), log[no]["target"].as_str().unwrap())
    };
    assert_eq!(entry(0), ("wallboard", "resume_queue", "mail"));
    assert!(log[0]["outcome"].as_str().unwrap().contains("may not"), "{log}");
    assert_eq!(entry(1), ("ada", "resume_queue", "none"));
    assert_ne!(log[1]["outcome"], "done");
    assert_eq!(entry(2), ("ada", "pause_queue", "mail"));
    assert_eq!(log[2]["outcome"], "done");
    assert!(bed.engine.stats().await.unwrap()[0].paused, "a reader changes nothing");
    assert_eq!(bed.console.audit(10).len(), 3);
    bed.stop().await;
}
