//! Leases: how long an attempt may run, and that no job ever has two.

use tokio::time::Instant;
use windlass::storage::{Journal, Loaded};
use windlass::{
    Context, ControlError, Engine, FailureKind, Job, JobState, MIN, MemoryJournal, Refusal, RetryPolicy, SEC,
    WaitError, Why,
};
use windlass_scheduler::change::{Change, Record};
use windlass_tests::script::{Play, Script, What, block, step};
use windlass_tests::world::{start, start_with_faults, took, work};

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_time_is_over_is_cancelled_and_fails() {
    let script = Script::new();
    let queue = work().attempt_timeout(MIN).retry(RetryPolicy::never());
    let engine = start(&script, queue).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            cx.cancellation().cancelled().await;
            Err(format!("stopped for {:?}", cx.stop_reason().unwrap()).into())
        })],
    );
    let before = Instant::now();
    let job = engine.enqueue(step("a")).await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = job.wait().await else { panic!("it is dead") };
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.message.contains("stopped for TimedOut"), "{failure}");
    assert!(took(before, Instant::now(), MIN));
}

#[tokio::test(start_paused = true)]
async fn async_code_that_does_not_end_is_dropped_and_only_then_is_its_job_tried_again() {
    let script = Script::new();
    let queue = work().attempt_timeout(MIN).abort_after(SEC * 10).retry(RetryPolicy::fixed(SEC).jitter_percent(0));
    let engine = start(&script, queue).await;
    script.plan("a", [Play::Hold, Play::Succeed]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    let history = script.history();
    assert_eq!(
        history.iter().map(|event| event.what).collect::<Vec<_>>(),
        [What::Started, What::Dropped, What::Started, What::Returned]
    );
    assert!(took(history[0].at, history[1].at, SEC * 70) && took(history[1].at, history[2].at, SEC));
    assert!(script.overlaps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_success_that_comes_after_the_time_but_before_the_drop_is_a_success() {
    let script = Script::new();
    let engine = start(&script, work().attempt_timeout(MIN)).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    assert_eq!(script.attempts("a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_job_s_own_timeout_goes_before_its_queue_s() {
    let script = Script::new();
    let engine = start(&script, work().attempt_timeout(MIN).retry(RetryPolicy::never())).await;
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let before = Instant::now();
    engine.enqueue(step("a")).attempt_timeout(SEC * 5).and_wait().await.unwrap_err();
    assert!(took(before, Instant::now(), SEC * 5));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_extends_its_lease_may_run_on() {
    let script = Script::new();
    let engine = start(&script, work().attempt_timeout(MIN).retry(RetryPolicy::never())).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            for _ in 0..5 {
                tokio::time::advance(SEC * 50).await;
                cx.extend(MIN).await?;
                assert!(!cx.is_cancelled());
            }
            cx.cancellation().cancelled().await;
            let refused = cx.extend(MIN).await.unwrap_err();
            assert!(matches!(refused, ControlError::Refused(Refusal::StaleLease { .. })));
            Ok("extended".to_owned())
        })],
    );
    let before = Instant::now();
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "extended");
    assert!(took(before, Instant::now(), SEC * 310));
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_an_attempt_runs_for_ever() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    tokio::time::advance(windlass::HOUR * 1_000).await;
    assert_eq!(job.status().await.unwrap().state, JobState::Running);
    script.tell("a", Play::Succeed);
    job.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn blocking_code_that_does_not_end_keeps_its_slot_and_is_marked_overdue() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).attempt_timeout(MIN)).await;
    script.plan("stuck", [Play::Hold]);
    let stuck = engine.enqueue(block("stuck")).await.unwrap();
    script.started("stuck", 1).await;
    let next = engine.enqueue(step("next")).await.unwrap();
    for _ in 0..20 {
        tokio::time::advance(MIN).await;
    }
    let status = stuck.status().await.unwrap();
    assert_eq!((status.state, status.why), (JobState::Running, Some(Why::Running { overdue: true })));
    assert_eq!(next.status().await.unwrap().state, JobState::Ready);
    script.tell("stuck", Play::Succeed);
    assert_eq!(stuck.wait().await.unwrap(), "stuck");
    next.wait().await.unwrap();
    assert_eq!(script.attempts("stuck"), [1]);
}

