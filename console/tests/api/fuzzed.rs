//! Whatever is asked, the answer is one that the description has; and what it takes is what the description says it takes.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use jsonschema::Validator;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::bed::{Bed, OPERATOR, json_of, with_token};
use crate::described::validator;
use crate::drawn::{Drawn, Operation, operations, requests};

/// Engines, each of which is asked so many things.
const ENGINES: u32 = 150;
const QUESTIONS: usize = 40;

/// What the description says, ready to be asked.
struct Described {
    operations: Vec<Operation>,
    bodies: BTreeMap<usize, Validator>,
    answers: BTreeMap<(usize, String), Validator>,
}

impl Described {
    fn new(document: &Value) -> Self {
        let operations = operations(document);
        let all = || operations.iter().enumerate();
        let bodies = all().filter_map(|(no, one)| Some((no, validator(document, one.body.as_ref()?)))).collect();
        let answers = all().flat_map(|(no, one)| {
            let each = one.responses.as_object().unwrap().iter();
            each.map(move |(status, answer)| {
                let schema = answer["content"].as_object().unwrap().values().next().unwrap();
                ((no, status.clone()), validator(document, &schema["schema"]))
            })
        });
        Self { bodies, answers: answers.collect(), operations }
    }

    /// The status that says what was answered.
    fn status(&self, operation: usize, status: StatusCode) -> Option<&str> {
        let told = |status: &str| self.operations[operation].responses.as_object()?.get_key_value(status);
        Some(told(status.as_str()).or_else(|| told("default"))?.0)
    }
}

/// What stands for the ids of what there is.
struct Known(Vec<(&'static str, String)>);

impl Known {
    async fn new(bed: &Bed) -> Self {
        let order =
            bed.post("/api/v1/jobs/steer", &json!({"do": {"verb": "requeue"}, "filter": {"tag": "none"}})).await.1;
        Self(vec![
            ("@dead", bed.dead().await.to_string()),
            ("@delayed", bed.delayed().await.to_string()),
            ("@flow", bed.flow().await),
            ("@order", order["order"]["id"].as_str().unwrap().to_owned()),
        ])
    }

    fn in_url(&self, text: &str) -> String {
        let text = self.0.iter().find(|(name, _)| *name == text).map_or(text, |(_, id)| id);
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }
}

async fn ask(bed: &Bed, described: &Described, known: &Known, drawn: &Drawn) -> Result<(), TestCaseError> {
    let operation = &described.operations[drawn.operation];
    let path = drawn
        .path
        .iter()
        .fold(operation.path.clone(), |path, (name, text)| path.replace(&format!("{{{name}}}"), &known.in_url(text)));
    let query: Vec<_> = drawn.query.iter().map(|(name, text)| format!("{name}={}", known.in_url(text))).collect();
    let url = format!("/api/v1{path}?{}", query.join("&"));
    let request = with_token(OPERATOR, Request::builder().method(operation.method.to_uppercase().as_str()).uri(&url));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let response = bed.ask(request.body(Body::from(drawn.body.clone().unwrap_or_default())).unwrap()).await;
    let status = response.status();
    let said = format!("{} {url} {:?}: {status}", operation.method, drawn.body);

    prop_assert!(!status.is_server_error(), "{said} {:?}", json_of(response).await);
    let Some(told) = described.status(drawn.operation, status) else {
        return Err(TestCaseError::fail(format!("{said}: nothing is said of that status")));
    };
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let kinds = operation.responses[told]["content"].as_object().unwrap();
    prop_assert!(kinds.contains_key(&kind), "{said}: {kind}, and not one of {kinds:?}");
    if kind == "text/event-stream" {
        // It never ends: see `streams`.
        return Ok(());
    }
    let (_, answer) = json_of(response).await;
    let errors: Vec<_> = described.answers[&(drawn.operation, told.to_owned())]
        .iter_errors(&answer)
        .map(|error| error.to_string())
        .collect();
    prop_assert!(errors.is_empty(), "{said} {answer}: {errors:?}");

    let Some((body, validator)) = drawn.body.as_ref().zip(described.bodies.get(&drawn.operation)) else {
        return Ok(());
    };
    let is_meant = serde_json::from_str::<Value>(body).is_ok_and(|body| validator.is_valid(&body));
    if is_meant {
        prop_assert!(status != StatusCode::UNPROCESSABLE_ENTITY, "{said}: the description takes it {answer}");
    } else {
        prop_assert!(status.is_client_error(), "{said}: the description does not take it");
    }
    Ok(())
}

#[test]
fn whatever_is_asked_the_answer_is_as_it_is_described() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let document = runtime.block_on(async {
        let bed = Bed::new().await;
        let document = bed.get("/api/v1/openapi.json").await;
        bed.stop().await;
        document
    });
    let described = Described::new(&document);
    // The same ones each time, so that who changes something is told of that alone; more, and others, for who asks.
    let more = std::env::var("WINDLASS_FUZZ_ENGINES").ok().map(|cases| cases.parse().unwrap());
    let rng_seed = if more.is_some() { RngSeed::Random } else { RngSeed::Fixed(1) };
    let cases = more.unwrap_or(ENGINES);
    let config = ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() };
    let questions = vec(requests(&document, &described.operations), 1..=QUESTIONS);
    let played = TestRunner::new(config).run(&questions, |questions| {
        runtime.block_on(async {
            let bed = Bed::new().await;
            let known = Known::new(&bed).await;
            for drawn in &questions {
                ask(&bed, &described, &known, drawn).await?;
            }
            // It still works.
            bed.get("/api/v1/overview").await;
            bed.stop().await;
            Ok(())
        })
    });
    if let Err(failed) = played {
        panic!("{failed}");
    }
}
