//! Webhooks, and the tests of when they are tried again: they stand at the end of this file.
//!
//! ```sh
//! cargo run --bin webhook_policy
//! cargo test --bin webhook_policy
//! ```

use serde::{Deserialize, Serialize};
use windlass::{
    Context, Engine, EngineBuilder, Failure, FailureKind, HOUR, Job, JobError, MIN, MemoryJournal, QueueConfig,
    RetryDecision, RetryPolicy, SEC,
};

/// Tells a subscriber.
#[derive(Debug, Serialize, Deserialize)]
struct Webhook {
    url: String,
    body: String,
}

impl Job for Webhook {
    const KIND: &'static str = "webhook";
    const QUEUE: &'static str = "webhooks";
    /// The status that the subscriber answered with.
    type Output = u16;

    fn retry(_: u32, failure: &Failure) -> RetryDecision {
        match failure.kind {
            FailureKind::Panic => RetryDecision::Never, // a bug of ours: nobody is told twice
            _ => RetryDecision::ByPolicy,
        }
    }
}

/// Notes that a subscriber was told.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Delivered {
    url: String,
}

impl Job for Delivered {
    const KIND: &'static str = "delivered";
    const QUEUE: &'static str = "webhooks";
    type Output = ();
}

/// The web, as far as this example goes: the status that a URL answers with.
struct Web(fn(&str) -> u16);

async fn deliver(job: Webhook, cx: Context<Web>) -> Result<u16, JobError> {
    let status = (cx.app().0)(&job.url);
    match status {
        200..300 => {
            cx.follow_up(&Delivered { url: job.url })?;
            Ok(status)
        }
        410 => Err(JobError::cancel("the subscriber has left")),
        429 => Err(JobError::retry_after(MIN * 10, "429: too many at once")),
        408 | 500.. => Err(format!("the subscriber answered {status}").into()),
        _ => Err(JobError::permanent(format!("the subscriber answered {status}"))),
    }
}

async fn note(job: Delivered, _: Context<Web>) -> Result<(), JobError> {
    println!("told {}", job.url);
    Ok(())
}

/// The service, but for its journal: what runs is what is tested.
fn service(web: Web) -> EngineBuilder<Web> {
    // 10 s, 20 s, 40 s ... an hour, an hour: about five hours and a half.
    let policy = RetryPolicy::exponential(SEC * 10).cap(HOUR).attempts(14);
    let queue = QueueConfig::new("webhooks").retry(policy).attempt_timeout(SEC * 30);
    Engine::builder().app(web).queue(queue).handler(deliver).handler(note)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let web = Web(|url| if url.contains("down") { 503 } else { 200 });
    let engine = service(web).journal(MemoryJournal::new()).start().await?;
    let webhook = |url: &str| Webhook { url: url.to_owned(), body: "{\"order\": 7}".to_owned() };

    let status = engine.enqueue(webhook("https://up.example/hook")).and_wait().await?;
    println!("the subscriber that is there answered {status}");

    let down = engine.enqueue(webhook("https://down.example/hook")).await?;
    while down.status().await?.failures == 0 {
        tokio::task::yield_now().await;
    }
    println!("the one that is down is told again in some seconds, and for five hours more");
    engine.shutdown(SEC).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;
    use windlass::testing::{self, Play, Retries, TestContext, assert_enqueued, laws, strategies};

    use super::*;

    /// As it is configured, if each attempt takes all the time that it has.
    fn retries() -> Retries {
        let config = service(Web(|_| 200)).effective_config().unwrap();
        Retries::configured::<Webhook>(&config).unwrap().attempts_take(SEC * 30)
    }

    // The ten lines: what was promised to subscribers.
    #[test]
    fn four_hours_of_an_outage_lose_nothing_and_nobody_is_told_half_a_day_late() -> Result<(), laws::Broken> {
        laws::all(retries())?;
        laws::outlasts(retries(), HOUR * 4)?;
        laws::gives_up_within(retries(), HOUR * 12)?;
        laws::delays_within(retries(), SEC * 5..=MIN * 70)?;
        laws::jitter_within(retries(), 5..=10) // those that failed together come back apart
    }

    #[test]
    fn whatever_happens_a_bug_of_ours_is_the_end() {
        testing::check(retries(), |life| {
            let bug = life.attempts().iter().position(|attempt| attempt.play == Play::Panic);
            bug.is_none_or(|bug| life.is_dead() && bug + 1 == life.attempts().len())
        });
    }

    proptest! {
        #[test]
        fn a_subscriber_that_is_back_in_time_is_told(script in strategies::failure_scripts(), id in strategies::job_ids()) {
            let life = retries().id(id).timeline(script.then(Play::Succeed));
            let has_panicked = life.attempts().iter().any(|attempt| attempt.play == Play::Panic);
            prop_assert!(life.is_done() || has_panicked, "{life}");
        }
    }

    fn webhook() -> Webhook {
        Webhook { url: "https://a.example".to_owned(), body: String::new() }
    }

    #[tokio::test]
    async fn each_answer_has_its_consequence() {
        let answered = async |web| testing::run(deliver, webhook(), TestContext::new(Web(web))).await;
        let told = answered(|_| 200).await;
        assert_enqueued!(told, Delivered, |note| note.url == "https://a.example", times = 1);
        let policy = retries().policy().clone();
        assert_eq!(answered(|_| 429).await.runs_again_after(&policy), Some(MIN * 10));
        assert!(answered(|_| 503).await.runs_again_after(&policy).is_some());
        for status in [|_: &str| 404, |_: &str| 410] {
            assert_eq!(answered(status).await.runs_again_after(&policy), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_hours_is_over_in_milliseconds() {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let web = Web(|_| if CALLS.fetch_add(1, Ordering::Relaxed) < 13 { 503 } else { 200 });
        let engine = service(web).journal(MemoryJournal::new()).start().await.unwrap();
        engine.enqueue(webhook()).await.unwrap();
        let drained = testing::drain(&engine, "webhooks").await.unwrap();
        assert_eq!((drained.done, drained.failures), (2, 13), "the webhook, and the note of it");
    }
}