#[tokio::test(start_paused = true)]
async fn blocking_code_that_looks_ends_when_its_time_is_over() {
    let script = Script::new();
    let engine = start(&script, work().attempt_timeout(MIN).retry(RetryPolicy::never())).await;
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let job = engine.enqueue(block("a")).await.unwrap();
    script.started("a", 1).await;
    tokio::time::advance(MIN * 2).await;
    let Err(WaitError::Dead { failure, .. }) = job.wait().await else { panic!("it is dead") };
    assert_eq!(failure.kind, FailureKind::TimedOut);
}

/// I4: tokens rise strictly, over attempts, jobs and rebuilds, and no other token changes anything.
#[tokio::test(start_paused = true)]
async fn lease_tokens_rise_and_no_attempt_number_is_skipped() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work().concurrency(2).retry(RetryPolicy::fixed(SEC))).await;
    for name in ["a", "b", "c"] {
        script.plan(name, [Play::Fail, Play::Fail, Play::Succeed]);
        engine.enqueue(step(name)).await.unwrap();
    }
    script.returned("b", 1).await;
    faults.on_append(windlass_tests::fault::AppendFault::Refused);
    for name in ["a", "b", "c"] {
        script.returned(name, 3).await;
        assert_eq!(script.attempts(name), [1, 2, 3]);
    }
    engine.stats().await.unwrap();
    let claims = faults.batches().into_iter().flat_map(|batch| batch.changes).filter_map(|change| match change {
        Change::Put(Record::Claims(claims)) => Some(claims.entries),
        _ => None,
    });
    let tokens: Vec<_> = claims.flatten().map(|claim| claim.token).collect();
    assert!(tokens.len() >= 9, "{tokens:?}");
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "{tokens:?}");
    assert!(script.overlaps().is_empty());
}

/// I4: a token of a term that is over changes nothing. Another owner has taken the journal, and what the old one's
/// attempt says at its end is fenced off.
#[tokio::test(start_paused = true)]
async fn a_late_ack_changes_nothing() {
    let script = Script::new();
    let journal = MemoryJournal::new();
    let mut again = journal.second_handle();
    let engine = windlass_tests::world::builder(&script, journal).queue(work()).start().await.unwrap();
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    // Another owner takes the journal: this engine's term is over, and whatever its attempts say is written nowhere.
    again.open().unwrap();
    script.tell("a", Play::Succeed);
    script.returned("a", 1).await;
    let mut is_live = false;
    again
        .load(&mut |loaded| {
            is_live |= matches!(loaded, Loaded::Record(Record::Job(record)) if record.id == job.id());
            None
        })
        .unwrap();
    assert!(is_live);
}

/// On the real clock: the attempt blocks a thread, and the engine answers from its own.
#[tokio::test]
async fn a_blocking_attempt_extends_its_lease_without_a_runtime() {
    let script = Script::new();
    let (tell, told) = std::sync::mpsc::channel();
    let handler = move |_: Blocking, cx: Context<Script>| {
        cx.extend_blocking(MIN)?;
        tell.send(cx.clone())?;
        Ok(())
    };
    let builder = Engine::builder().app(script).journal(MemoryJournal::new()).queue(work().attempt_timeout(MIN));
    let engine = builder.blocking_handler(handler).start().await.unwrap();
    engine.enqueue(Blocking).and_wait().await.unwrap();
    let cx = told.recv().unwrap();
    let late = std::thread::spawn(move || cx.extend_blocking(MIN)).join().unwrap();
    assert!(matches!(late, Err(ControlError::Refused(Refusal::StaleLease { .. }))), "{late:?}");
    engine.shutdown(SEC).await.unwrap();
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Blocking;

impl Job for Blocking {
    const KIND: &'static str = "blocking";
    const QUEUE: &'static str = "work";
    type Output = ();
}
