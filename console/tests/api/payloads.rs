//! Jobs by what their payloads have in them: bounded, gone on with, and nothing that is hidden is found out.

use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass_console::Console;

use crate::bed::{Bed, OPERATOR, access, engine, to};

fn ids(list: &Value) -> Vec<&str> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_field_of_the_payload_chooses() {
    let bed = Bed::new().await;
    let (dead, _) = (bed.dead().await.to_string(), bed.delayed().await);
    bed.engine.enqueue(to("ada")).await.unwrap().wait().await.unwrap();
    let list = bed.get("/api/v1/jobs?payload=to%3Dnobody").await;
    assert_eq!((ids(&list), &list["looked_at"]), (vec![dead.as_str()], &json!(3)));
    let list = bed.get("/api/v1/jobs?payload=/to%3Dnobody&state=delayed").await;
    assert_eq!((ids(&list).len(), &list["looked_at"]), (0, &json!(1)));
    assert_eq!(bed.get("/api/v1/jobs").await["looked_at"], Value::Null);
    bed.stop().await;
}

#[tokio::test]
async fn so_many_are_looked_at_and_the_next_page_goes_on() {
    let bed = Bed::new().await;
    let job = |no: usize| windlass::Draft::new(&to(if no == 1_100 { "her" } else { "him" })).delay(windlass::HOUR);
    bed.engine.enqueue_all((0..1_200).map(job)).await.unwrap();
    let (mut found, mut pages, mut looked_at, mut after) = (0, 0, 0, String::new());
    loop {
        let list = bed.get(&format!("/api/v1/jobs?payload=to%3Dher&after={after}")).await;
        pages += 1;
        found += ids(&list).len();
        assert!(list["looked_at"].as_u64().unwrap() <= 500);
        looked_at += list["looked_at"].as_u64().unwrap();
        let Some(next) = list["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!((found, looked_at), (1, 1_200));
    assert!(pages >= 3, "{pages}");
    // A page of those that all meet it has no more than were asked for.
    let list = bed.get("/api/v1/jobs?payload=to%3Dhim&limit=25").await;
    assert!((16..=25).contains(&ids(&list).len()), "{list}");
    bed.stop().await;
}

#[tokio::test]
async fn what_is_hidden_is_not_found_out() {
    let engine = engine().await;
    let console = Console::new(engine.clone(), access()).redact(|_, payload| {
        payload["password"] = json!("***");
    });
    let bed = Bed::of(engine, console);
    let id = bed.dead().await.to_string();
    assert!(ids(&bed.get("/api/v1/jobs?payload=password%3Dsecret").await).is_empty());
    assert_eq!(ids(&bed.get("/api/v1/jobs?payload=to%3Dnobody").await), [id]);
    bed.stop().await;
}

#[tokio::test]
async fn what_counts_groups_or_changes_many_does_not_take_it() {
    let bed = Bed::new().await;
    let id = bed.dead().await;
    for path in ["/api/v1/jobs/count", "/api/v1/dead"] {
        let (status, problem) = bed.get_as(OPERATOR, &format!("{path}?payload=to%3Dnobody")).await;
        assert_eq!((status, &problem["title"]), (StatusCode::BAD_REQUEST, &json!("only for lists")), "{path}");
    }
    for dry_run in [true, false] {
        let order =
            json!({"do": {"verb": "discard"}, "filter": {"payload": "to=nobody", "state": "dead"}, "dry_run": dry_run});
        let (status, problem) = bed.post("/api/v1/jobs/steer", &order).await;
        assert_eq!((status, &problem["title"]), (StatusCode::BAD_REQUEST, &json!("only for lists")));
    }
    assert!(bed.engine.job(id).await.is_ok(), "it is still there");
    let (status, _) = bed.get_as(OPERATOR, "/api/v1/jobs?payload=nonsense").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    bed.stop().await;
}
