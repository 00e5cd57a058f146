//! An engine with something in every state, and a console of it.

use std::sync::Once;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;
use tracing_subscriber::prelude::*;
use windlass::{
    AttemptLogLayer, Context, Engine, Flow, FlowStep, Job, JobError, JobId, MIN, MemoryJournal, QueueConfig,
    RetryPolicy, SEC, Schedule, StepDraft,
};
use windlass_console::{Access, Action, Console, Identity, Token};

pub(crate) const OPERATOR: &str = "operator-operator-operator-operator";
pub(crate) const READER: &str = "reader-reader-reader-reader-reader";
/// An operator who may do one thing.
pub(crate) const PAUSER: &str = "pauser-pauser-pauser-pauser-pauser";

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) password: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = String;
}

impl FlowStep for Mail {
    type Input = ();
}

pub(crate) fn to(name: &str) -> Mail {
    Mail { to: name.to_owned(), password: "secret".to_owned() }
}

async fn mail(mail: Mail, _: Context<()>) -> Result<String, JobError> {
    match mail.to.as_str() {
        "nobody" => {
            tracing::warn!(password = mail.password, "nobody is there");
            Err(JobError::permanent(format!("no mailbox `{}`", mail.to)))
        }
        "never" => std::future::pending().await,
        _ => Ok(format!("sent to {}", mail.to)),
    }
}

pub(crate) struct Bed {
    pub(crate) engine: Engine,
    pub(crate) console: Console,
    pub(crate) router: Router,
}

pub(crate) async fn engine() -> Engine {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| tracing_subscriber::registry().with(AttemptLogLayer::new()).init());
    let queue = QueueConfig::new("mail").concurrency(4).retry(RetryPolicy::fixed(MIN).attempts(2));
    let schedule = Schedule::cron("nightly", "0 3 * * *", &to("nightly")).zone("Europe/Berlin");
    let engine = Engine::builder().journal(MemoryJournal::new()).queue(queue).handler(mail).schedule(schedule);
    engine.start().await.unwrap()
}

pub(crate) fn access() -> Access {
    Access::tokens([
        Token::operator("ada", OPERATOR).unwrap(),
        Token::reader("wallboard", READER).unwrap(),
        Token::of(Identity::only("bob", &[Action::PauseQueue]), PAUSER).unwrap(),
    ])
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let engine = engine().await;
        Self::of(engine.clone(), Console::new(engine, access()))
    }

    pub(crate) fn of(engine: Engine, console: Console) -> Self {
        let router = console.router();
        Self { engine, console, router }
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// As the operator.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.get_as(OPERATOR, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> (StatusCode, Value) {
        json_of(self.ask(with_token(token, Request::get(path)).body(Body::empty()).unwrap()).await).await
    }

    /// As the operator.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.post_as(OPERATOR, path, body).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = with_token(token, Request::post(path)).header("content-type", "application/json");
        json_of(self.ask(request.body(Body::from(body.to_string())).unwrap()).await).await
    }

    /// A dead letter.
    pub(crate) async fn dead(&self) -> JobId {
        let job = self.engine.enqueue(to("nobody")).await.unwrap();
        job.wait().await.unwrap_err();
        job.id()
    }

    /// One that waits for an hour.
    pub(crate) async fn delayed(&self) -> JobId {
        self.engine.enqueue(to("later")).delay(60 * MIN).await.unwrap().id()
    }

    /// A flow whose second step waits for a signal.
    pub(crate) async fn flow(&self) -> String {
        let mut flow = Flow::new("sign-up");
        let first = flow.first(StepDraft::new(&to("ada")).named("welcome"));
        flow.signal::<Value>("confirm", &first, None);
        let handle = self.engine.submit(flow).await.unwrap();
        handle.wait_step("welcome").await.unwrap();
        handle.id().to_string()
    }

    pub(crate) async fn stop(self) {
        self.engine.shutdown(SEC).await.ok();
    }
}

pub(crate) fn with_token(token: &str, request: axum::http::request::Builder) -> axum::http::request::Builder {
    request.header("authorization", format!("Bearer {token}")).header("host", "ops.example.org")
}

pub(crate) async fn json_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}
