//! A queue that is drained in a test: all of it or what is due, and never a wait without an end.

use std::time::Duration;

use tokio::time::Instant;
use windlass::testing::{DrainError, Drained, drain};
use windlass::{Draft, Engine, HOUR, JobState, MIN, ManualClock, MemoryJournal, QueueConfig, RetryPolicy, SEC, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{EPOCH_MS, builder, start, work};

fn counts(drained: Drained) -> [u64; 7] {
    let Drained { done, dead, cancelled, expired, attempts, failures, left, .. } = drained;
    [done, dead, cancelled, expired, attempts, failures, left]
}

#[tokio::test(start_paused = true)]
async fn a_drain_runs_delays_and_retries_and_counts_the_ends() {
    let script = Script::new();
    script.plan("retried", [Play::Fail, Play::Fail, Play::Succeed]);
    script.plan("dead", [Play::Permanent]);
    script.plan("off", [Play::CallOff]);
    let engine = start(&script, work().retry(RetryPolicy::fixed(HOUR).jitter_percent(0))).await;
    for name in ["retried", "dead", "off", "fine"] {
        engine.enqueue(step(name)).await.unwrap();
    }
    engine.enqueue(step("later")).delay(HOUR * 50).await.unwrap();
    let since = Instant::now();
    let drained = drain(&engine, "work").await.unwrap();
    assert_eq!(counts(drained), [3, 1, 1, 0, 7, 2 + 1, 0]);
    assert_eq!(since.elapsed().as_secs(), 50 * 3_600);
    assert_eq!(drain(&engine, "work").await.unwrap(), drained, "an empty queue is drained at once");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_runs_and_the_rest_waits() {
    let script = Script::new();
    script.plan("retried", [Play::Fail, Play::Succeed]);
    script.plan(
        "slow",
        [Play::run(|_| async {
            tokio::time::timeout(SEC * 3, std::future::pending::<()>()).await.unwrap_err();
            Ok(String::new())
        })],
    );
    let engine = start(&script, work().retry(RetryPolicy::fixed(MIN).jitter_percent(0)).concurrency(1)).await;
    for name in ["retried", "slow", "fine"] {
        engine.enqueue(step(name)).await.unwrap();
    }
    engine.enqueue(step("later")).delay(HOUR).await.unwrap();
    let since = Instant::now();
    assert_eq!(counts(drain(&engine, "work").due_only().await.unwrap()), [2, 0, 0, 0, 3, 1, 2]);
    assert_eq!(since.elapsed().as_secs(), 3, "no further than what ran took");
    assert_eq!(counts(drain(&engine, "work").due_only().await.unwrap()), [2, 0, 0, 0, 3, 1, 2]);
    assert_eq!(counts(drain(&engine, "work").await.unwrap()), [4, 0, 0, 0, 5, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn many_jobs_and_what_they_enqueue_are_drained() {
    let script = Script::new();
    script.plan(
        "parent",
        [Play::run(|cx| async move {
            for n in 0..10 {
                cx.follow_up(&step(&format!("child {n}")))?;
            }
            Ok(String::new())
        })],
    );
    let engine = start(&script, work().concurrency(3)).await;
    engine.enqueue_all((0..300).map(|_| Draft::new(&step("parent")))).await.unwrap();
    assert_eq!(drain(&engine, "work").await.unwrap().done, 3_300);
}

#[tokio::test(start_paused = true)]
async fn what_expires_is_counted() {
    let clock = ManualClock::starting_at_ms(EPOCH_MS);
    let script = Script::new();
    script.plan(
        "long",
        [Play::run(|_| async {
            tokio::time::timeout(HOUR, std::future::pending::<()>()).await.unwrap_err();
            Ok(String::new())
        })],
    );
    let builder = builder(&script, MemoryJournal::new()).clock(clock).queue(work().concurrency(1));
    let engine = builder.start().await.unwrap();
    engine.enqueue(step("long")).await.unwrap();
    engine.enqueue(step("late")).expires_in(MIN).await.unwrap();
    assert_eq!(counts(drain(&engine, "work").await.unwrap()), [1, 0, 0, 1, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_told_at_once_with_what_is_left() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    engine.pause("work").await.unwrap();
    assert_eq!(counts(drain(&engine, "work").await.unwrap()), [0; 7], "there is nothing to wait for");
    let (ready, later) = (engine.enqueue(step("a")), engine.enqueue(step("a")).delay(MIN));
    let ids = [ready.await.unwrap().id(), later.await.unwrap().id()];
    let since = Instant::now();
    let stuck = drain(&engine, "work").await.unwrap_err();
    let DrainError::Stuck { paused: true, jobs, .. } = &stuck else { panic!("{stuck}") };
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert_eq!((jobs[0].why.clone(), since.elapsed()), (Some(Why::Paused), Duration::ZERO));
    let text = stuck.to_string();
    assert!(text.starts_with("queue `work` is paused, and what is left in it never runs: resume it"), "{text}");
    assert!(text.contains(&format!("step {}, ready, 0 attempts, 0 failures: Paused", ids[0])), "{text}");
    assert!(matches!(drain(&engine, "work").due_only().await, Err(DrainError::Stuck { paused: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_handles_is_told_after_the_others_have_run() {
    let builder = Engine::builder().journal(MemoryJournal::new()).app(Script::new()).queue(QueueConfig::new("work"));
    let builder = builder.allow_unknown_kinds().blocking_handler(windlass_tests::script::run_block);
    let engine = builder.start().await.unwrap();
    engine.enqueue(step("nobody's")).await.unwrap();
    engine.enqueue(windlass_tests::script::block("fine")).delay(MIN).await.unwrap();
    let stuck = drain(&engine, "work").await.unwrap_err();
    let DrainError::Stuck { paused: false, jobs, drained, .. } = &stuck else { panic!("{stuck}") };
    assert_eq!((jobs.len(), jobs[0].state, drained.done), (1, JobState::Parked, 1));
    assert!(stuck.to_string().contains("has no handler here, and never runs: register one"), "{stuck}");
    engine.enqueue(step("falls due")).delay(HOUR * 5).await.unwrap();
    let stuck = drain(&engine, "work").await.unwrap_err();
    assert!(matches!(&stuck, DrainError::Stuck { paused: false, jobs, .. } if jobs.len() == 2), "{stuck}");
    assert!(matches!(drain(&engine, "work").due_only().await, Err(DrainError::Stuck { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_is_told_after_a_month_of_the_clock() {
    let script = Script::new();
    script.plan("hangs", [Play::run(|_| std::future::pending())]);
    let engine = start(&script, work()).await;
    let hangs = engine.enqueue(step("hangs")).await.unwrap().id();
    let since = Instant::now();
    let late = drain(&engine, "work").await.unwrap_err();
    let DrainError::TooLong { by_machine: false, jobs, .. } = &late else { panic!("{late}") };
    assert_eq!((jobs[0].id, since.elapsed().as_secs()), (hangs, 30 * 86_400));
    assert!(late.to_string().contains("was not drained in 30d of the clock"), "{late}");
    let late = drain(&engine, "work").due_only().within(MIN).await.unwrap_err();
    assert!(late.to_string().contains("in 1m of the clock"), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_snoozes_for_no_time_is_told_although_the_clock_stands() {
    let script = Script::new();
    script.plan("spins", [Play::Snooze(Duration::ZERO)]);
    let engine = start(&script, work()).await;
    engine.enqueue(step("spins")).await.unwrap();
    let since = Instant::now();
    let late = drain(&engine, "work").machine_time(SEC / 5).await.unwrap_err();
    let DrainError::TooLong { by_machine: true, drained, .. } = &late else { panic!("{late}") };
    assert!(drained.attempts > 10 && since.elapsed() < SEC, "{late}");
    assert!(late.to_string().contains("0.2s of the machine's time"), "{late}");
    let late = drain(&engine, "work").due_only().machine_time(SEC / 5).await.unwrap_err();
    assert!(matches!(late, DrainError::TooLong { by_machine: true, .. }), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_and_an_engine_that_is_gone_are_told() {
    let engine = start(&Script::new(), work()).await;
    let text = drain(&engine, "wrok").await.unwrap_err().to_string();
    assert_eq!(text, "there is no queue `wrok` to drain: correct its name, or configure it");
    engine.shutdown(Duration::ZERO).await.unwrap();
    assert!(matches!(drain(&engine, "work").await, Err(DrainError::Control(_))));
}

#[tokio::test]
async fn a_clock_that_runs_is_waited_for() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    engine.enqueue(step("a")).delay(Duration::from_millis(20)).await.unwrap();
    assert_eq!(drain(&engine, "work").await.unwrap().done, 1, "a job of 20 ms");
    script.plan("hangs", [Play::run(|_| std::future::pending())]);
    engine.enqueue(step("hangs")).await.unwrap();
    let late = drain(&engine, "work").within(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(late, DrainError::TooLong { by_machine: false, .. }), "{late}");
}
