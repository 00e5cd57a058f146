//! One job a key: whose the key is, how long, what becomes of a second job, and that no crash leaves a key behind.

use std::time::Duration;

use windlass::{
    Draft, EnqueueError, HOUR, JobState, MIN, OutOfRange, Refusal, SEC, Schedule, Unique, UniqueScope, WaitError, Why,
};
use windlass_tests::script::{Play, Script, Step, block, step};
use windlass_tests::world::{World, start, work};

fn one() -> Unique {
    Unique::key("one")
}

/// Time passes, by a job that waits for it.
async fn pass(engine: &windlass::Engine, time: Duration) {
    engine.enqueue(step("time")).delay(time).and_wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_job_is_the_first_one_until_that_has_ended() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let first = engine.enqueue(step("a")).unique(one()).await.unwrap();
    script.started("a", 1).await;
    let second = engine.enqueue(step("b")).unique(one()).await.unwrap();
    assert_eq!((second.id(), second.is_fresh(), first.is_fresh()), (first.id(), false, true));
    // Who waits for it waits for the first one.
    let waiting = engine.enqueue(step("c")).unique(one()).and_wait();
    let (output, ()) = tokio::join!(waiting, async { script.tell("a", Play::Succeed) });
    assert_eq!(output.unwrap(), "a");
    assert!(engine.enqueue(step("d")).unique(one()).await.unwrap().is_fresh());
}

#[test]
fn every_end_gives_the_key_back() {
    World::new().life(async |life| {
        let engine = life.start(work().retry(windlass::RetryPolicy::never())).await;
        life.script.plan("dead", [Play::Fail]);
        life.script.plan("off", [Play::CallOff]);
        for name in ["done", "dead", "off"] {
            let job = engine.enqueue(step(name)).unique(one()).await.unwrap();
            assert!(job.is_fresh(), "before `{name}`");
            let _ = job.wait().await;
        }
        let late = engine.enqueue(step("late")).unique(one()).delay(HOUR).await.unwrap();
        late.cancel().await.unwrap();
        let late = engine.enqueue(step("late")).unique(one()).delay(HOUR).await.unwrap();
        engine.discard(late.id()).await.unwrap();
        let late = engine.enqueue(step("late")).unique(one()).delay(HOUR).expires_in(SEC).await.unwrap();
        assert!(late.is_fresh());
        assert!(matches!(late.wait().await, Err(WaitError::Expired { .. })));
        assert!(engine.enqueue(step("last")).unique(one()).await.unwrap().is_fresh());
    });
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_key_and_a_requeued_job_takes_it_again() {
    let script = Script::new();
    let engine = start(&script, work().retry(windlass::RetryPolicy::fixed(MIN).attempts(2))).await;
    script.plan("a", [Play::Fail, Play::Fail, Play::Hold]);
    let job = engine.enqueue(step("a")).unique(one()).await.unwrap();
    script.returned("a", 1).await;
    assert!(!engine.enqueue(step("b")).unique(one()).await.unwrap().is_fresh(), "it waits for its retry");
    assert!(matches!(job.wait().await, Err(WaitError::Dead { .. })));
    let other = engine.enqueue(step("c")).unique(one()).delay(HOUR).await.unwrap();
    let refused = engine.requeue(job.id()).await.unwrap_err().to_string();
    assert!(refused.contains(&other.id().to_string()) && refused.contains("`one` of kind `step`"), "{refused}");
    other.cancel().await.unwrap();
    engine.requeue(job.id()).await.unwrap();
    script.started("a", 3).await;
    assert_eq!(engine.enqueue(step("d")).unique(one()).await.unwrap().id(), job.id());
}

#[tokio::test(start_paused = true)]
async fn a_key_until_the_start_lets_one_wait_while_one_runs() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("a", [Play::Hold]);
    let unique = || one().until_started();
    let running = engine.enqueue(step("a")).unique(unique()).await.unwrap();
    script.started("a", 1).await;
    let waiting = engine.enqueue(step("b")).unique(unique()).await.unwrap();
    let third = engine.enqueue(step("c")).unique(unique()).await.unwrap();
    assert_eq!((waiting.is_fresh(), third.id()), (true, waiting.id()));
    assert_ne!(running.id(), waiting.id());
}

