//! Handlers and clocks at their worst: code that never ends, times without end, errors that panic when they are read.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::Instant;
use windlass::{
    Clock, Engine, FailureKind, HOUR, HealthWarning, JobState, MIN, MemoryJournal, QueueConfig, RetryPolicy, SEC,
    ShutdownError, WaitError, Why,
};
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{World, builder, start, took, wall, work};

const MS: Duration = Duration::from_millis(1);
/// The longest duration that there is for an engine.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3_600);

/// Computes without end, until it is let go.
fn spins(let_go: &Arc<AtomicBool>) -> Play {
    let let_go = let_go.clone();
    Play::run(move |_| {
        let let_go = let_go.clone();
        async move {
            while !let_go.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            Ok("late".to_owned())
        }
    })
}

fn stuck(engine: &Engine) -> Option<u64> {
    engine.health().warnings.iter().find_map(|warning| match warning {
        HealthWarning::AttemptsStuck { attempts, .. } => Some(*attempts),
        _ => None,
    })
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SEC * 60, future).await.expect("it ends")
}

/// Real time, real threads: whatever kind of runtime it is whose thread is taken.
async fn goes_on_beside_a_loop(mut runtime: Builder) {
    let script = Script::new();
    let let_go = Arc::new(AtomicBool::new(false));
    script.plan("spins", [spins(&let_go), Play::Succeed]);
    let (send, engines) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let handlers = script.clone();
    let service = std::thread::spawn(move || {
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async move {
            let queue = work().attempt_timeout(MS * 50).abort_after(MS * 50).concurrency(1);
            let dated = QueueConfig::new("dated");
            let builder = builder(&handlers, MemoryJournal::new()).queue(queue).queue(dated);
            let engine = builder.start().await.unwrap();
            send.send(engine).unwrap();
            let _ = stopped.await;
        });
    });
    let engine = engines.recv().unwrap();
    let job = engine.enqueue(step("spins")).await.unwrap();
    let told = async {
        while stuck(&engine).is_none() {
            engine.stats().await.unwrap();
        }
    };
    in_time(told).await;
    assert_eq!(stuck(&engine), Some(1));
    let status = job.status().await.unwrap();
    assert_eq!(
        (status.state, status.why, status.attempts),
        (JobState::Running, Some(Why::Running { overdue: true }), 1)
    );
    // The engine's parts have a thread of their own: enqueues, verbs and timers go on, and so do blocking handlers.
    assert_eq!(in_time(engine.enqueue(block("beside")).queue("dated").and_wait()).await.unwrap(), "beside");
    let delayed = engine.enqueue(block("delayed")).queue("dated").delay(MS * 20);
    assert_eq!(in_time(delayed.and_wait()).await.unwrap(), "delayed");
    assert_eq!(script.attempts("spins"), [1], "its slot is its own while its code runs");
    let_go.store(true, Ordering::SeqCst);
    assert_eq!(in_time(job.wait()).await.unwrap(), "late");
    assert_eq!((stuck(&engine), script.overlaps().len()), (None, 0));
    in_time(engine.shutdown(SEC * 10)).await.unwrap();
    stop.send(()).unwrap();
    service.join().unwrap();
}

#[tokio::test]
async fn a_loop_that_never_yields_is_told_and_stops_nothing_of_the_engine() {
    goes_on_beside_a_loop(Builder::new_current_thread()).await;
    let mut two_threads = Builder::new_multi_thread();
    two_threads.worker_threads(1);
    goes_on_beside_a_loop(two_threads).await;
}

#[tokio::test]
async fn a_thread_that_never_returns_is_told_and_a_stop_names_it() {
    let script = Script::new();
    let let_go = Arc::new(AtomicBool::new(false));
    script.plan("spins", [spins(&let_go)]);
    let queue = work().attempt_timeout(MS * 50).abort_after(MS * 50);
    let engine = builder(&script, MemoryJournal::new()).queue(queue).start().await.unwrap();
    let id = engine.enqueue(block("spins")).await.unwrap().id();
    let told = async {
        while stuck(&engine).is_none() {
            engine.stats().await.unwrap();
        }
    };
    in_time(told).await;
    let health = engine.health();
    assert!(health.is_serving() && health.accepts_jobs());
    assert!(health.to_string().contains("1 attempts were asked to end"), "{health}");
    assert!(health.what_to_do()[0].contains("is_cancelled"), "{health}");
    let began = std::time::Instant::now();
    let Err(ShutdownError::Unfinished { ids }) = engine.shutdown(MS * 100).await else { panic!("it is unfinished") };
    assert!(ids == [id] && began.elapsed() < SEC * 20, "{ids:?} after {:?}", began.elapsed());
    let_go.store(true, Ordering::SeqCst);
    in_time(script.returned("spins", 1)).await;
}

