//! Calls that block: from where they work, and where they say no instead of waiting for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use windlass::{
    Context, ControlError, Draft, Engine, EnqueueError, Flow, FlowError, FlowId, FlowWaitError, Job, JobError,
    MemoryJournal, Priority, QueueConfig, SEC, WaitError,
};
use windlass_tests::script::{Script, block, step};
use windlass_tests::world::{builder, work};

fn several_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A flow of one step.
fn flow_of(name: &str) -> Flow<String> {
    let mut flow = Flow::new("story");
    let one = flow.first(step(name));
    flow.output(&one)
}

/// Each of the calls, and what comes of it.
fn all_of_them(engine: &Engine) {
    let job = engine.enqueue(step("a")).priority(Priority::URGENT).blocking().unwrap();
    assert!(job.is_fresh());
    assert_eq!(job.wait_blocking().unwrap(), "a");
    assert_eq!(engine.enqueue(block("b")).and_wait_blocking().unwrap(), "b");
    let receipts = engine.enqueue_all_blocking([Draft::new(&step("c")), Draft::new(&block("d"))]).unwrap();
    assert_eq!(receipts.len(), 2);
    assert_eq!(engine.handle::<windlass_tests::script::Step>(receipts[0].id).wait_blocking().unwrap(), "c");
    let flow = engine.submit_blocking(flow_of("f")).unwrap();
    assert_eq!(flow.wait_blocking().unwrap(), "f");
    let refused = engine.submit_blocking(Flow::new("nothing")).unwrap_err();
    assert!(matches!(refused, FlowError::NoJob), "{refused}");
    let refused = engine.enqueue(step("e")).queue("nowhere").blocking().unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(_)), "{refused}");
}

#[test]
fn blocking_calls_work_from_plain_threads() {
    for single in [false, true] {
        let runtime = several_threads();
        let builder = builder(&Script::new(), MemoryJournal::new()).queue(work());
        let builder = if single { builder.single_runtime() } else { builder };
        let engine = runtime.block_on(builder.start()).unwrap();
        all_of_them(&engine);
        let elsewhere = engine.clone();
        std::thread::spawn(move || all_of_them(&elsewhere)).join().unwrap();
        runtime.block_on(engine.shutdown(SEC * 10)).unwrap();
    }
}

#[test]
fn blocking_calls_work_from_another_thread_while_a_single_thread_drives_everything() {
    let runtime = one_thread();
    runtime.block_on(async {
        let engine =
            builder(&Script::new(), MemoryJournal::new()).queue(work()).single_runtime().start().await.unwrap();
        let elsewhere = engine.clone();
        tokio::task::spawn_blocking(move || all_of_them(&elsewhere)).await.unwrap();
        engine.shutdown(SEC * 10).await.unwrap();
    });
}

/// A job whose blocking handler hands in another one.
#[derive(Serialize, Deserialize)]
struct Outer;

impl Job for Outer {
    const KIND: &'static str = "outer";
    const QUEUE: &'static str = "work";
    type Output = u32;
}

#[derive(Serialize, Deserialize)]
struct Inner(u32);

impl Job for Inner {
    const KIND: &'static str = "inner";
    const QUEUE: &'static str = "work";
    type Output = u32;
}

type Later = Arc<OnceLock<Engine>>;

// By value, as every handler gets its job.
#[allow(clippy::needless_pass_by_value)]
fn outer(_: Outer, cx: Context<Later>) -> Result<u32, JobError> {
    let engine = cx.app().get().ok_or("the engine is not there yet")?;
    let doubled = engine.enqueue(Inner(21)).blocking()?.wait_blocking()?;
    Ok(doubled + engine.enqueue(Inner(0)).and_wait_blocking()?)
}

async fn inner(job: Inner, _: Context<Later>) -> Result<u32, JobError> {
    Ok(job.0 * 2)
}

async fn hands_in_from_a_handler(single: bool) {
    let later = Later::default();
    let builder = Engine::builder().journal(MemoryJournal::new()).app(later.clone()).queue(QueueConfig::new("work"));
    let builder = builder.blocking_handler(outer).handler(inner);
    let builder = if single { builder.single_runtime() } else { builder };
    let engine = builder.start().await.unwrap();
    later.set(engine.clone()).unwrap();
    assert_eq!(engine.enqueue(Outer).and_wait().await.unwrap(), 42);
    engine.shutdown(SEC * 10).await.unwrap();
}

