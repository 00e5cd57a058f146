//! Circuit breakers: what fails rests, without a loss and without using up attempts, and comes back once it works again.

use std::time::Duration;

use windlass::{
    Circuit, CircuitBreaker, ConfigError, Engine, JobState, Limit, LimitOf, MIN, MemoryJournal, QueueConfig,
    RetryPolicy, SEC, SharedLimit, Why,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, took, work};

/// Two of three.
fn breaker() -> CircuitBreaker {
    CircuitBreaker::new(2, 3).pause(SEC * 10).pause_max(SEC * 30)
}

/// One at a time, and each job tries once.
fn queue() -> QueueConfig {
    work().concurrency(1).retry(RetryPolicy::never())
}

async fn circuit(engine: &Engine) -> Circuit {
    engine.stats().await.unwrap()[0].circuit.expect("it has a breaker")
}

async fn run(engine: &Engine, script: &Script, name: &str, play: Play) {
    script.plan(name, [play, Play::Succeed]);
    let _ = engine.enqueue(step(name)).and_wait().await;
}

#[tokio::test(start_paused = true)]
async fn it_opens_when_most_attempts_fail_and_closes_when_one_that_tries_succeeds() {
    let script = Script::new();
    let engine = start(&script, queue().circuit_breaker(breaker())).await;
    run(&engine, &script, "first", Play::Fail).await;
    run(&engine, &script, "second", Play::Succeed).await;
    assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 1 });
    run(&engine, &script, "third", Play::Fail).await;
    let opened = tokio::time::Instant::now();
    assert!(matches!(circuit(&engine).await, Circuit::Open { .. }));
    script.plan("tries", [Play::Hold]);
    let tries = engine.enqueue(step("tries")).await.unwrap();
    let next = engine.enqueue(step("next")).await.unwrap();
    let status = tries.status().await.unwrap();
    assert!(
        matches!(status.why, Some(Why::Breaker { of: LimitOf::Queue(_), left_ms: Some(1..=10_000) })),
        "{status:?}"
    );
    assert_eq!((status.state, status.attempts), (JobState::Ready, 0), "nothing of it is used up");
    script.started("tries", 1).await;
    assert!(took(opened, script.starts("tries")[0], SEC * 10));
    assert_eq!(circuit(&engine).await, Circuit::HalfOpen { passed: 0 });
    assert_eq!(next.status().await.unwrap().why, Some(Why::Breaker { of: LimitOf::queue("work"), left_ms: None }));
    script.tell("tries", Play::Succeed);
    next.wait().await.unwrap();
    assert!(took(opened, tokio::time::Instant::now(), SEC * 10));
    assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 0 });
}

#[tokio::test(start_paused = true)]
async fn each_time_that_one_that_tries_fails_it_rests_twice_as_long_up_to_the_longest_pause() {
    let script = Script::new();
    let engine = start(&script, queue().circuit_breaker(breaker())).await;
    script.plan("bad", vec![Play::Fail; 5]);
    let jobs = engine.enqueue_all((0..5).map(|_| windlass::Draft::new(&step("bad")))).await.unwrap();
    script.returned("bad", jobs.len()).await;
    let starts = script.starts("bad");
    let rests: Vec<_> = starts.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    assert_eq!(rests, [0, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn all_of_those_that_try_have_to_succeed() {
    let script = Script::new();
    let engine = start(&script, queue().concurrency(8).circuit_breaker(breaker().probes(2))).await;
    for _ in 0..2 {
        run(&engine, &script, "bad", Play::Fail).await;
    }
    script.plan("job", [Play::Hold, Play::Hold, Play::Hold]);
    let jobs = engine.enqueue_all((0..4).map(|_| windlass::Draft::new(&step("job")))).await.unwrap();
    script.started("job", 2).await;
    script.tell("job", Play::Succeed);
    script.returned("job", 1).await;
    assert_eq!(circuit(&engine).await, Circuit::HalfOpen { passed: 1 });
    assert_eq!(script.starts("job").len(), 2, "no third one tries");
    script.tell("job", Play::Succeed);
    script.started("job", jobs.len()).await;
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_world_outside_does_not_count() {
    let script = Script::new();
    let engine = start(&script, queue().circuit_breaker(breaker())).await;
    run(&engine, &script, "fails", Play::Fail).await;
    run(&engine, &script, "bad payload", Play::Permanent).await;
    run(&engine, &script, "called off", Play::CallOff).await;
    run(&engine, &script, "later", Play::Snooze(SEC)).await;
    // The one after the snooze was a success.
    assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 1 });
    run(&engine, &script, "panics", Play::Panic).await;
    assert!(matches!(circuit(&engine).await, Circuit::Open { .. }), "a panic counts, and the first one still does");
    // One that tries and says nothing leaves its place to another one.
    script.plan("says nothing", [Play::Permanent]);
    let jobs = ["says nothing", "works"].map(|name| windlass::Draft::new(&step(name)));
    engine.enqueue_all(jobs).await.unwrap();
    script.returned("works", 1).await;
    assert_eq!(script.starts("works")[0], script.starts("says nothing")[0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_rests_alone() {
    let script = Script::new();
    let engine = start(&script, queue().per_key(Limit::new().circuit_breaker(breaker()))).await;
    script.plan("dead", vec![Play::Fail; 2]);
    for _ in 0..2 {
        engine.enqueue(step("dead")).limit_key("dead.example").and_wait().await.unwrap_err();
    }
    let opened = tokio::time::Instant::now();
    let rests = engine.enqueue(step("rests")).limit_key("dead.example").await.unwrap();
    engine.enqueue(step("works")).limit_key("alive.example").and_wait().await.unwrap();
    assert!(took(opened, tokio::time::Instant::now(), Duration::ZERO));
    let why = rests.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::Breaker { of: LimitOf::Key(..), left_ms: Some(1..=10_000) })), "{why:?}");
    let limits = engine.limits().await.unwrap();
    let open: Vec<_> = limits.iter().filter(|limit| matches!(limit.circuit, Some(Circuit::Open { .. }))).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0].of, LimitOf::key("work", "dead.example"));
    rests.wait().await.unwrap();
    assert!(took(opened, tokio::time::Instant::now(), SEC * 10));
}

