//! Assertions on what is enqueued: in an engine that runs, and after an attempt by hand.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use windlass::testing::{self, EnqueuedJob, Source, TestContext, assert_enqueued, refute_enqueued};
use windlass::{
    Context, ControlError, Draft, Engine, HOUR, Job, JobError, JobState, MIN, MemoryJournal, Priority, QueueConfig,
};

#[derive(Debug, Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = ();
}

#[derive(Debug, Serialize, Deserialize)]
struct Report;

impl Job for Report {
    const KIND: &'static str = "report";
    const QUEUE: &'static str = "reports";
    type Output = ();
}

fn mail(to: &str) -> Mail {
    Mail { to: to.to_owned() }
}

async fn engine() -> Engine {
    let builder = Engine::builder().journal(MemoryJournal::new()).handler(|_: Report, _: Context<()>| async { Ok(()) });
    let builder = builder.queue(QueueConfig::new("mail")).queue(QueueConfig::new("reports")).allow_unknown_kinds();
    builder.start().await.unwrap()
}

async fn told(assertion: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(assertion).catch_unwind().await.expect_err("the assertion holds");
    panic.downcast_ref::<String>().expect("a panic with a text").clone()
}

#[tokio::test(start_paused = true)]
async fn what_is_enqueued_is_found_by_all_that_can_be_asked() {
    let engine = engine().await;
    let at = UNIX_EPOCH + HOUR * 24 * 365 * 200;
    let ada =
        engine.enqueue(mail("ada")).delay(MIN * 5).priority(Priority::URGENT).tag("welcome").correlation_id("c-1");
    let ada = ada.await.unwrap();
    engine.enqueue(mail("bob")).queue("reports").at(at).await.unwrap();

    let found = assert_enqueued!(engine, Mail, |mail| mail.to == "ada");
    assert_eq!((found.len(), found[0].id, found[0].state), (1, ada.id(), JobState::Delayed));
    assert_enqueued!(
        engine,
        Mail,
        |mail| mail.to == "ada",
        queue = "mail",
        delay = MIN * 5,
        priority = Priority::URGENT,
        tag = "welcome",
        correlation_id = "c-1",
        times = 1,
    );
    assert_enqueued!(&engine, Mail, |mail| mail.to == "bob", queue = "reports", at = at);
    assert_enqueued!(engine, Mail, times = 2);
    assert_enqueued!(engine, Report, times = 0);
    refute_enqueued!(engine, Report);
    refute_enqueued!(engine, Mail, |mail| mail.to == "ada", queue = "reports");
    refute_enqueued!(engine, Mail, |Mail { to }| to == "bob", delay = Duration::ZERO);
    refute_enqueued!(engine, Mail, tag = "other");
    refute_enqueued!(engine, Mail, correlation_id = "c-2");
    refute_enqueued!(engine, Mail, |mail| mail.to == "ada", priority = Priority::LOW);
}

#[tokio::test(start_paused = true)]
async fn a_failed_assertion_lists_what_there_is_and_what_has_run_already() {
    let engine = engine().await;
    assert!(told(async { _ = assert_enqueued!(engine, Mail) }).await.ends_with("nothing is enqueued"));
    engine.enqueue(mail("ada")).delay(HOUR).await.unwrap();
    engine.enqueue(Report).and_wait().await.unwrap();
    let text =
        told(async { _ = assert_enqueued!(engine, Mail, |mail| mail.to == "bob", queue = "mail", delay = MIN) }).await;
    let first = "at least 1 wanted, 0 found: jobs of kind `mail`, in queue `mail`, delayed for 1m, with a payload that the closure takes";
    assert!(text.starts_with(first), "{text}");
    assert!(text.contains("\n  mail in `mail`, delayed for 1h: {\"to\":\"ada\"}"), "{text}");
    let text = told(async { _ = assert_enqueued!(engine, Report) }).await;
    assert!(text.contains("1 job of kind `report` came and ended already: pause the queue"), "{text}");
    let text = told(async { refute_enqueued!(engine, Mail) }).await;
    assert!(text.starts_with("none wanted, 1 found: jobs of kind `mail`\nenqueued are\n  mail"), "{text}");
    let text = told(async { _ = assert_enqueued!(engine, Mail, times = 2) }).await;
    assert!(text.starts_with("2 wanted, 1 found"), "{text}");

    let drafts = (0..30).map(|n| Draft::new(&mail(&n.to_string())));
    engine.enqueue_all(drafts).await.unwrap();
    let text = told(async { refute_enqueued!(engine, Mail) }).await;
    assert!(text.ends_with("and 11 more") && text.lines().count() == 23, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_shows_what_would_run() {
    let engine = engine().await;
    engine.pause("reports").await.unwrap();
    engine.enqueue(Report).await.unwrap();
    assert_enqueued!(engine, Report, delay = Duration::ZERO);
    engine.resume("reports").await.unwrap();
    testing::drain(&engine, "reports").await.unwrap();
    refute_enqueued!(engine, Report);
}

#[tokio::test]
async fn follow_ups_of_an_attempt_by_hand_are_found_as_well() {
    let handler = |_: Report, cx: Context<()>| async move {
        cx.follow_up_with(Draft::new(&mail("ada")).delay(MIN).tag("a"))?;
        cx.follow_up(&mail("bob"))?;
        Ok::<(), JobError>(())
    };
    let run = testing::run(handler, Report, TestContext::new(())).await;
    assert_enqueued!(run, Mail, |mail| mail.to == "ada", delay = MIN, tag = "a", times = 1);
    assert_enqueued!(run, Mail, |mail| mail.to == "bob", delay = Duration::ZERO);
    refute_enqueued!(run, Report);
    let text = told(async { _ = assert_enqueued!(run, Mail, times = 3) }).await;
    assert!(text.contains("mail in `mail`, delayed for 1m: {\"to\":\"ada\"}"), "{text}");
}

/// A part of a service that holds an engine.
struct Shop {
    engine: Engine,
}

impl Source for Shop {
    async fn enqueued(&self) -> Result<Vec<EnqueuedJob>, ControlError> {
        self.engine.enqueued().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_of_one_s_own_can_be_asked() {
    let shop = Shop { engine: engine().await };
    shop.engine.enqueue(mail("ada")).await.unwrap();
    assert_enqueued!(shop, Mail);
    shop.engine.shutdown(Duration::ZERO).await.unwrap();
    let text = told(async { _ = assert_enqueued!(shop, Mail) }).await;
    assert!(text.contains("jobs of kind `mail`: the engine does not answer"), "{text}");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "leave `times` out")]
async fn what_is_not_to_be_there_is_not_there_so_many_times() {
    let engine = engine().await;
    refute_enqueued!(engine, Mail, times = 2);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "more than 10000 jobs are live: ask the engine itself")]
async fn an_assertion_looks_at_a_bounded_number_of_jobs() {
    let engine = engine().await;
    engine.enqueue_all((0..10_000).map(|_| Draft::new(&mail("ada")))).await.unwrap();
    assert_enqueued!(engine, Mail, times = 10_000);
    engine.enqueue(mail("bob")).await.unwrap();
    assert_enqueued!(engine, Mail);
}
