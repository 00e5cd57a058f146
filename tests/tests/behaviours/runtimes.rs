//! Runtimes: where the engine runs, what blocks it and what does not, and the end of the one that handlers run on.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use windlass::{ControlError, Engine, HealthState, JobState, MemoryJournal, QueueConfig, RetryPolicy, SEC, WaitError};
use windlass_tests::script::{Block, Play, Script, Step, block, step};
use windlass_tests::world::{builder, work};

async fn serves(start: impl AsyncFnOnce() -> Engine) {
    let engine = start().await;
    assert_eq!(engine.enqueue(step("async")).and_wait().await.unwrap(), "async");
    assert_eq!(engine.enqueue(block("blocking")).and_wait().await.unwrap(), "blocking");
    let delayed = engine.enqueue(step("delayed")).delay(Duration::from_millis(10));
    assert_eq!(delayed.and_wait().await.unwrap(), "delayed");
    engine.shutdown(SEC * 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_on_a_multi_thread_runtime() {
    serves(async || builder(&Script::new(), MemoryJournal::new()).queue(work()).start().await.unwrap()).await;
}

#[tokio::test]
async fn it_serves_on_a_current_thread_runtime() {
    serves(async || builder(&Script::new(), MemoryJournal::new()).queue(work()).start().await.unwrap()).await;
}

#[tokio::test]
async fn it_serves_on_a_single_runtime() {
    let start = async || builder(&Script::new(), MemoryJournal::new()).queue(work()).single_runtime().start().await;
    serves(async || start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_many_threads_are_served() {
    let script = Script::new();
    let engine = builder(&script, MemoryJournal::new()).queue(work()).start().await.unwrap();
    let callers: Vec<_> = (0..1_000).map(|_| tokio::spawn(engine.enqueue(step("a")).and_wait())).collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let totals = engine.stats().await.unwrap()[0].totals.clone();
    assert_eq!((totals.enqueued, totals.attempts), (1_000, 1_000));
    assert!(script.overlaps().is_empty());
    engine.shutdown(SEC * 10).await.unwrap();
}

/// A runtime on a thread of its own, as a service has one.
struct Elsewhere {
    runtime: Runtime,
}

impl Elsewhere {
    fn new(threads: usize) -> Self {
        Self { runtime: Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap() }
    }

    async fn start(&self, builder: windlass::EngineBuilder<Script>) -> Engine {
        self.runtime.spawn(builder.start()).await.unwrap().unwrap()
    }
}

/// Blocks its thread for this long, whatever else there is to do.
fn block_the_thread(time: Duration) {
    let (never, condition) = (Mutex::new(()), Condvar::new());
    let guard = never.lock().unwrap();
    let _ = condition.wait_timeout_while(guard, time, |()| true).unwrap();
}

#[tokio::test]
async fn a_handler_that_blocks_its_runtime_stops_neither_timers_nor_leases_nor_enqueues() {
    let script = Script::new();
    let (blocked, is_blocked) = mpsc::channel();
    let ended = Arc::new(Mutex::new(false));
    let has_ended = ended.clone();
    script.plan(
        "blocks",
        [Play::run(move |_| {
            let (blocked, ended) = (blocked.clone(), ended.clone());
            async move {
                blocked.send(()).unwrap();
                block_the_thread(SEC * 5);
                *ended.lock().unwrap() = true;
                Ok(String::new())
            }
        })],
    );
    script.plan("stuck", [Play::until_cancelled(Play::Fail)]);
    // One thread: while it is blocked, no async handler can run, but everything of the engine has to.
    let elsewhere = Elsewhere::new(1);
    let other = QueueConfig::new("other").retry(RetryPolicy::never());
    let engine = elsewhere.start(builder(&script, MemoryJournal::new()).queue(work()).queue(other)).await;
    let blocks = engine.enqueue(step("blocks")).await.unwrap();
    is_blocked.recv().unwrap();
    // Timers: a delayed job of another queue, on a thread of its own.
    let delayed = engine.enqueue(block("delayed")).queue("other").delay(Duration::from_millis(50));
    assert_eq!(delayed.and_wait().await.unwrap(), "delayed");
    // Leases: an attempt whose time is over is told so.
    let stuck = engine.enqueue(block("stuck")).queue("other").attempt_timeout(Duration::from_millis(50));
    assert!(matches!(stuck.and_wait().await, Err(WaitError::Dead { .. })));
    // Enqueues.
    for _ in 0..100 {
        engine.enqueue(step("later")).await.unwrap();
    }
    assert!(!*has_ended.lock().unwrap(), "the runtime was blocked all the while");
    blocks.wait().await.unwrap();
    engine.shutdown(SEC * 30).await.unwrap();
    elsewhere.runtime.shutdown_background();
}

/// The outcome of asking until the engine has stopped.
async fn has_stopped(engine: &Engine) {
    let stopped = async {
        while !matches!(engine.stats().await, Err(ControlError::Unavailable(_))) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SEC * 30, stopped).await.expect("it stops");
}

#[tokio::test]
async fn when_the_handlers_runtime_is_gone_the_engine_stops_and_a_restart_finds_everything() {
    let script = Script::new();
    let journal = MemoryJournal::simulated_disk();
    let elsewhere = Elsewhere::new(2);
    let engine = elsewhere.start(builder(&script, journal.second_handle()).queue(work().concurrency(1))).await;
    script.plan("running", [Play::Hold, Play::Succeed]);
    let running = engine.enqueue(step("running")).await.unwrap().id();
    let waiting = engine.enqueue(step("waiting")).await.unwrap().id();
    script.started("running", 1).await;
    elsewhere.runtime.shutdown_background();
    has_stopped(&engine).await;
    assert_eq!(engine.health().state, HealthState::RuntimeGone);
    journal.lose_power();
    let engine = builder(&script, journal.second_handle()).queue(work()).start().await.unwrap();
    for id in [running, waiting] {
        engine.handle::<Step>(id).wait().await.unwrap();
    }
    let status = engine.job(running).await.unwrap();
    assert_eq!((status.state, status.failures), (JobState::Done, 0));
    assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 0);
    engine.shutdown(SEC * 10).await.unwrap();
}

#[tokio::test]
async fn a_blocking_job_outlives_no_runtime_and_its_engine_still_stops() {
    let script = Script::new();
    let elsewhere = Elsewhere::new(1);
    let engine = elsewhere.start(builder(&script, MemoryJournal::new()).queue(work())).await;
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    let id = engine.enqueue(block("a")).await.unwrap().id();
    script.started("a", 1).await;
    elsewhere.runtime.shutdown_background();
    // It runs on a thread of its own and goes on; the engine is stopped from elsewhere.
    engine.shutdown(Duration::from_millis(10)).await.unwrap();
    script.returned("a", 1).await;
    assert!(engine.handle::<Block>(id).status().await.is_err());
}

#[test]
fn a_wait_from_another_runtime_ends_with_the_one_that_the_engine_lived_on() {
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let elsewhere = Elsewhere::new(1);
    let here = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    here.block_on(async {
        let engine = elsewhere.start(builder(&script, MemoryJournal::new()).queue(work()).single_runtime()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        script.started("a", 1).await;
        let waits = tokio::spawn(async move { job.wait().await });
        engine.stats().await.unwrap();
        elsewhere.runtime.shutdown_background();
        let ended = tokio::time::timeout(SEC * 30, waits).await.expect("it does not wait for ever");
        assert!(matches!(ended.unwrap(), Err(WaitError::Control(ControlError::Unavailable(_)))));
    });
}