/// An error that panics when it is read.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in a Display")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_error_s_display_is_a_failure_of_the_attempt() {
    let script = Script::new();
    script.plan("a", [Play::run(|_| async { Err(Unspeakable)? })]);
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    for result in [engine.enqueue(step("a")).and_wait().await, engine.enqueue(block("a")).and_wait().await] {
        let Err(WaitError::Dead { failure, .. }) = result else { panic!("it is dead") };
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, "in a Display"));
    }
    assert_eq!(engine.enqueue(step("next")).and_wait().await.unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn times_without_end_from_handlers_and_stops_are_the_longest_there_are() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("snoozes", [Play::Snooze(Duration::MAX)]);
    script.plan("fails", [Play::RetryAfter(Duration::MAX)]);
    script.plan("runs", [Play::Hold]);
    let jobs = [
        engine.enqueue(step("snoozes")).await.unwrap(),
        engine.enqueue(step("fails")).await.unwrap(),
        engine.enqueue(step("soon")).delay(MIN).await.unwrap(),
    ];
    for job in &jobs[..2] {
        script.returned(if job.id() == jobs[0].id() { "snoozes" } else { "fails" }, 1).await;
        let status = job.status().await.unwrap();
        assert_eq!((status.state, status.attempts), (JobState::Delayed, 1));
    }
    // The timers of others go on as they were.
    let before = Instant::now();
    jobs[2].wait().await.unwrap();
    assert!(took(before, Instant::now(), MIN));
    engine.run_now(jobs[0].id()).await.unwrap();
    script.returned("snoozes", 2).await;
    // A stop that may take for ever takes as long as what runs.
    engine.enqueue(step("runs")).await.unwrap();
    script.started("runs", 1).await;
    let stop = tokio::spawn(async move { engine.shutdown(Duration::MAX).await });
    tokio::time::advance(HOUR * 24 * 400).await;
    assert!(!stop.is_finished());
    script.tell("runs", Play::Succeed);
    stop.await.unwrap().unwrap();
}

/// A wall clock that shows what it is told.
#[derive(Clone, Default)]
struct Shows(Arc<AtomicU64>);

impl Clock for Shows {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_at_the_end_of_time_or_before_its_beginning_runs_jobs() {
    for (first, second) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (u64::MAX - 1, 1)] {
        let clock = Shows(Arc::new(AtomicU64::new(first)));
        let script = Script::new();
        script.plan("fails", [Play::Fail, Play::Succeed]);
        let journal = MemoryJournal::simulated_disk();
        let retry = RetryPolicy::fixed(SEC).jitter_percent(0);
        let build = || {
            let queue = work().attempt_timeout(MIN).retry(retry.clone());
            builder(&script, journal.second_handle()).clock(clock.clone()).queue(queue)
        };
        let engine = build().start().await.unwrap();
        let expires = engine.enqueue(step("expires")).delay(LONGEST).expires_in(LONGEST).await.unwrap();
        engine.enqueue(step("delayed")).delay(MIN).await.unwrap();
        engine.enqueue(step("fails")).await.unwrap();
        let waits = engine.enqueue(step("waits")).delay(LONGEST).await.unwrap().id();
        clock.0.store(second, Ordering::SeqCst);
        script.returned("fails", 2).await;
        script.returned("delayed", 1).await;
        // At the end of time all that ended did so too long ago to be kept.
        let _ = expires.status().await;
        engine.stats().await.unwrap();
        engine.shutdown(SEC).await.unwrap();
        // And at the next start.
        let engine = build().start().await.unwrap();
        let _ = engine.run_now(waits).await;
        script.returned("waits", 1).await;
        assert_eq!(engine.enqueue(step("next")).and_wait().await.unwrap(), "next", "{first} to {second}");
        engine.shutdown(SEC).await.unwrap();
    }
}

/// I5: a machine that was suspended: its wall clock has gone on, the other one stood.
#[test]
fn a_suspend_ends_no_lease_and_what_fell_due_meanwhile_runs_at_once() {
    World::new().life(async |life| {
        let engine = life.start(work().attempt_timeout(MIN * 10)).await;
        life.script.plan("runs", [Play::Hold]);
        life.script.plan("overruns", [Play::until_cancelled(Play::Succeed)]);
        let runs = engine.enqueue(step("runs")).await.unwrap();
        let overruns = engine.enqueue(step("overruns")).await.unwrap();
        for (name, hours) in [("second", 2), ("first", 1), ("third", 3)] {
            engine.enqueue(step(name)).at(wall(HOUR * hours)).await.unwrap();
        }
        life.script.started("overruns", 1).await;
        let before = Instant::now();
        life.clock.jump_forward_ms(8 * 3_600_000);
        life.script.returned("third", 1).await;
        assert!(before.elapsed() < SEC * 3, "noticed after {:?}", before.elapsed());
        assert_eq!(life.script.order(), ["runs", "overruns", "first", "second", "third"]);
        // Its own lease has as much left as it had.
        let status = runs.status().await.unwrap();
        assert_eq!((status.state, status.why), (JobState::Running, Some(Why::Running { overdue: false })));
        life.script.tell("runs", Play::Succeed);
        assert_eq!(runs.wait().await.unwrap(), "runs");
        overruns.wait().await.unwrap();
        assert!(took(before, Instant::now(), MIN * 10));
        let totals = engine.stats().await.unwrap()[0].totals.clone();
        assert_eq!((totals.failures, totals.lost), (0, 0));
    });
}
