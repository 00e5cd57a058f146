//! How long attempts wait and run, and how the journal does, for whoever asks the engine itself: exact counts, and none before
//! somebody has asked.

use windlass::{AttemptTimes, Engine, JobState, MemoryJournal, RetryPolicy, SEC};
use windlass_tests::fault::FaultJournal;
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{builder, start, work};

fn of(engine: &Engine, kind: &str) -> AttemptTimes {
    let all = engine.attempt_times();
    let found = all.iter().find(|times| times.kind.as_deref() == Some(kind));
    found.unwrap_or_else(|| panic!("no {kind} among {all:?}")).clone()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_counted_before_somebody_asks_and_every_attempt_afterwards() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).jitter_percent(0).attempts(2))).await;
    engine.enqueue(step("before")).and_wait().await.unwrap();
    assert_eq!(engine.attempt_times(), []);
    script.plan("flaky", [Play::Fail, Play::Succeed]);
    script.plan("panics", [Play::Panic, Play::Succeed]);
    script.plan("snoozes", [Play::Snooze(SEC), Play::Succeed]);
    script.plan("calls off", [Play::CallOff]);
    for name in ["flaky", "panics", "snoozes", "a"] {
        engine.enqueue(step(name)).and_wait().await.unwrap();
    }
    engine.enqueue(step("calls off")).and_wait().await.unwrap_err();
    engine.enqueue(block("b")).and_wait().await.unwrap();
    let times = of(&engine, "step");
    let counts = [&times.waits, &times.succeeded, &times.failed, &times.others].map(windlass::Spread::count);
    assert_eq!((times.queue.as_str(), counts), ("work", [8, 4, 2, 2]));
    assert_eq!(of(&engine, "block").succeeded.count(), 1);
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waits_and_runs_are_those_of_the_engines_clock() {
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let engine = start(&script, work()).await;
    assert_eq!(engine.attempt_times(), []);
    engine.pause("work").await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    tokio::time::advance(SEC * 5).await;
    engine.resume("work").await.unwrap();
    script.started("a", 1).await;
    let started = engine.job(job.id()).await.unwrap().started.unwrap();
    assert_eq!(engine.job(job.id()).await.unwrap().state, JobState::Running);
    tokio::time::advance(SEC * 3).await;
    script.tell("a", Play::Succeed);
    job.wait().await.unwrap();
    let ended = engine.job(job.id()).await.unwrap();
    assert_eq!(ended.started, None, "no attempt of it runs");
    assert!(ended.ended.unwrap() >= started);
    let times = of(&engine, "step");
    let told = [&times.waits, &times.succeeded].map(|spread| spread.quantile(1.0).unwrap());
    for (us, expected) in told.into_iter().zip([5_000_000, 3_000_000_u64]) {
        assert!(us.abs_diff(expected) * 16 <= expected + 160_000, "{us} µs for {expected}");
    }
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_its_writes_its_syncs_and_what_it_shares() {
    let (script, journal) = (Script::new(), FaultJournal::new(MemoryJournal::simulated_disk()));
    let engine = builder(&script, journal).queue(work()).start().await.unwrap();
    let before = engine.journal_stats().await.unwrap();
    assert_eq!((before.writes.count(), before.loads, before.quarantined), (0, 1, 0));
    for name in ["a", "b", "c"] {
        engine.enqueue(step(name)).and_wait().await.unwrap();
    }
    let after = engine.journal_stats().await.unwrap();
    assert!(after.syncs.count() >= 3 && after.writes.count() >= after.syncs.count(), "{after:?}");
    assert_eq!(after.writes.count(), after.batch_changes.count());
    assert!(after.batch_changes.quantile(0.5).unwrap() >= 1 && after.batch_bytes.quantile(0.5).unwrap() > 10);
    engine.shutdown(SEC).await.unwrap();
    assert!(engine.journal_stats().await.is_err(), "it is closed");
}
