//! Layers of tower around attempts, with real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use windlass::middleware::{TowerMiddleware, after};
use windlass::{
    ConfigError, Engine, EngineBuilder, FailureKind, MIN, MemoryJournal, RetryPolicy, SEC, StartError, WaitError,
};
use windlass_tests::script::{Play, Script, Step, run_step, step};
use windlass_tests::world::{builder, took, work};

/// Without the blocking handler.
fn engine(script: &Script) -> EngineBuilder<Script> {
    Engine::builder().journal(MemoryJournal::new()).app(script.clone()).handler(run_step)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_tower_is_a_failure_that_is_retried_and_the_handler_is_dropped() {
    let script = Script::new();
    let builder = engine(&script).queue(work().retry(RetryPolicy::fixed(SEC).attempts(2)));
    let engine = builder.tower_layer(TimeoutLayer::new(MIN)).start().await.unwrap();
    script.plan("a", [Play::Hold, Play::Succeed]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    script.plan("b", [Play::Hold]);
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("b")).and_wait().await else { panic!("dead") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Error, "request timed out"));
    assert_eq!((script.attempts("a"), script.attempts("b"), script.live()), (vec![1, 2], vec![1, 2], 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_tower_is_one_over_all_attempts() {
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let builder = engine(&script).queue(work().concurrency(10)).tower_layer(ConcurrencyLimitLayer::new(2));
    let engine = builder.start().await.unwrap();
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(engine.enqueue(step("a")).await.unwrap());
    }
    for ended in 0..6 {
        script.started("a", 6.min(ended + 2)).await;
        // All have a slot of the queue, and as much time as they want.
        assert_eq!(engine.stats().await.unwrap()[0].running, 6 - ended as u64);
        assert_eq!(script.live(), 2.min(6 - ended));
        script.tell("a", Play::Succeed);
        jobs.remove(0).wait().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_while_it_waits_for_its_turn_keeps_nobody_out() {
    let script = Script::new();
    let queue = work().abort_after(SEC).retry(RetryPolicy::never());
    let builder = engine(&script).queue(queue).tower_layer(ConcurrencyLimitLayer::new(1));
    let engine = builder.start().await.unwrap();
    script.plan("holds", [Play::Hold]);
    let holds = engine.enqueue(step("holds")).await.unwrap();
    script.started("holds", 1).await;
    let waits = engine.enqueue(step("waits")).attempt_timeout(SEC).await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = waits.wait().await else { panic!("dead") };
    assert_eq!(failure.kind, FailureKind::TimedOut);
    let next = engine.enqueue(step("next")).await.unwrap();
    script.tell("holds", Play::Succeed);
    holds.wait().await.unwrap();
    assert_eq!(next.wait().await.unwrap(), "next");
    assert!(script.attempts("waits").is_empty());
}

/// Not `Clone`, and no buffer around it: the service is shared as it is.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_tower_holds_back() {
    let script = Script::new();
    let builder = engine(&script).queue(work().concurrency(10)).tower_layer(RateLimitLayer::new(2, SEC));
    let engine = builder.start().await.unwrap();
    let since = tokio::time::Instant::now();
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(engine.enqueue(step("a")).await.unwrap());
    }
    for job in jobs {
        job.wait().await.unwrap();
    }
    assert!(took(since, tokio::time::Instant::now(), SEC * 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_has_failed_and_comes_again() {
    let script = Script::new();
    let layers = ServiceBuilder::new().layer(LoadShedLayer::new()).concurrency_limit(1);
    let failures = Arc::new(AtomicUsize::new(0));
    let seen = failures.clone();
    let counts = after(move |_, outcome, _| {
        seen.fetch_add(usize::from(outcome.failure().is_some()), Ordering::SeqCst);
    });
    let queue = work().retry(RetryPolicy::fixed(MIN).jitter_percent(0));
    let builder = engine(&script).queue(queue).middleware(counts).middleware(TowerMiddleware::new(layers));
    let engine = builder.start().await.unwrap();
    script.plan("holds", [Play::Hold]);
    let holds = engine.enqueue(step("holds")).await.unwrap();
    script.started("holds", 1).await;
    let shed = engine.enqueue(step("shed")).await.unwrap();
    while shed.status().await.unwrap().failures == 0 {
        tokio::task::yield_now().await;
    }
    assert!(script.attempts("shed").is_empty() && failures.load(Ordering::SeqCst) == 1);
    script.tell("holds", Play::Succeed);
    holds.wait().await.unwrap();
    assert_eq!(shed.wait().await.unwrap(), "shed");
    assert_eq!(script.attempts("shed"), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_the_handler_says_comes_through_as_it_is() {
    let script = Script::new();
    let builder = engine(&script).queue(work().retry(RetryPolicy::fixed(SEC)));
    let engine = builder.tower_layer(ServiceBuilder::new().timeout(MIN).concurrency_limit(1)).start().await.unwrap();
    script.plan("a", [Play::Panic, Play::Snooze(SEC), Play::Output("through".to_owned())]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "through");
    script.plan("b", [Play::Permanent]);
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("b")).and_wait().await else { panic!("dead") };
    assert_eq!(failure.kind, FailureKind::Permanent);
}

#[tokio::test(start_paused = true)]
async fn around_a_blocking_handler_it_is_refused_and_around_another_kind_it_is_not() {
    let script = Script::new();
    let all = builder(&script, MemoryJournal::new()).queue(work()).tower_layer(TimeoutLayer::new(MIN));
    let Err(StartError::Config(ConfigError::BlockingUnderAsync(kind))) = all.start().await else { panic!("refused") };
    assert_eq!(kind, "block");
    let layer = TowerMiddleware::new(TimeoutLayer::new(MIN));
    let one = builder(&script, MemoryJournal::new()).queue(work()).middleware_for::<Step>(layer);
    let engine = one.start().await.unwrap();
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
}