#[test]
fn an_idempotent_call_is_one_job_through_restarts_and_even_when_that_is_forgotten() {
    let mut world = World::new();
    let retention = || work().retention(windlass::Retention::default().keep_done(windlass::KeepDone::None));
    let id = world.life(async |life| {
        let engine = life.start(retention()).await;
        let job = engine.enqueue(step("a")).idempotency_key("request-7", HOUR).await.unwrap();
        life.script.returned("a", 1).await;
        job.id()
    });
    world.pass(MIN * 50);
    world.life(async |life| {
        let engine = life.start(retention()).await;
        let again = engine.enqueue(step("a")).idempotency_key("request-7", HOUR).await.unwrap();
        assert_eq!((again.id(), again.is_fresh()), (id, false));
        let waited = engine.enqueue(step("a")).idempotency_key("request-7", HOUR).and_wait().await;
        let forgotten = waited.unwrap_err().to_string();
        assert!(forgotten.contains(&format!("no live or retained job has the id {id}")), "{forgotten}");
        pass(&engine, MIN * 11).await;
        assert!(engine.enqueue(step("a")).idempotency_key("request-7", HOUR).await.unwrap().is_fresh());
    });
}

#[tokio::test(start_paused = true)]
async fn a_burst_becomes_one_job_with_the_last_payload() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let quiet = || one().debounce(SEC * 10);
    let first = engine.enqueue(step("a")).unique(quiet()).await.unwrap();
    for name in ["b", "c", "d"] {
        pass(&engine, SEC * 9).await;
        assert_eq!(engine.enqueue(step(name)).unique(quiet()).await.unwrap().id(), first.id());
    }
    assert_eq!(first.wait().await.unwrap(), "d");
    let starts = ["a", "b", "c", "d"].map(|name| script.starts(name).len());
    assert_eq!(starts, [0, 0, 0, 1]);
}

#[test]
fn a_burst_that_does_not_end_has_its_job_all_the_same() {
    World::new().life(async |life| {
        let engine = life.start(work()).await;
        for _ in 0..30 {
            engine.enqueue(step("a")).unique(one().debounce(SEC * 10).at_most(MIN)).await.unwrap();
            pass(&engine, SEC * 5).await;
        }
        assert_eq!(life.script.starts("a").len(), 2, "in 150 seconds, one a minute");
    });
}

#[test]
fn a_throttled_job_comes_once_in_its_time_and_the_last_one_of_them_at_its_end() {
    World::new().life(async |life| {
        let engine = life.start(work()).await;
        for _ in 0..10 {
            engine.enqueue(step("first")).unique(Unique::key("first").throttle(MIN)).await.unwrap();
            engine.enqueue(step("both")).unique(Unique::key("both").throttle(MIN).keep_last()).await.unwrap();
            pass(&engine, SEC * 5).await;
        }
        assert_eq!((life.script.starts("first").len(), life.script.starts("both").len()), (1, 1));
        pass(&engine, MIN).await;
        assert_eq!((life.script.starts("first").len(), life.script.starts("both").len()), (1, 2));
    });
}

#[test]
fn the_last_one_waits_for_the_active_one_and_no_crash_takes_it() {
    let mut world = World::new();
    let last = world.life(async |life| {
        let engine = life.start(work()).await;
        life.script.plan("a", [Play::Hold, Play::Succeed]);
        let keep = || one().keep_last();
        let first = engine.enqueue(step("a")).unique(keep()).await.unwrap();
        life.script.started("a", 1).await;
        let last = engine.enqueue(step("b")).unique(keep()).await.unwrap();
        assert_eq!(engine.enqueue(step("c")).unique(keep()).await.unwrap().id(), last.id());
        let status = last.status().await.unwrap();
        assert_eq!((status.state, status.why), (JobState::Waiting, Some(Why::Key { holder: first.id() })));
        assert_eq!(engine.stats().await.unwrap()[0].waiting, 1);
        last.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        // The first one was lost with its process, and runs again.
        assert_eq!(engine.handle::<Step>(last).wait().await.unwrap(), "c");
        assert_eq!((life.script.starts("a").len(), life.script.starts("b").len()), (2, 0));
        assert!(life.script.starts("a")[1] <= life.script.starts("c")[0]);
        assert!(engine.enqueue(step("d")).unique(one()).await.unwrap().is_fresh(), "no key is left behind");
    });
}

