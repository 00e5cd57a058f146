//! An engine in memory with something of everything, and consoles of it on ports of their own.

use std::net::SocketAddr;
use std::sync::Once;

use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing_subscriber::prelude::*;
use windlass::{
    AttemptLogLayer, CircuitBreaker, Context, Engine, Flow, FlowId, FlowStep, HOUR, Job, JobError, JobId, JobState,
    JobStatus, Limit, MIN, MemoryJournal, Overlap, QueueConfig, Schedule, StepDraft,
};
use windlass_console::{Access, Action, Console, Identity};

use crate::driver::WITHIN;

/// Where a console may be mounted.
pub(crate) const BASES: [&str; 2] = ["", "/deep/down"];

/// Jobs in `archive`: more than are done something to without their number typed.
pub(crate) const ARCHIVED: u64 = 120;

/// Leaves its text, or fails for good and says it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) text: String,
    pub(crate) fails: bool,
}

impl Job for Mail {
    const KIND: &'static str = "mail.send";
    const QUEUE: &'static str = "mail";
    type Output = String;
}

impl FlowStep for Mail {
    type Input = ();
}

/// Says how far it is, and runs until it is asked to end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) says: Value,
}

impl Job for Watch {
    const KIND: &'static str = "watch";
    const QUEUE: &'static str = "bulk";
    type Output = ();
}

/// Nobody serves it.
#[derive(Serialize, Deserialize)]
struct Fax {
    number: String,
}

impl Job for Fax {
    const KIND: &'static str = "fax";
    const QUEUE: &'static str = "mail";
    type Output = ();
}

pub(crate) async fn mail(mail: Mail, _: Context<()>) -> Result<String, JobError> {
    tracing::warn!("{}", mail.text);
    if mail.fails { Err(JobError::permanent(mail.text)) } else { Ok(mail.text) }
}

pub(crate) async fn watch(watch: Watch, cx: Context<()>) -> Result<(), JobError> {
    tracing::info!("watches {}", watch.says);
    cx.progress(&watch.says)?;
    cx.cancellation().cancelled().await;
    Err(JobError::cancel("somebody asked"))
}

pub(crate) fn text(text: &str) -> Mail {
    Mail { text: text.to_owned(), fails: false }
}

pub(crate) fn broken(text: &str) -> Mail {
    Mail { text: text.to_owned(), fails: true }
}

/// An engine, and what stands in it.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) done: JobId,
    /// The first of a group of three.
    pub(crate) dead: JobId,
    pub(crate) delayed: JobId,
    pub(crate) running: JobId,
    pub(crate) flow: FlowId,
}

pub(crate) async fn house() -> House {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| tracing_subscriber::registry().with(AttemptLogLayer::new()).init());
    let probe = Schedule::every("probe", HOUR, &text("probe")).overlap(Overlap::Skip);
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("mail").concurrency(4).circuit_breaker(CircuitBreaker::new(100, 100)))
        .queue(QueueConfig::new("bulk").concurrency(2).per_key(Limit::new().concurrency(2)))
        .queue(QueueConfig::new("archive"))
        .handler(mail)
        .handler(watch)
        .allow_unknown_kinds()
        .schedule(Schedule::cron("invoices/nightly", "30 2 * * *", &text("invoices")).zone("Europe/Berlin"))
        .schedule(probe)
        .start()
        .await
        .unwrap();
    let done = engine.enqueue(text("hello")).tag("tenant:7").and_wait_id().await;
    let mut dead = Vec::new();
    for user in [17, 18, 19] {
        dead.push(engine.enqueue(broken(&format!("no user {user} in the list"))).and_wait_id().await);
    }
    engine.enqueue(broken("the mailbox is full")).and_wait_id().await;
    let later = engine.enqueue(text("later")).delay(HOUR).tag("tenant:1").limit_key("acme");
    let delayed = later.correlation_id("order 4711").await.unwrap().id();
    let progress = json!({ "done": 30, "total": 100 });
    let running = engine.enqueue(Watch { says: progress }).deadline_in(60 * MIN).await.unwrap().id();
    engine.enqueue(Fax { number: "+49 30 1234567".to_owned() }).await.unwrap();
    for number in 0..ARCHIVED {
        engine.enqueue(text(&format!("page {number}"))).queue("archive").delay(2 * HOUR).await.unwrap();
    }
    let flow = upload(&engine).await;
    let house = House { engine, done, dead: dead[0], delayed, running, flow };
    house.is(running, JobState::Running).await;
    house
}

