//! The same id twice is the same job, as long as it is live or retained.

use windlass::{Draft, EnqueueError, JobState, KeepDone, Refusal, Retention, RetryPolicy, SEC, new_job_id};
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{World, start, work};

#[tokio::test(start_paused = true)]
async fn a_live_job_is_not_stored_again() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("a", [Play::Hold]);
    let id = new_job_id();
    assert!(engine.enqueue(step("a")).id(id).await.unwrap().is_fresh());
    script.started("a", 1).await;
    // Running; and its payload is not compared.
    let again = engine.enqueue(step("another payload")).id(id).await.unwrap();
    assert_eq!((again.is_fresh(), again.id()), (false, id));
    script.tell("a", Play::Succeed);
    assert_eq!(again.wait().await.unwrap(), "a");
    let delayed = new_job_id();
    assert!(engine.enqueue(step("b")).id(delayed).delay(SEC).await.unwrap().is_fresh());
    assert!(!engine.enqueue(step("b")).id(delayed).await.unwrap().is_fresh());
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_in_any_way_is_not_run_again() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    script.plan("dead", [Play::Fail]);
    script.plan("cancelled", [Play::CallOff]);
    for (name, state) in [("done", JobState::Done), ("dead", JobState::Dead), ("cancelled", JobState::Cancelled)] {
        let id = new_job_id();
        let first = engine.enqueue(step(name)).id(id).and_wait().await;
        let again = engine.enqueue(step(name)).id(id).await.unwrap();
        assert!(!again.is_fresh());
        assert_eq!(again.status().await.unwrap().state, state);
        // Whoever enqueues it and waits gets the end that was.
        let second = engine.enqueue(step(name)).id(id).and_wait().await;
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        assert_eq!(script.attempts(name), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_job_is_a_new_one() {
    let script = Script::new();
    let engine = start(&script, work().retention(Retention::default().keep_done(KeepDone::None))).await;
    let id = new_job_id();
    for attempt in 1..=3 {
        let job = engine.enqueue(step("a")).id(id).await.unwrap();
        assert!(job.is_fresh());
        script.returned("a", attempt).await;
        engine.stats().await.unwrap();
        while engine.job(id).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(script.attempts("a"), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn another_kind_with_the_same_id_is_refused() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let id = new_job_id();
    engine.enqueue(step("a")).id(id).and_wait().await.unwrap();
    let refused = engine.enqueue(block("a")).id(id).await.unwrap_err();
    assert!(
        matches!(refused, EnqueueError::Refused(Refusal::IdTaken { id: of, kind }) if of == id && kind.as_str() == "step")
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_id_twice_in_one_call_is_one_job() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let id = new_job_id();
    let receipts = engine.enqueue_all((0..3).map(|_| Draft::new(&step("a")).id(id))).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.fresh).collect::<Vec<_>>(), [true, false, false]);
    engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
    assert_eq!(script.attempts("a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_fits_into_a_full_queue() {
    let script = Script::new();
    let engine = start(&script, work().depth_max(1)).await;
    let id = new_job_id();
    engine.enqueue(step("a")).id(id).delay(SEC).await.unwrap();
    engine.enqueue(step("b")).await.unwrap_err();
    assert!(!engine.enqueue(step("a")).id(id).await.unwrap().is_fresh());
}

#[test]
fn the_same_id_is_the_same_job_after_a_loss_of_power() {
    let mut world = World::new();
    let ids = [new_job_id(), new_job_id()];
    let enqueue = async |life: &windlass_tests::world::Life| {
        let engine = life.start(work()).await;
        let live = engine.enqueue(step("live")).id(ids[0]).delay(SEC * 9).await.unwrap().is_fresh();
        let done = engine.enqueue(step("done")).id(ids[1]).await.unwrap();
        done.wait().await.unwrap();
        (live, done.is_fresh())
    };
    assert_eq!(world.life_without_power_at_its_end(enqueue), (true, true));
    assert_eq!(world.life_without_power_at_its_end(enqueue), (false, false));
    assert_eq!(world.script.attempts("done"), [1]);
}
