//! Rebuilding the core inside the process: after a failed write, without losing, doubling or forgetting anything.

use tokio::time::Instant;
use windlass::{
    ControlError, Durability, EnqueueError, HealthState, JobState, MIN, MemoryJournal, QueueConfig, RetryPolicy, SEC,
    ShutdownError, StopReason, WaitError,
};
use windlass_scheduler::change::{Change, Record};
use windlass_tests::fault::{AppendFault, Fault, FaultJournal};
use windlass_tests::script::{Play, Script, What, step};
use windlass_tests::world::{World, builder, start_with_faults, took, work};

/// I10: after the first storage error no Ok is given until the journal has been reopened and loaded; and repeating with the
/// same id is safe, whatever the truth was.
#[tokio::test(start_paused = true)]
async fn a_failed_write_interrupts_its_caller_and_the_same_id_again_is_safe() {
    for (fault, was_written) in
        [(AppendFault::Refused, false), (AppendFault::UnknownAbsent, false), (AppendFault::UnknownWritten, true)]
    {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        faults.on_append(fault);
        let Err(EnqueueError::Interrupted { id }) = engine.enqueue(step("a")).await else { panic!("interrupted") };
        let again = engine.enqueue(step("a")).id(id).await.unwrap();
        assert_eq!((again.is_fresh(), faults.opens()), (!was_written, 2), "{fault:?}");
        assert_eq!(again.wait().await.unwrap(), "a");
        assert_eq!(script.attempts("a"), [1]);
        engine.shutdown(SEC).await.unwrap();
    }
}

