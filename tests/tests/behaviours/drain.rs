//! Stopping: what runs may end until the deadline, then it is asked to, and nothing is lost.

use std::time::Duration;

use tokio::time::Instant;
use windlass::{EnqueueError, JobState, MIN, Refusal, SEC, ShutdownError, StopReason, Why};
use windlass_tests::script::{Play, Script, Step, block, step};
use windlass_tests::world::{World, start, took, work};

#[test]
fn a_stop_lets_what_runs_end_and_keeps_what_waits() {
    let mut world = World::new();
    world.script.plan(
        "running",
        [Play::run(|cx| async move {
            let cancelled = tokio::time::timeout(SEC * 5, cx.cancellation().cancelled()).await;
            assert!(cancelled.is_err());
            Ok("in time".to_owned())
        })],
    );
    let (running, waiting) = world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        let running = engine.enqueue(step("running")).await.unwrap();
        let waiting = engine.enqueue(step("waiting")).await.unwrap();
        life.script.started("running", 1).await;
        let before = Instant::now();
        engine.shutdown(SEC * 30).await.unwrap();
        assert!(took(before, Instant::now(), SEC * 5));
        (running.id(), waiting.id())
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.handle::<Step>(running).wait().await.unwrap(), "in time");
        assert_eq!(engine.handle::<Step>(waiting).wait().await.unwrap(), "waiting");
        assert_eq!(life.script.order(), ["running", "waiting"]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_to_do_is_immediate() {
    let engine = start(&Script::new(), work()).await;
    engine.enqueue(step("later")).delay(MIN).await.unwrap();
    let before = Instant::now();
    engine.shutdown(MIN * 5).await.unwrap();
    assert!(took(before, Instant::now(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_an_engine_accepts_nothing_and_starts_nothing() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("running", [Play::Hold]);
    let running = engine.enqueue(step("running")).await.unwrap();
    let waiting = engine.enqueue(step("waiting")).await.unwrap();
    script.started("running", 1).await;
    let stop = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown(MIN).await }
    });
    tokio::task::yield_now().await;
    let refused = engine.enqueue(step("more")).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::Stopping)), "{refused}");
    let why = waiting.status().await.unwrap().why;
    assert_eq!(why, Some(Why::Stopping));
    let waits = tokio::spawn(async move { running.wait().await });
    tokio::task::yield_now().await;
    script.tell("running", Play::Succeed);
    // Who waited for the end of what ran gets it.
    assert_eq!(waits.await.unwrap().unwrap(), "running");
    stop.await.unwrap().unwrap();
    assert_eq!(script.order(), ["running"]);
}

#[test]
fn attempts_that_the_stop_cancelled_are_given_back_uncounted() {
    let mut world = World::new();
    world.script.plan(
        "looks",
        [
            Play::run(|cx| async move {
                cx.cancellation().cancelled().await;
                assert_eq!(cx.stop_reason(), Some(StopReason::Stopping));
                Err("stopped".into())
            }),
            Play::Succeed,
        ],
    );
    world.script.plan("does not look", [Play::Hold, Play::Succeed]);
    let ids = world.life(async |life| {
        let engine = life.start(work()).await;
        let looks = engine.enqueue(step("looks")).await.unwrap();
        let does_not = engine.enqueue(step("does not look")).await.unwrap();
        life.script.started("looks", 1).await;
        life.script.started("does not look", 1).await;
        engine.shutdown(SEC * 10).await.unwrap();
        assert_eq!(life.script.live(), 0);
        [looks.id(), does_not.id()]
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        for id in ids {
            let job = engine.handle::<Step>(id);
            job.wait().await.unwrap();
            let status = job.status().await.unwrap();
            assert_eq!((status.state, status.failures, status.lost), (JobState::Done, 0, 0));
        }
        assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
    });
}

#[test]
fn a_success_within_the_grace_is_a_success() {
    let mut world = World::new();
    world.script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    let id = world.life(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        life.script.started("a", 1).await;
        engine.shutdown(SEC).await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.job(id).await.unwrap().state, JobState::Done);
    });
}

#[test]
fn blocking_code_that_does_not_end_is_told_as_unfinished_and_given_back_uncounted() {
    let mut world = World::new();
    world.script.plan("stuck", [Play::Hold, Play::Succeed]);
    let id = world.life(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(block("stuck")).await.unwrap();
        life.script.started("stuck", 1).await;
        let stop = tokio::spawn(async move { engine.shutdown(SEC).await });
        // A blocking task holds the paused clock, so that it has to be moved by hand.
        while !stop.is_finished() {
            tokio::time::advance(SEC).await;
        }
        let Err(ShutdownError::Unfinished { ids }) = stop.await.unwrap() else { panic!("it is unfinished") };
        assert_eq!(ids, [job.id()]);
        life.script.tell("stuck", Play::Fail);
        life.script.returned("stuck", 1).await;
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<windlass_tests::script::Block>(id).wait().await.unwrap();
        assert_eq!(life.script.attempts("stuck"), [1, 2]);
        let totals = engine.stats().await.unwrap()[0].totals.clone();
        assert_eq!((totals.lost, totals.failures), (0, 0));
    });
}

#[test]
fn an_engine_whose_last_handle_is_dropped_stops_and_gives_back_what_ran() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold, Play::Succeed]);
    let id = world.life(async |life| {
        let engine = life.start(work()).await;
        let id = engine.enqueue(step("a")).await.unwrap().id();
        life.script.started("a", 1).await;
        drop(engine);
        life.script.dropped("a", 1).await;
        // The journal is closed behind it.
        tokio::time::timeout(SEC * 10, std::future::pending::<()>()).await.unwrap_err();
        id
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<Step>(id).wait().await.unwrap();
        assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
    });
}

#[tokio::test(start_paused = true)]
async fn two_stops_are_one_and_both_are_answered() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    let (first, second) = tokio::join!(engine.shutdown(SEC), engine.shutdown(SEC));
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_for_room_are_refused_when_the_engine_stops() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).depth_max(1).wait_when_full(5)).await;
    script.plan("running", [Play::Hold]);
    engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    engine.enqueue(step("waits")).await.unwrap();
    let caller = tokio::spawn({
        let engine = engine.clone();
        async move { engine.enqueue(step("caller")).await.map(|job| job.id()) }
    });
    while engine.stats().await.unwrap()[0].waiting_callers < 1 {
        tokio::task::yield_now().await;
    }
    engine.shutdown(SEC).await.unwrap();
    assert!(matches!(caller.await.unwrap(), Err(EnqueueError::Refused(Refusal::Stopping))));
}