#[tokio::test(start_paused = true)]
async fn queues_that_share_what_fails_rest_together() {
    let script = Script::new();
    let other = QueueConfig::new("other").shares("api");
    let shared = SharedLimit::new("api").circuit_breaker(breaker());
    let builder = builder(&script, MemoryJournal::new()).shared_limit(shared);
    let engine = builder.queue(queue().shares("api")).queue(other).start().await.unwrap();
    for _ in 0..2 {
        run(&engine, &script, "bad", Play::Fail).await;
    }
    let opened = tokio::time::Instant::now();
    let other = engine.enqueue(step("other")).queue("other").await.unwrap();
    let why = other.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::Breaker { of: LimitOf::Shared(_), left_ms: Some(_) })), "{why:?}");
    other.wait().await.unwrap();
    assert!(took(opened, tokio::time::Instant::now(), SEC * 10));
}

#[tokio::test(start_paused = true)]
async fn what_has_failed_is_forgotten_after_the_longest_pause_without_a_word() {
    let script = Script::new();
    let engine = start(&script, queue().circuit_breaker(breaker())).await;
    run(&engine, &script, "bad", Play::Fail).await;
    tokio::time::advance(SEC * 31).await;
    assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 0 });
    run(&engine, &script, "bad", Play::Fail).await;
    assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 1 });
}

#[test]
fn a_process_begins_with_closed_breakers_and_loses_nothing() {
    let mut world = World::new();
    world.script.plan("bad", vec![Play::Fail; 2]);
    world.life(async |life| {
        let engine = life.start(queue().circuit_breaker(breaker())).await;
        for _ in 0..2 {
            engine.enqueue(step("bad")).and_wait().await.unwrap_err();
        }
        assert!(matches!(circuit(&engine).await, Circuit::Open { .. }));
        engine.enqueue(step("job")).await.unwrap();
    });
    world.life(async |life| {
        let since = tokio::time::Instant::now();
        let engine = life.start(queue().circuit_breaker(breaker())).await;
        life.script.returned("job", 1).await;
        assert!(took(since, tokio::time::Instant::now(), Duration::ZERO));
        assert_eq!(circuit(&engine).await, Circuit::Closed { failures: 0 });
        engine.shutdown(MIN).await.unwrap();
    });
}

#[test]
fn a_breaker_that_cannot_be_is_refused_with_its_numbers() {
    let wrong = [
        (CircuitBreaker::new(0, 10), "circuit_breaker.failures"),
        (CircuitBreaker::new(11, 10), "circuit_breaker.attempts"),
        (CircuitBreaker::new(1, 1_001), "circuit_breaker.attempts"),
        (breaker().pause(Duration::ZERO), "circuit_breaker.pause in ms"),
        (breaker().pause_max(SEC), "circuit_breaker.pause_max in ms"),
        (breaker().probes(0), "circuit_breaker.probes"),
    ];
    for (breaker, expected) in wrong {
        let of_keys = Limit::new().circuit_breaker(breaker);
        for queue in [queue().circuit_breaker(breaker), queue().per_key(of_keys), queue().key("a", of_keys)] {
            let error = Engine::builder().queue(queue).effective_config().unwrap_err();
            assert!(matches!(error, ConfigError::Range { field, .. } if field == expected), "{error}");
        }
    }
    let error = Engine::builder().queue(queue().retry_budget_percent(101)).effective_config().unwrap_err();
    assert!(matches!(error, ConfigError::Range { field: "retry_budget_percent", .. }), "{error}");
}
