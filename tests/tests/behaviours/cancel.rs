//! Calling jobs off, at every moment of their lives.

use windlass::{ControlError, FailureKind, JobState, Refusal, SEC, WaitError, new_job_id};
use windlass_tests::script::{Play, Script, What, block, step};
use windlass_tests::world::{start, work};

#[tokio::test(start_paused = true)]
async fn a_queued_job_that_is_cancelled_never_runs() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("first", [Play::Hold]);
    engine.enqueue(step("first")).await.unwrap();
    script.started("first", 1).await;
    let ready = engine.enqueue(step("ready")).await.unwrap();
    let delayed = engine.enqueue(step("delayed")).delay(SEC).await.unwrap();
    for job in [&ready, &delayed] {
        assert_eq!(job.cancel().await.unwrap(), JobState::Cancelled);
        assert!(matches!(job.wait().await, Err(WaitError::Cancelled { id }) if id == job.id()));
        assert_eq!(job.status().await.unwrap().state, JobState::Cancelled);
    }
    script.tell("first", Play::Succeed);
    engine.enqueue(step("last")).delay(SEC * 2).and_wait().await.unwrap();
    assert_eq!(script.order(), ["first", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_that_is_cancelled_and_still_succeeds_is_done() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    assert_eq!(job.cancel().await.unwrap(), JobState::Running);
    assert_eq!(job.wait().await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_running_job_that_is_cancelled_and_ends_in_any_other_way_is_cancelled() {
    let plays = [
        Play::Fail,
        Play::Permanent,
        Play::RetryAfter(SEC),
        Play::Snooze(SEC),
        Play::CallOff,
        Play::Panic,
        // Does not look, and is dropped.
        Play::Hold,
    ];
    for then in plays {
        let script = Script::new();
        let engine = start(&script, work()).await;
        script.plan("a", [Play::until_cancelled(then)]);
        let job = engine.enqueue(step("a")).await.unwrap();
        script.started("a", 1).await;
        assert_eq!(job.cancel().await.unwrap(), JobState::Running);
        assert!(matches!(job.wait().await, Err(WaitError::Cancelled { .. })));
        assert_eq!(script.attempts("a"), [1]);
        assert_eq!(script.live(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_attempt_said_is_kept() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    job.cancel().await.unwrap();
    job.wait().await.unwrap_err();
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.cancel_requested), (JobState::Cancelled, true));
    assert_eq!(status.failure.unwrap().kind, FailureKind::Error);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_that_does_not_end_is_dropped_after_its_grace() {
    let script = Script::new();
    let engine = start(&script, work().abort_after(SEC * 7)).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    let before = tokio::time::Instant::now();
    job.cancel().await.unwrap();
    assert!(job.status().await.unwrap().cancel_requested);
    job.wait().await.unwrap_err();
    let dropped = script.history().pop().unwrap();
    assert_eq!(dropped.what, What::Dropped);
    assert!(windlass_tests::world::took(before, dropped.at, SEC * 7));
}

#[tokio::test(start_paused = true)]
async fn a_blocking_job_is_cancelled_when_its_code_has_ended() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(block("a")).await.unwrap();
    script.started("a", 1).await;
    assert_eq!(job.cancel().await.unwrap(), JobState::Running);
    tokio::time::advance(SEC * 60).await;
    assert_eq!(job.status().await.unwrap().state, JobState::Running);
    script.tell("a", Play::Fail);
    assert!(matches!(job.wait().await, Err(WaitError::Cancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_call_its_own_job_off() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::CallOff]);
    let job = engine.enqueue(step("a")).await.unwrap();
    assert!(matches!(job.wait().await, Err(WaitError::Cancelled { .. })));
    assert_eq!(job.status().await.unwrap().failure.unwrap().message, "as the script says");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_or_never_was_cannot_be_cancelled() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    let refused = job.cancel().await.unwrap_err();
    assert!(
        matches!(refused, ControlError::Refused(Refusal::Forbidden { id, state: JobState::Done, .. }) if id == job.id())
    );
    let refused = engine.cancel(new_job_id()).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::Forgotten { .. })));
}

#[tokio::test(start_paused = true)]
async fn cancelling_twice_is_cancelling_once() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    job.cancel().await.unwrap();
    assert_eq!(job.cancel().await.unwrap(), JobState::Running);
    assert!(matches!(job.wait().await, Err(WaitError::Cancelled { .. })));
}

/// A cancellation is recorded before its Ok: a crash after it makes the job cancelled, not run again.
#[test]
fn a_cancelled_job_whose_process_dies_is_cancelled() {
    let mut world = windlass_tests::world::World::new();
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        life.script.plan("a", [Play::Hold]);
        let job = engine.enqueue(step("a")).await.unwrap();
        life.script.started("a", 1).await;
        job.cancel().await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.job(id).await.unwrap().state, JobState::Cancelled);
        assert_eq!(life.script.attempts("a"), [1]);
    });
}
