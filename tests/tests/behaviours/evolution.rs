//! Payloads that were stored by another build: upgraded, waited for, or kept with their bytes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass::{Context, FailureKind, HOUR, Job, JobError, JobState, RetryPolicy, SEC};
use windlass_tests::script::Script;
use windlass_tests::world::{World, work};

type Upgraded = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

/// The first build's.
#[derive(Serialize, Deserialize)]
struct First {
    name: String,
}

impl Job for First {
    const KIND: &'static str = "greet";
    const QUEUE: &'static str = "work";
    type Output = String;
}

/// The third build's: the name has two parts since version 2, and a language since version 3.
#[derive(Serialize, Deserialize)]
struct Third {
    first: String,
    last: String,
    language: String,
}

impl Job for Third {
    const KIND: &'static str = "greet";
    const QUEUE: &'static str = "work";
    const VERSION: u32 = 3;
    type Output = String;

    fn upgrade(payload: Value, from: u32) -> Upgraded {
        if from == 1 {
            let (first, last) = payload["name"].as_str().and_then(|name| name.split_once(' ')).ok_or("no two names")?;
            return Ok(json!({ "first": first, "last": last }));
        }
        let mut payload = payload;
        payload["language"] = json!("en");
        Ok(payload)
    }
}

async fn greet_third(job: Third, _: Context<Script>) -> Result<String, JobError> {
    Ok(format!("{} {} ({})", job.first, job.last, job.language))
}

async fn greet_first(job: First, _: Context<Script>) -> Result<String, JobError> {
    Ok(job.name)
}

#[test]
fn a_stored_payload_goes_through_every_version_between() {
    let mut world = World::new();
    let (ada, odd) = world.life(async |life| {
        let engine = life.builder().handler(greet_first).queue(work()).start().await.unwrap();
        let ada = engine.enqueue(First { name: "Ada Lovelace".into() }).delay(HOUR).await.unwrap().id();
        let odd = engine.enqueue(First { name: "Plato".into() }).delay(HOUR).await.unwrap().id();
        (ada, odd)
    });
    world.life(async |life| {
        let engine = life.builder().handler(greet_third).queue(work()).start().await.unwrap();
        assert_eq!(engine.handle::<Third>(ada).wait().await.unwrap(), "Ada Lovelace (en)");
        engine.handle::<Third>(odd).wait().await.unwrap_err();
        let detail = engine.inspect(odd).await.unwrap();
        let failure = detail.status.failure.unwrap();
        assert_eq!((failure.kind, detail.status.attempts), (FailureKind::Decode, 1));
        assert_eq!(failure.message, "the payload (16 bytes, version 1) is no greet: no two names");
        assert_eq!((detail.payload.as_ref(), detail.version), (&br#"{"name":"Plato"}"#[..], 1), "its bytes are kept");
        // Mended by hand, it runs.
        let mended = Third { first: "Plato".into(), last: String::new(), language: "el".into() };
        engine.edit(odd, &mended).await.unwrap();
        engine.requeue(odd).await.unwrap();
        assert_eq!(engine.handle::<Third>(odd).wait().await.unwrap(), "Plato  (el)");
    });
}

/// A roll-back must not cost what the newer build had accepted.
#[test]
fn a_payload_of_a_later_version_is_waited_for() {
    let mut world = World::new();
    let queue = || work().retry(RetryPolicy::fixed(SEC * 30).attempts(20));
    let id = world.life(async |life| {
        let engine = life.builder().handler(greet_third).queue(queue()).start().await.unwrap();
        let job = Third { first: "Ada".into(), last: "Lovelace".into(), language: "en".into() };
        engine.enqueue(job).delay(SEC).await.unwrap().id()
    });
    world.life(async |life| {
        let engine = life.builder().handler(greet_first).queue(queue()).start().await.unwrap();
        while engine.job(id).await.unwrap().failures < 3 {
            tokio::time::advance(SEC).await;
        }
        assert_eq!(engine.job(id).await.unwrap().state, JobState::Delayed);
        let failure = engine.inspect(id).await.unwrap().attempts.remove(0).failure().unwrap().clone();
        let text = "the payload (49 bytes, version 3, newer than this build's) is no greet: missing field `name`";
        assert!(failure.message.starts_with(text), "{failure}");
    });
    world.life(async |life| {
        let engine = life.builder().handler(greet_third).queue(queue()).start().await.unwrap();
        assert_eq!(engine.handle::<Third>(id).wait().await.unwrap(), "Ada Lovelace (en)");
    });
}

/// A newer build's payload that this one can read is this one's to run.
#[test]
fn a_later_payload_that_fits_is_run() {
    #[derive(Serialize, Deserialize)]
    struct Second {
        name: String,
        language: String,
    }
    impl Job for Second {
        const KIND: &'static str = "greet";
        const QUEUE: &'static str = "work";
        const VERSION: u32 = 2;
        type Output = String;
    }
    let mut world = World::new();
    let id = world.life(async |life| {
        let engine = life.builder().allow_unknown_kinds().queue(work()).start().await.unwrap();
        engine.enqueue(Second { name: "Ada".into(), language: "en".into() }).await.unwrap().id()
    });
    world.life(async |life| {
        let engine = life.builder().handler(greet_first).queue(work()).start().await.unwrap();
        assert_eq!(engine.handle::<First>(id).wait().await.unwrap(), "Ada");
    });
}