/// I10
#[tokio::test(start_paused = true)]
async fn a_failed_sync_gives_no_ok() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    faults.on_sync(Fault::Error);
    let Err(EnqueueError::Interrupted { id }) = engine.enqueue(step("a")).await else { panic!("interrupted") };
    let again = engine.enqueue(step("a")).id(id).await.unwrap();
    again.wait().await.unwrap();
    assert_eq!(script.attempts("a"), [1]);
    assert_eq!(faults.opens(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_adopted_and_not_started_twice() {
    for fault in [AppendFault::Refused, AppendFault::UnknownAbsent, AppendFault::UnknownWritten] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work().attempt_timeout(MIN)).await;
        for name in ["a", "b"] {
            script.plan(name, [Play::Hold]);
        }
        let a = engine.enqueue(step("a")).await.unwrap();
        let b = engine.enqueue(step("b")).await.unwrap();
        script.started("b", 1).await;
        script.started("a", 1).await;
        faults.on_append(fault);
        engine.enqueue(step("c")).await.unwrap_err();
        let stats = engine.stats().await.unwrap();
        assert_eq!((stats[0].running, stats[0].totals.lost), (2, 0), "{fault:?}");
        script.tell("a", Play::Succeed);
        assert_eq!(a.wait().await.unwrap(), "a");
        // An adopted attempt is still steered: this one by its time.
        script.dropped("b", 1).await;
        assert_eq!(b.cancel().await.unwrap_or(JobState::Cancelled), JobState::Cancelled);
        assert_eq!((script.attempts("a"), script.attempts("b")), (vec![1], vec![1]));
        assert!(script.overlaps().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_comes_while_the_core_is_rebuilt_is_applied_after_it() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work().retry(RetryPolicy::fixed(SEC))).await;
    script.plan("a", [Play::Hold]);
    script.plan("b", [Play::Hold, Play::Succeed]);
    let a = engine.enqueue(step("a")).await.unwrap();
    let b = engine.enqueue(step("b")).await.unwrap();
    script.started("a", 1).await;
    script.started("b", 1).await;
    faults.on_append(AppendFault::UnknownAbsent);
    faults.on_open(Fault::Error);
    faults.on_load(Fault::Error);
    engine.enqueue(step("c")).await.unwrap_err();
    // Nobody is there to be told.
    script.tell("a", Play::Succeed);
    script.tell("b", Play::Fail);
    script.returned("a", 1).await;
    script.returned("b", 1).await;
    assert_eq!(faults.opens(), 1);
    assert_eq!(a.wait().await.unwrap(), "a");
    assert_eq!(b.wait().await.unwrap(), "b");
    assert_eq!((script.attempts("a"), script.attempts("b")), (vec![1], vec![1, 2]));
    assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn an_ack_whose_write_fails_is_given_again_and_counts_once() {
    for fault in [AppendFault::Refused, AppendFault::UnknownAbsent, AppendFault::UnknownWritten] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        script.plan(
            "a",
            [Play::run(|cx| async move {
                cx.follow_up(&step("follow-up"))?;
                Ok("first".to_owned())
            })],
        );
        let mut has_failed = false;
        faults.judge_appends(move |batch| {
            let is_ack = batch.changes.iter().any(|change| matches!(change, Change::Put(Record::Ended(_))));
            (is_ack && !std::mem::replace(&mut has_failed, true)).then_some(fault)
        });
        assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "first");
        script.returned("follow-up", 1).await;
        engine.stats().await.unwrap();
        assert_eq!(script.order(), ["a", "follow-up"], "{fault:?}");
        assert_eq!((faults.opens(), engine.stats().await.unwrap()[0].totals.enqueued), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_claim_is_not_written_does_not_happen() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    let mut has_failed = false;
    faults.judge_appends(move |batch| {
        let is_claim = batch.changes.iter().any(|change| matches!(change, Change::Put(Record::Claims(_))));
        (is_claim && !std::mem::replace(&mut has_failed, true)).then_some(AppendFault::UnknownAbsent)
    });
    let job = engine.enqueue(step("a")).delay(SEC).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "a");
    assert_eq!((script.attempts("a"), faults.opens()), (vec![1], 2));
    assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
}

/// The attempt was claimed and never started in this process: nobody died, so nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_start_whose_claim_is_written_and_not_confirmed_is_no_lost_attempt() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    let mut has_failed = false;
    faults.judge_appends(move |batch| {
        let is_claim = batch.changes.iter().any(|change| matches!(change, Change::Put(Record::Claims(_))));
        (is_claim && !std::mem::replace(&mut has_failed, true)).then_some(AppendFault::UnknownWritten)
    });
    let job = engine.enqueue(step("a")).delay(SEC).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "a");
    assert_eq!(script.attempts("a").len(), 1);
    assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn memory_queues_live_through_a_rebuild() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let quick = QueueConfig::new("quick").durability(Durability::Memory).concurrency(1);
    let engine = builder(&script, journal).queue(work()).queue(quick).start().await.unwrap();
    script.plan("running", [Play::Hold]);
    script.plan("dead", [Play::Permanent]);
    let dead = engine.enqueue(step("dead")).queue("quick").await.unwrap();
    dead.wait().await.unwrap_err();
    let running = engine.enqueue(step("running")).queue("quick").await.unwrap();
    script.started("running", 1).await;
    let waiting = engine.enqueue(step("waiting")).queue("quick").await.unwrap();
    let delayed = engine.enqueue(step("delayed")).queue("quick").delay(MIN).await.unwrap();
    faults.on_append(AppendFault::UnknownAbsent);
    engine.enqueue(step("durable")).await.unwrap_err();
    assert_eq!(running.status().await.unwrap().state, JobState::Running);
    assert_eq!(engine.inspect(dead.id()).await.unwrap().status.attempts, 1);
    script.tell("running", Play::Succeed);
    for job in [running, waiting, delayed] {
        job.wait().await.unwrap();
        assert_eq!(job.status().await.unwrap().attempts, 1);
    }
    assert_eq!(script.order(), ["dead", "running", "waiting", "delayed"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_through_a_rebuild() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    let later = engine.enqueue(step("later")).delay(MIN).await.unwrap();
    let both = tokio::spawn({
        let engine = engine.clone();
        async move { tokio::join!(later.wait(), engine.enqueue(step("and wait")).delay(MIN).and_wait()) }
    });
    engine.stats().await.unwrap();
    faults.on_append(AppendFault::Refused);
    engine.enqueue(step("a")).await.unwrap_err();
    let (later, and_wait) = both.await.unwrap();
    assert_eq!((later.unwrap(), and_wait.unwrap()), ("later".to_owned(), "and wait".to_owned()));
}

#[test]
fn delays_go_on_through_a_rebuild_as_if_nothing_had_been() {
    World::new().life(async |life| {
        let engine = life.start(work()).await;
        let before = Instant::now();
        let job = engine.enqueue(step("later")).delay(MIN).await.unwrap();
        tokio::time::advance(SEC * 20).await;
        life.faults.on_append(AppendFault::Refused);
        engine.enqueue(step("a")).await.unwrap_err();
        job.wait().await.unwrap();
        assert!(took(before, life.script.starts("later")[0], MIN));
    });
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_job_is_gone_is_cancelled() {
    let script = Script::new();
    let disk = MemoryJournal::simulated_disk();
    let queue = work().durability(Durability::Process);
    let engine = builder(&script, disk.second_handle()).queue(queue).start().await.unwrap();
    script.plan(
        "a",
        [Play::run(|cx| async move {
            cx.cancellation().cancelled().await;
            assert_eq!(cx.stop_reason(), Some(StopReason::Gone));
            Ok("in vain".to_owned())
        })],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    disk.lose_power();
    engine.enqueue(step("b")).await.unwrap_err();
    script.returned("a", 1).await;
    let gone = job.status().await.unwrap_err();
    assert!(matches!(gone, ControlError::Refused(windlass::Refusal::Forgotten { .. })), "{gone}");
    assert!(matches!(job.wait().await, Err(WaitError::Control(_))));
    engine.enqueue(step("b")).and_wait().await.unwrap();
    assert_eq!(script.history().iter().filter(|event| event.what == What::Started).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_rebuild_is_a_stop() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    faults.on_append(AppendFault::Refused);
    faults.on_open(Fault::Error);
    engine.enqueue(step("b")).await.unwrap_err();
    let _ = tokio::time::timeout(MIN, engine.shutdown(SEC)).await.expect("it stops");
    assert!(matches!(engine.enqueue(step("c")).await, Err(EnqueueError::Unavailable(_))));
}

/// A stop needs no core: code is asked to end at the deadline, and an end that could not be written is told.
#[tokio::test(start_paused = true)]
async fn a_stop_of_a_broken_engine_waits_for_its_deadline_and_tells_that_ends_are_missing() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    faults.on_append(AppendFault::Refused);
    (0..5).for_each(|_| faults.on_open(Fault::Error));
    engine.enqueue(step("b")).await.unwrap_err();
    while !matches!(engine.health().state, HealthState::Unhealthy(_)) {
        tokio::time::advance(SEC).await;
    }
    let before = Instant::now();
    let stopped = engine.shutdown(MIN).await;
    assert!(matches!(stopped, Err(ShutdownError::Storage(_))), "{stopped:?}");
    assert!((MIN..MIN + SEC * 3).contains(&before.elapsed()), "{:?}", before.elapsed());
    script.returned("a", 1).await;
    assert!(matches!(engine.health().state, HealthState::Stopped(_)));
}

/// The caller does not know whether it was recorded; whoever runs has to hear of it all the same.
#[tokio::test(start_paused = true)]
async fn a_cancellation_that_was_written_and_not_confirmed_reaches_the_adopted_attempt() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    faults.on_append(AppendFault::UnknownWritten);
    assert!(matches!(engine.cancel(job.id()).await, Err(ControlError::Interrupted)));
    let waited = tokio::time::timeout(MIN, job.wait()).await.expect("it hears of it");
    assert!(matches!(waited, Err(WaitError::Cancelled { .. })), "{waited:?}");
}
