//! A deadline over all attempts of a job: nothing starts after it, what runs is asked to end, and no retry is waited for in vain.

use std::time::Duration;

use windlass::{EnqueueError, FailureKind, HOUR, JobState, MIN, OutOfRange, RetryPolicy, SEC, WaitError};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, start, took, work};

#[test]
fn a_failure_whose_retry_would_come_too_late_is_the_last() {
    World::new().life(async |life| {
        let engine = life.start(work().retry(RetryPolicy::fixed(MIN).jitter_percent(0))).await;
        life.script.plan("a", [Play::Fail]);
        let before = tokio::time::Instant::now();
        let ended = engine.enqueue(step("a")).deadline_in(SEC * 150).and_wait().await;
        assert!(matches!(ended, Err(WaitError::Dead { .. })), "{ended:?}");
        assert_eq!(life.script.attempts("a"), [1, 2, 3], "at 0, 60 and 120 seconds; a fourth one would come at 180");
        assert!(took(before, tokio::time::Instant::now(), SEC * 120), "nobody waits for the deadline");
    });
}

#[test]
fn an_attempt_that_runs_is_asked_to_end_at_the_deadline_and_is_the_last() {
    World::new().life(async |life| {
        let engine = life.start(work().retry(RetryPolicy::fixed(SEC))).await;
        life.script.plan("a", [Play::UntilCancelled(Box::new(Play::Fail))]);
        let before = tokio::time::Instant::now();
        let ended = engine.enqueue(step("a")).attempt_timeout(HOUR).deadline_in(MIN).and_wait().await;
        let Err(WaitError::Dead { failure, .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert!(took(before, tokio::time::Instant::now(), MIN));
        // A shorter time of its own goes before.
        life.script.plan("b", [Play::UntilCancelled(Box::new(Play::Fail))]);
        let ended = engine.enqueue(step("b")).attempt_timeout(SEC * 40).deadline_in(MIN).and_wait().await;
        assert!(matches!(ended, Err(WaitError::Dead { .. })));
        assert_eq!(life.script.attempts("b"), [1, 2], "40 seconds, one of delay, and the 19 that are left");
        assert!(took(before, tokio::time::Instant::now(), MIN * 2));
    });
}

#[test]
fn what_succeeds_all_the_same_is_done_and_an_extension_ends_at_the_deadline() {
    World::new().life(async |life| {
        let engine = life.start(work()).await;
        life.script.plan("a", [Play::UntilCancelled(Box::new(Play::Succeed))]);
        assert_eq!(engine.enqueue(step("a")).deadline_in(MIN).and_wait().await.unwrap(), "a");
        let extends = |cx: windlass::Context<Script>| async move {
            cx.extend(HOUR).await?;
            cx.cancellation().cancelled().await;
            Err("too late".into())
        };
        life.script.plan("b", [Play::run(extends)]);
        let before = tokio::time::Instant::now();
        let ended = engine.enqueue(step("b")).attempt_timeout(SEC).deadline_in(MIN).and_wait().await;
        assert!(matches!(ended, Err(WaitError::Dead { .. })), "{ended:?}");
        assert!(took(before, tokio::time::Instant::now(), MIN));
    });
}

#[test]
fn a_job_that_is_not_started_by_its_deadline_expires_through_a_restart() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let engine = life.start(work()).await;
        engine.pause("work").await.unwrap();
        let job = engine.enqueue(step("a")).deadline_in(HOUR).expires_in(HOUR * 2).await.unwrap();
        let status = job.status().await.unwrap();
        assert_eq!(status.deadline.unwrap().duration_since(status.created).unwrap(), HOUR);
        job.id()
    });
    world.pass(MIN * 50);
    world.life(async |life| {
        let engine = life.start(work()).await;
        let ended = engine.handle::<Step>(id).wait().await;
        assert!(matches!(ended, Err(WaitError::Expired { .. })), "{ended:?}");
        let status = engine.job(id).await.unwrap();
        assert_eq!((status.state, status.attempts), (JobState::Expired, 0));
        assert_eq!(status.ended.unwrap().duration_since(status.created).unwrap().as_secs(), 3_600);
        // Whoever brings it back wants it to run.
        engine.resume("work").await.unwrap();
        engine.requeue(id).await.unwrap();
        assert_eq!(engine.handle::<Step>(id).wait().await.unwrap(), "a");
    });
}

#[tokio::test(start_paused = true)]
async fn a_deadline_out_of_its_range_is_refused_with_the_numbers() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let error = engine.enqueue(step("a")).deadline_in(Duration::MAX).await.unwrap_err();
    let EnqueueError::Range(OutOfRange { what, max, .. }) = error else { panic!("{error}") };
    assert_eq!((what, max), ("deadline in ms", 3_153_600_000_000));
    let ended = engine.enqueue(step("a")).deadline_in(Duration::ZERO).and_wait().await;
    assert!(matches!(ended, Err(WaitError::Expired { .. })), "{ended:?}");
}
