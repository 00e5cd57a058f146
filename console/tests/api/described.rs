//! The description is true: every path that it has is there, and what it says of answers is so.

use axum::http::StatusCode;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::bed::Bed;

/// What a schema of the description says.
pub(crate) fn validator(document: &Value, schema: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    jsonschema::validator_for(&whole).unwrap()
}

/// That it says so of this.
fn check(document: &Value, schema: &Value, value: &Value, path: &str) {
    let validator = validator(document, schema);
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}\n{value}");
}

fn schema_of<'a>(way: &'a Value, status: &str) -> &'a Value {
    &way["responses"][status]["content"]["application/json"]["schema"]
}

#[tokio::test]
async fn every_answer_to_a_question_is_as_it_is_described() {
    let bed = Bed::new().await;
    let (job, flow) = (bed.dead().await, bed.flow().await);
    bed.delayed().await;
    bed.post("/api/v1/jobs/steer", &json!({"do": {"verb": "requeue"}, "filter": {"tag": "none"}})).await;
    bed.post("/api/v1/limits/set", &json!({"of": {"scope": "queue", "name": "mail"}, "set": {"slots": 9}})).await;
    let document = bed.get("/api/v1/openapi.json").await;
    let mut asked = Vec::new();
    for (path, ways) in document["paths"].as_object().unwrap() {
        let Some(get) = ways.get("get") else { continue };
        let id = if path.starts_with("/flows") { flow.clone() } else { job.to_string() };
        let whole = format!("/api/v1{}", path.replace("{id}", &id));
        assert!(!whole.contains('{'), "{whole}: a parameter that the test does not know");
        if get["responses"]["200"]["content"].get("text/event-stream").is_some() {
            // It never ends: see `streams`.
            continue;
        }
        let answer = bed.get(&whole).await;
        check(&document, schema_of(get, "200"), &answer, &whole);
        // An empty list would meet any description of what is in it.
        let has_something = answer.as_array().is_none_or(|list| !list.is_empty() || path == "/workers");
        assert!(has_something, "{whole} is empty");
        asked.push(path);
    }
    assert!(asked.len() >= 13, "{asked:?}");
    bed.stop().await;
}

#[tokio::test]
async fn a_problem_is_as_it_is_described() {
    let bed = Bed::new().await;
    let document = bed.get("/api/v1/openapi.json").await;
    let (status, problem) = bed.get_as(crate::bed::OPERATOR, "/api/v1/jobs/x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    check(&document, &json!({"$ref": "#/components/schemas/Problem"}), &problem, "a problem");
    bed.stop().await;
}

#[tokio::test]
async fn every_change_that_is_described_is_there_and_takes_json_only() {
    let bed = Bed::new().await;
    let document = bed.get("/api/v1/openapi.json").await;
    let mut changes = 0;
    for (path, ways) in document["paths"].as_object().unwrap() {
        let Some(post) = ways.get("post") else { continue };
        let id = "00000000-0000-0000-0000-000000000001";
        let whole = format!("/api/v1{path}").replace("{id}", id).replace("{name}", "none").replace("{what}", "pause");
        let whole = whole.replace("{queue}", "none").replace("{step}", "none");
        for body in [json!(null), json!([1, 2, 3, 4, 5]), json!("x"), json!({"unknown": 1})] {
            let (status, problem) = bed.post(&whole, &body).await;
            // A signal may bring anything; it is the flow that is not there.
            let is_signal = path.contains("/signals/") && status == StatusCode::NOT_FOUND;
            let is_refused = status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::BAD_REQUEST;
            assert!(is_signal || is_refused, "{whole} with {body}: {status} {problem}");
        }
        assert!(post["requestBody"]["content"]["application/json"].is_object(), "{path} takes no JSON");
        changes += 1;
    }
    assert!(changes >= 13, "{changes} changes");
    bed.stop().await;
}
