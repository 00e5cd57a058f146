//! Waiting for the end of a job: before it, after it, after a restart.

use serde::{Deserialize, Serialize};
use windlass::{ControlError, Job, KeepDone, MIN, Refusal, Retention, SEC, WaitError, new_job_id};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, start, start_with_faults, work};

#[tokio::test(start_paused = true)]
async fn many_may_wait_for_one_job_before_and_after_its_end() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    let waits: Vec<_> = (0..10)
        .map(|_| {
            let job = job.clone();
            tokio::spawn(async move { job.wait().await })
        })
        .collect();
    script.started("a", 1).await;
    engine.stats().await.unwrap();
    script.tell("a", Play::Output("out".to_owned()));
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap(), "out");
    }
    assert_eq!(job.wait().await.unwrap(), "out");
    assert_eq!(engine.handle::<Step>(job.id()).wait().await.unwrap(), "out");
}

#[test]
fn an_output_is_there_after_a_restart() {
    let mut world = World::new();
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        job.wait().await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.handle::<Step>(id).wait().await.unwrap(), "a");
        assert_eq!(life.script.attempts("a"), [1]);
    });
}

#[derive(Serialize, Deserialize)]
struct Typed;

impl Job for Typed {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = u64;
}

#[tokio::test(start_paused = true)]
async fn an_output_of_another_type_is_an_error_and_not_a_panic() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    let error = engine.handle::<Typed>(job.id()).wait().await.unwrap_err();
    assert!(matches!(error, WaitError::Decode { id, .. } if id == job.id()));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_began_before_the_end_is_answered_even_if_nothing_is_retained() {
    let script = Script::new();
    let engine = start(&script, work().retention(Retention::default().keep_done(KeepDone::None))).await;
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    let job = engine.enqueue(step("b")).delay(SEC).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "b");
    let error = job.wait().await.unwrap_err();
    assert!(matches!(error, WaitError::Control(ControlError::Refused(Refusal::Forgotten { .. }))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_nothing_is_refused() {
    let engine = start(&Script::new(), work()).await;
    let error = engine.handle::<Step>(new_job_id()).wait().await.unwrap_err();
    assert!(matches!(error, WaitError::Control(ControlError::Refused(Refusal::Forgotten { .. }))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_that_is_refused_does_not_wait() {
    let engine = start(&Script::new(), work()).await;
    let error = engine.enqueue(step("a")).queue("nowhere").and_wait().await.unwrap_err();
    assert!(matches!(error, WaitError::Enqueue(_)), "{error}");
}

/// I2: an ack asks for a sync only when someone waits for that job.
#[tokio::test(start_paused = true)]
async fn an_ack_is_synced_for_those_who_wait_and_a_dropped_wait_is_none() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    for name in ["nobody waits", "somebody waits", "somebody left"] {
        script.plan(name, [Play::Hold]);
    }
    let mut syncs = Vec::new();
    for name in ["nobody waits", "somebody waits", "somebody left"] {
        let job = engine.enqueue(step(name)).await.unwrap();
        script.started(name, 1).await;
        let waits = (name != "nobody waits").then(|| {
            let job = job.clone();
            tokio::spawn(async move { job.wait().await })
        });
        engine.stats().await.unwrap();
        if let (Some(waits), "somebody left") = (&waits, name) {
            waits.abort();
            tokio::task::yield_now().await;
            engine.stats().await.unwrap();
        }
        let before = faults.syncs();
        script.tell(name, Play::Succeed);
        script.returned(name, 1).await;
        while job.status().await.unwrap().ended.is_none() {
            tokio::task::yield_now().await;
        }
        engine.stats().await.unwrap();
        syncs.push(faults.syncs() - before);
    }
    assert_eq!(syncs, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_no_end_of_its_own() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).delay(MIN * 60 * 24 * 30).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "a");
}
