//! A shop with its mail server, and what all tests ask of them.

use std::future::Future;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_examples::process::{Launch, Process};
use windlass_examples::smtp::{MailServer, Rules};

/// A guard against hanging, never a way to wait.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    // Removed when the test ends.
    _folder: TempDir,
    pub(crate) mail_server: MailServer,
    pub(crate) launch: Launch,
    client: Client,
    process: Option<Process>,
}

impl Stage {
    /// A shop whose mail server is open.
    pub(crate) async fn new() -> Self {
        let mut stage = Self::with_mail_server_down(&[]).await;
        stage.mail_server.open(Rules { knows_nobody: true, ..Rules::default() }).unwrap();
        stage
    }

    pub(crate) async fn with_mail_server_down(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mail_server = MailServer::closed().unwrap();
        let launch = Launch {
            program: env!("CARGO_BIN_EXE_shop").into(),
            data: folder.path().join("shop"),
            smtp: mail_server.address(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut stage = Self { _folder: folder, mail_server, launch, client, process: None };
        stage.start().await;
        stage
    }

    pub(crate) async fn start(&mut self) {
        self.process = Some(self.launch.start().await.unwrap());
    }

    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Every stop is a test of stopping.
    pub(crate) async fn stop(&mut self) {
        let status = self.process.take().unwrap().terminate().await.unwrap();
        assert!(status.success(), "{status}\n{}", std::fs::read_to_string(self.launch.log()).unwrap_or_default());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.process.as_ref().unwrap().address())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        answer(self.client.post(self.url(path)).body(body)).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.client.post(self.url(path)).json(body)).await
    }

    pub(crate) async fn get_with_token(&self, path: &str, token: &str) -> (StatusCode, Value) {
        answer(self.client.get(self.url(path)).bearer_auth(token)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.client.delete(self.url(path))).await
    }

    /// Signs up and returns the whole answer.
    pub(crate) async fn try_sign_up(&self, email: &str) -> reqwest::Response {
        let body = json!({ "name": "Ada", "email": email }).to_string();
        self.client.post(self.url("/signup")).body(body).send().await.unwrap()
    }

    /// Signs up and returns the job's id.
    pub(crate) async fn sign_up(&self, email: &str) -> String {
        let response = self.try_sign_up(email).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let answer: Value = response.json().await.unwrap();
        assert!(answer["user_id"].is_i64(), "{answer}");
        text(&answer, "job_id")
    }

    /// The text of the mail to this address, as soon as it is there.
    pub(crate) async fn mail_to(&self, email: &str) -> String {
        in_time(&format!("no mail to {email}"), self.mail_server.mail_to(email)).await.text
    }

    /// The job, as soon as it is in this state. The shop tells nobody when a job ends, so this asks.
    pub(crate) async fn job_in(&self, id: &str, state: &str) -> Value {
        let asked = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let (status, job) = self.get(&format!("/jobs/{id}")).await;
                assert_eq!(status, StatusCode::OK, "{job}");
                if job["state"] == state {
                    return job;
                }
            }
        };
        in_time(&format!("job {id} is not {state}"), asked).await
    }

    /// The numbers of a queue, as soon as they are so.
    pub(crate) async fn queue_until(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let (_, queues) = self.get("/queues").await;
                let queue = queues.as_array().and_then(|all| all.iter().find(|queue| queue["queue"] == name));
                match queue {
                    Some(queue) if is_so(queue) => return queue.clone(),
                    Some(_) => {}
                    None => panic!("no queue {name} in {queues}"),
                }
            }
        };
        in_time(&format!("queue {name} is not so"), asked).await
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    (status, value)
}

pub(crate) async fn in_time<T>(otherwise: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{otherwise}"))
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}")).to_owned()
}