#[tokio::test]
async fn blocking_handlers_hand_in_jobs_and_wait_for_them() {
    hands_in_from_a_handler(false).await;
}

#[tokio::test]
async fn blocking_handlers_hand_in_jobs_and_wait_for_them_on_a_single_runtime() {
    hands_in_from_a_handler(true).await;
}

/// What it panics with.
fn panics<T: std::fmt::Debug>(call: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics, and does not hang");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn panics_in_async_code(single: bool) {
    let builder = builder(&Script::new(), MemoryJournal::new()).queue(work());
    let builder = if single { builder.single_runtime() } else { builder };
    let engine = builder.start().await.unwrap();
    let job = engine.handle::<windlass_tests::script::Step>(windlass::new_job_id());
    let flow = engine.flow::<()>(FlowId::from_u128(7));
    let said = [
        panics(|| engine.enqueue(step("a")).blocking()),
        panics(|| engine.enqueue(step("a")).and_wait_blocking()),
        panics(|| engine.enqueue_all_blocking([Draft::new(&step("a"))])),
        panics(|| job.wait_blocking()),
        panics(|| engine.submit_blocking(flow_of("a"))),
        panics(|| flow.wait_blocking()),
    ];
    for text in said {
        assert!(text.contains("within a runtime"), "tokio's own words: {text}");
    }
    // Nothing was handed in, and everything goes on.
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 0);
    assert_eq!(engine.enqueue(step("b")).and_wait().await.unwrap(), "b");
    engine.shutdown(SEC * 10).await.unwrap();
}

#[tokio::test]
async fn blocking_calls_panic_in_async_code_of_a_single_thread() {
    panics_in_async_code(false).await;
    panics_in_async_code(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_calls_panic_in_async_code_of_several_threads() {
    tokio::spawn(panics_in_async_code(false)).await.unwrap();
    tokio::spawn(panics_in_async_code(true)).await.unwrap();
}

#[test]
fn on_the_thread_that_drives_the_engine_itself_blocking_calls_are_refused() {
    let runtime = one_thread();
    let builder = builder(&Script::new(), MemoryJournal::new()).queue(work()).single_runtime();
    let engine = runtime.block_on(builder.start()).unwrap();
    // Between two `block_on`s nobody runs the engine's parts: waiting for them would never end.
    let refused = engine.enqueue(step("a")).blocking().unwrap_err();
    assert!(matches!(&refused, EnqueueError::Unavailable(why) if why.contains("runtime.block_on")), "{refused}");
    let refused = engine.enqueue_all_blocking([Draft::new(&step("a"))]).unwrap_err();
    assert!(matches!(refused, EnqueueError::Unavailable(_)), "{refused}");
    let refused = engine.submit_blocking(flow_of("a")).unwrap_err();
    assert!(matches!(refused, FlowError::Enqueue(EnqueueError::Unavailable(_))), "{refused}");
    assert_eq!(runtime.block_on(engine.stats()).unwrap()[0].totals.enqueued, 0);
    assert_eq!(runtime.block_on(engine.enqueue(step("b")).and_wait()).unwrap(), "b");
    runtime.block_on(engine.shutdown(SEC * 10)).unwrap();
}

#[test]
fn on_the_thread_that_drives_the_handlers_jobs_are_handed_in_and_waits_are_refused() {
    let runtime = one_thread();
    let engine = runtime.block_on(builder(&Script::new(), MemoryJournal::new()).queue(work()).start()).unwrap();
    let job = engine.enqueue(step("a")).blocking().unwrap();
    let refused = job.wait_blocking().unwrap_err();
    assert!(matches!(refused, WaitError::Control(ControlError::Unavailable(_))), "{refused}");
    let refused = engine.enqueue(step("b")).and_wait_blocking().unwrap_err();
    assert!(matches!(refused, WaitError::Enqueue(EnqueueError::Unavailable(_))), "{refused}");
    assert_eq!(runtime.block_on(job.wait()).unwrap(), "a");
    let flow = engine.submit_blocking(flow_of("c")).unwrap();
    let refused = flow.wait_blocking().unwrap_err();
    assert!(matches!(refused, FlowWaitError::Control(ControlError::Unavailable(_))), "{refused}");
    assert_eq!(runtime.block_on(flow.wait()).unwrap(), "c");
    runtime.block_on(async {
        assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 2);
        engine.shutdown(SEC * 10).await.unwrap();
    });
}