#[tokio::test(start_paused = true)]
async fn a_scope_says_among_which_jobs() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let hold = |scope| one().scope(scope);
    engine.enqueue(step("a")).unique(hold(UniqueScope::Kind)).delay(HOUR).await.unwrap();
    engine.enqueue(block("b")).unique(hold(UniqueScope::Kind)).delay(HOUR).await.unwrap();
    let first = engine.enqueue(step("c")).unique(hold(UniqueScope::Queue)).delay(HOUR).await.unwrap();
    let refused = engine.enqueue(block("d")).unique(hold(UniqueScope::Queue)).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::KeyTaken { id, .. }) if id == first.id()), "{refused}");
    assert!(engine.enqueue(step("e")).unique(hold(UniqueScope::Engine)).await.unwrap().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_of_the_fields_that_are_named() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let by_name = || Unique::fields(["name"]);
    let first = engine.enqueue(step("a")).unique(by_name()).delay(HOUR).await.unwrap();
    assert_eq!(engine.enqueue(step("a")).unique(by_name()).await.unwrap().id(), first.id());
    assert_eq!(engine.inspect(first.id()).await.unwrap().unique_key.as_deref(), Some("name=\"a\""));
    assert!(engine.enqueue(step("b")).unique(by_name()).await.unwrap().is_fresh());
    assert!(engine.enqueue(step("a")).unique(Unique::payload()).await.unwrap().is_fresh(), "another key");
    let refused = engine.enqueue(step("a")).unique(Unique::fields(["/no/where"])).await.unwrap_err();
    assert!(matches!(&refused, EnqueueError::UniqueField { kind: "step", field } if field == "/no/where"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn keys_and_windows_out_of_their_range_are_refused_with_the_numbers() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let day = HOUR * 24;
    let refused = [
        (Unique::key(""), (0, 1, 256)),
        (Unique::key("x".repeat(257)), (257, 1, 256)),
        (one().for_window(Duration::ZERO), (0, 1, 31_536_000_000)),
        (one().for_window(day * 366), (31_622_400_000, 1, 31_536_000_000)),
        (one().debounce(day * 36_501), (3_153_686_400_000, 0, 3_153_600_000_000)),
        (one().replace().at_most(day * 36_501), (3_153_686_400_000, 0, 3_153_600_000_000)),
    ];
    for (unique, (is, least, most)) in refused {
        let error = engine.enqueue(step("a")).unique(unique).await.unwrap_err();
        let EnqueueError::Range(OutOfRange { value, min, max, .. }) = error else { panic!("{error}") };
        assert_eq!((value, min, max), (is, least, most));
    }
    assert!(engine.enqueue(step("a")).unique(Unique::key("x".repeat(256))).await.unwrap().is_fresh());
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 1);
}

#[test]
fn a_schedule_whose_job_finds_its_key_taken_waits_for_nobody() {
    World::new().life(async |life| {
        let job = Draft::new(&step("tick")).unique(one());
        let schedule = Schedule::every("s", MIN, job).overlap(windlass::Overlap::Queue);
        let engine = life.builder().queue(work()).schedule(schedule).start().await.unwrap();
        let other = engine.enqueue(step("other")).unique(one()).delay(SEC * 150).await.unwrap();
        other.wait().await.unwrap();
        pass(&engine, MIN * 5).await;
        assert_eq!(life.script.starts("tick").len(), 5, "two instants found the key taken");
    });
}