/// A flow that a step holds up, and that waits for a signal and for a time.
async fn upload(engine: &Engine) -> FlowId {
    let mut flow = Flow::new("upload");
    let step = |name: &str, fails| StepDraft::new(&Mail { text: name.to_owned(), fails }).named(name);
    let load = flow.first(step("load", false));
    let scan = flow.after(&load, step("scan for viruses", false));
    let resized = flow.after(&scan, step("resize", true));
    let approved = flow.signal::<Value>("approved", &scan, None);
    let later = flow.wait("office hours", &scan, HOUR);
    flow.after((resized.hold(), &approved), step("publish", false));
    flow.after((&approved, &later), step("tell everybody", false));
    let flow = engine.submit(flow).await.unwrap();
    flow.wait_step("resize").await.unwrap();
    flow.id()
}

/// What stands at the end of an enqueue in these tests.
trait WaitId {
    async fn and_wait_id(self) -> JobId;
}

impl WaitId for windlass::Enqueue<Mail> {
    async fn and_wait_id(self) -> JobId {
        let handle = self.await.unwrap();
        let _ = handle.wait().await;
        handle.id()
    }
}

impl House {
    /// A console of somebody, alone on a port.
    pub(crate) fn console(&self, identity: Identity) -> Console {
        Console::new(self.engine.clone(), Access::loopback(identity)).environment("staging")
    }

    pub(crate) async fn status(&self, id: JobId) -> JobStatus {
        self.engine.job(id).await.unwrap()
    }

    /// Waits until a job is in a state.
    pub(crate) async fn is(&self, id: JobId, state: JobState) {
        let so = async {
            while self.status(id).await.state != state {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(WITHIN, so).await.is_ok(), "{:?}", self.status(id).await);
    }

    /// Waits until no order is under way.
    pub(crate) async fn orders_end(&self) {
        for order in self.engine.orders().await.unwrap() {
            self.engine.wait_order(order.id).await.unwrap();
        }
    }
}

/// A console that is served.
pub(crate) struct Site {
    pub(crate) console: Console,
    address: SocketAddr,
    base: &'static str,
    server: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Site {
    pub(crate) async fn of(console: Console, base: &'static str) -> Self {
        let routes = if base.is_empty() { console.router() } else { Router::new().nest(base, console.router()) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { console, address, base, server }
    }

    /// Of somebody who may do everything.
    pub(crate) async fn of_ada(house: &House) -> Self {
        Self::of(house.console(Identity::operator("ada")), "/console").await
    }

    /// From now on nobody answers.
    pub(crate) async fn stop(&self) {
        self.server.abort();
        while !self.server.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// The whole address of a path below the base.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.address, self.base)
    }

    /// The same with a name and a password in it.
    pub(crate) fn at_as(&self, password: &str, path: &str) -> String {
        self.at(path).replacen("http://", &format!("http://somebody:{password}@"), 1)
    }

    /// What was done, the first thing first.
    pub(crate) fn done(&self) -> Vec<Action> {
        let mut entries = self.console.audit(1_000);
        entries.reverse();
        entries.iter().filter(|entry| entry.outcome == "done").map(|entry| entry.action).collect()
    }
}

/// All pages, those of what stands in the house among them.
pub(crate) fn pages_of(house: &House) -> Vec<String> {
    let fixed = [
        "",
        "?span=week",
        "/queues",
        "/queue?name=mail",
        "/jobs",
        "/jobs?state=dead&error=user",
        "/jobs?kind=nothing",
        "/dead",
        "/dead?kind=nothing",
        "/schedules",
        "/flows",
        "/flows?state=failed",
        "/workers",
        "/orders",
        "/limits",
        "/audit",
    ];
    let jobs = [house.done, house.dead, house.delayed, house.running].map(|id| format!("/jobs/{id}"));
    fixed.map(str::to_owned).into_iter().chain(jobs).chain([format!("/flows/{}", house.flow)]).collect()
}
