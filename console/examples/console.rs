//! A service with some jobs and a console, to look at: `cargo run -p windlass-console --example console --no-default-features`,
//! then <http://127.0.0.1:8090/console>. All is in memory.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use windlass::{
    CircuitBreaker, Context, Engine, Flow, FlowStep, Job, JobError, Limit, MIN, MemoryJournal, Overlap, QueueConfig,
    RateLimit, RetryPolicy, SEC, Schedule, StepDraft, Unique,
};
use windlass_console::{Access, Console, Identity};

/// Succeeds at once.
#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
    subject: String,
}

/// Takes its time, and says how far it is.
#[derive(Serialize, Deserialize)]
struct Import {
    rows: u32,
}

/// Fails often.
#[derive(Serialize, Deserialize)]
struct Charge {
    order: u32,
}

/// Never ends by itself.
#[derive(Serialize, Deserialize)]
struct Watch {
    camera: String,
}

/// Nobody serves it.
#[derive(Serialize, Deserialize)]
struct Fax {
    number: String,
}

/// A step of a flow.
#[derive(Serialize, Deserialize)]
struct Part {
    of: String,
    fails: bool,
}

macro_rules! job {
    ($name:ident, $kind:literal, $queue:literal) => {
        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = $queue;
            type Output = serde_json::Value;
        }
    };
}

job!(Mail, "mail.send", "mail");
job!(Import, "import", "bulk");
job!(Charge, "payment.charge", "payments");
job!(Watch, "watch", "bulk");
job!(Fax, "fax", "mail");
job!(Part, "part", "bulk");

impl FlowStep for Part {
    type Input = ();
}

type Outcome = Result<serde_json::Value, JobError>;

async fn mail(mail: Mail, _: Context<()>) -> Outcome {
    tokio::time::sleep(Duration::from_millis(120)).await;
    Ok(serde_json::json!({ "sent": mail.to, "message_id": "<17.example>" }))
}

async fn import(import: Import, cx: Context<()>) -> Outcome {
    for done in 0..import.rows {
        cx.progress(&serde_json::json!({ "done": done, "total": import.rows }))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(import.rows.into())
}

async fn charge(charge: Charge, _: Context<()>) -> Outcome {
    match charge.order % 4 {
        0 => Ok("paid".into()),
        1 => Err(JobError::permanent(format!("card of order {} was declined by the bank", charge.order))),
        2 => Err(format!("connection to 10.0.0.{} refused", charge.order).into()),
        _ => panic!("order {} has no currency", charge.order),
    }
}

async fn watch(_: Watch, cx: Context<()>) -> Outcome {
    cx.cancellation().cancelled().await;
    Err(JobError::cancel("somebody asked"))
}

async fn part(part: Part, _: Context<()>) -> Outcome {
    tokio::time::sleep(Duration::from_millis(400)).await;
    if part.fails { Err(JobError::permanent("the thumbnailer does not know this format")) } else { Ok(part.of.into()) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = start().await?;
    fill(&engine).await?;
    flows(&engine).await?;
    tokio::spawn(go_on(engine.clone()));

    let history = std::env::temp_dir().join("windlass-console-example.json");
    let console =
        Console::new(engine, Access::loopback(Identity::operator("you"))).environment("example").history_at(history);
    let routes = axum::Router::new().nest("/console", console.router());
    let listener = TcpListener::bind("127.0.0.1:8090").await?;
    println!("http://127.0.0.1:8090/console");
    axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn start() -> Result<Engine, Box<dyn Error>> {
    let retry = RetryPolicy::exponential(2 * SEC).attempts(3);
    let nightly =
        Schedule::cron("invoices/nightly", "30 2 * * *", &Mail { to: "books".into(), subject: "Invoices".into() });
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("mail").concurrency(4).rate_limit(RateLimit::new(20, SEC)).start_within(30 * SEC))
        .queue(QueueConfig::new("bulk").concurrency(6).per_key(Limit::new().concurrency(2)))
        .queue(
            QueueConfig::new("payments")
                .concurrency(2)
                .retry(retry)
                .circuit_breaker(CircuitBreaker::new(45, 60).pause(20 * SEC)),
        )
        .queue(QueueConfig::new("reports").concurrency(1))
        .handler(mail)
        .handler(import)
        .handler(charge)
        .handler(watch)
        .handler(part)
        .allow_unknown_kinds()
        .schedule(nightly.zone("Europe/Berlin"))
        .schedule(Schedule::every("probe", 20 * SEC, &Charge { order: 4 }).overlap(Overlap::Skip))
        .start()
        .await?;
    Ok(engine)
}

async fn fill(engine: &Engine) -> Result<(), Box<dyn Error>> {
    for order in 0..40 {
        engine.enqueue(Charge { order }).tag("tenant:7").correlation_id(&format!("order-{order}")).await?;
    }
    for rows in [400, 900, 4_000] {
        engine.enqueue(Import { rows }).limit_key("acme").tag("tenant:acme").tag("nightly").await?;
    }
    engine.enqueue(Watch { camera: "door".into() }).deadline_in(60 * MIN).await?;
    for delay in 1..6 {
        let mail = Mail { to: format!("user-{delay}@example.com"), subject: "Your order <b>17</b>".into() };
        engine.enqueue(mail).delay(5 * MIN * delay).unique(Unique::key("daily")).await.ok();
    }
    engine.pause("reports").await?;
    for n in 0..12 {
        engine.enqueue(Mail { to: format!("r{n}@example.com"), subject: "Report".into() }).queue("reports").await?;
    }
    engine.enqueue(Fax { number: "+49 30 1234567".into() }).await?;
    Ok(())
}

async fn flows(engine: &Engine) -> Result<(), Box<dyn Error>> {
    for fails in [false, true, false] {
        let step = |name: &str, fails| StepDraft::new(&Part { of: name.to_owned(), fails }).named(name);
        let mut flow = Flow::new("upload");
        let load = flow.first(step("load", false));
        let scan = flow.after(&load, step("scan for viruses", false));
        let sizes: Vec<_> = (0..3)
            .map(|size| flow.after(&scan, step(&format!("resize {}", 320 << size), fails && size == 1)))
            .collect();
        let text = flow.after(&scan, step("read the text", false));
        let approved = flow.signal::<bool>("approved", &text, None);
        let stored = flow.after(&sizes, step("store", false));
        flow.after((&stored, &approved), step("publish", false));
        engine.submit(flow).await?;
    }
    Ok(())
}

async fn go_on(engine: Engine) {
    let mut order = 100_u32;
    loop {
        for _ in 0..5 {
            let mail = Mail { to: format!("user-{order}@example.com"), subject: "Hello".into() };
            let _ = engine.enqueue(mail).await;
            order += 1;
        }
        let _ = engine.enqueue(Charge { order }).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}
