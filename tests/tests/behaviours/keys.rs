//! Limit keys: those of one queue take turns, each may have limits, and nobody waits behind one that may not go.

use std::time::Duration;

use tokio::time::Instant;
use windlass::{EnqueueError, Limit, LimitOf, Priority, QueueConfig, RateLimit, SEC, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, start, work};

/// One at a time, and the first one is held: what is enqueued until it is told to go stands in line.
fn one_at_a_time() -> QueueConfig {
    work().concurrency(1)
}

/// Enqueues so many for each key, in this order, and gives the order in which they ran.
async fn order_of(queue: QueueConfig, keys: &[(&str, usize)]) -> Vec<String> {
    let script = Script::new();
    script.plan("gate", [Play::Hold]);
    let engine = start(&script, queue).await;
    let gate = engine.enqueue(step("gate")).limit_key("gate").await.unwrap();
    script.started("gate", 1).await;
    let mut jobs = Vec::new();
    for (key, times) in keys {
        for _ in 0..*times {
            let job = engine.enqueue(step(key));
            jobs.push(if key.is_empty() { job.await } else { job.limit_key(*key).await }.unwrap());
        }
    }
    script.tell("gate", Play::Succeed);
    gate.wait().await.unwrap();
    for job in jobs {
        job.wait().await.unwrap();
    }
    script.order().into_iter().skip(1).collect()
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_queue_take_turns() {
    let order = order_of(one_at_a_time(), &[("noisy", 4), ("quiet", 1), ("other", 2)]).await;
    assert_eq!(order, ["noisy", "quiet", "other", "noisy", "other", "noisy", "noisy"]);
}

#[tokio::test(start_paused = true)]
async fn those_without_a_key_take_a_turn_together() {
    let order = order_of(one_at_a_time(), &[("", 3), ("a", 2)]).await;
    assert_eq!(order, ["", "a", "", "a", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_more_weight_has_more_starts_in_its_turn() {
    let order = order_of(one_at_a_time().key_weight("large", 3), &[("small", 3), ("large", 5)]).await;
    assert_eq!(order, ["small", "large", "large", "large", "small", "large", "large", "small"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_one_key_costs_another_one_no_more_than_a_turn() {
    let order = order_of(one_at_a_time(), &[("noisy", 10_000), ("quiet", 1)]).await;
    assert_eq!(order.iter().position(|key| key == "quiet"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_most_urgent_goes_first_whosever_turn_it_is() {
    let script = Script::new();
    script.plan("gate", [Play::Hold]);
    let engine = start(&script, one_at_a_time()).await;
    engine.enqueue(step("gate")).await.unwrap();
    script.started("gate", 1).await;
    let usual = engine.enqueue(step("quiet")).limit_key("quiet").await.unwrap();
    for _ in 0..3 {
        engine.enqueue(step("urgent")).limit_key("noisy").priority(Priority::URGENT).await.unwrap();
    }
    script.tell("gate", Play::Succeed);
    usual.wait().await.unwrap();
    assert_eq!(script.order(), ["gate", "urgent", "urgent", "urgent", "quiet"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_over_its_concurrency_steps_aside_and_says_why() {
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let queue = work().concurrency(4).per_key(Limit::new().concurrency(2));
    let engine = start(&script, queue).await;
    for _ in 0..2 {
        engine.enqueue(step("a")).limit_key("a").await.unwrap();
    }
    script.started("a", 2).await;
    let third = engine.enqueue(step("a")).limit_key("a").await.unwrap();
    // Nobody waits behind it.
    engine.enqueue(step("b")).limit_key("b").and_wait().await.unwrap();
    engine.enqueue(step("c")).and_wait().await.unwrap();
    let why = third.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { of: LimitOf::Key(..), running: 2, slots: 2 })), "{why:?}");
    assert_eq!(script.starts("a").len(), 2);
    // It comes back the moment it may.
    script.tell("a", Play::Succeed);
    script.started("a", 3).await;
}

#[tokio::test(start_paused = true)]
async fn one_key_may_have_limits_of_its_own_or_none() {
    let script = Script::new();
    for name in ["closed", "free", "usual"] {
        script.plan(name, [Play::Hold]);
    }
    let queue = work()
        .concurrency(50)
        .per_key(Limit::new().concurrency(1))
        .key("closed", Limit::new().concurrency(0))
        .key("free", Limit::new());
    let engine = start(&script, queue).await;
    let closed = engine.enqueue(step("closed")).limit_key("closed").await.unwrap();
    for name in ["free", "usual"] {
        for _ in 0..3 {
            engine.enqueue(step(name)).limit_key(name).await.unwrap();
        }
    }
    script.started("free", 3).await;
    script.started("usual", 1).await;
    let why = closed.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { of: LimitOf::Key(..), running: 0, slots: 0 })), "{why:?}");
    assert_eq!((script.starts("closed").len(), script.starts("usual").len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_over_its_rate_steps_aside_until_the_moment_it_may() {
    let script = Script::new();
    let queue = work().per_key(Limit::new().rate_limit(RateLimit::new(1, SEC * 2)));
    let engine = start(&script, queue).await;
    let began = Instant::now();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(engine.enqueue(step("a")).limit_key("a").await.unwrap());
    }
    let last = jobs.pop().unwrap();
    let why = last.status().await.unwrap().why;
    assert!(
        matches!(why, Some(Why::Rate { of: LimitOf::Key(..), jobs: 1, period_ms: 2_000, next_ms: 1..=2_000 })),
        "{why:?}"
    );
    engine.enqueue(step("other")).and_wait().await.unwrap();
    assert!(Instant::now() - began < Duration::from_millis(50), "nobody waits behind a key");
    last.wait().await.unwrap();
    let after: Vec<_> = script.starts("a").iter().map(|start| (*start - began).as_secs()).collect();
    assert_eq!(after, [2, 4, 6]);
    // A key that nobody knew has its whole burst: what an earlier process started would be over by now.
    engine.enqueue(step("b")).limit_key("b").and_wait().await.unwrap();
    assert!(script.starts("b")[0] - script.starts("a")[2] < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_job_of_weight_counts_for_as_many_starts() {
    let script = Script::new();
    let engine = start(&script, work().rate_limit(RateLimit::new(10, SEC).burst(4))).await;
    engine.enqueue(step("first")).delay(SEC * 10).and_wait().await.unwrap();
    let began = Instant::now() + SEC;
    let mut jobs = Vec::new();
    for weight in [3, 2, 20, 1] {
        let job = engine.enqueue(step("a")).delay(SEC).weight(weight);
        jobs.push(job.await.unwrap());
    }
    for job in jobs {
        job.wait().await.unwrap();
    }
    let after: Vec<_> = script.starts("a").iter().map(|start| (*start - began).as_millis() / 100).collect();
    // Of four that are there the first takes three; one more makes two; the heavy one goes once four are there, and owes sixteen.
    assert_eq!(after, [0, 1, 5, 22]);
}

#[test]
fn a_process_that_died_forgot_whose_turn_it_was_and_not_whose_jobs_they_are() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold]);
    let queue = || work().concurrency(8).per_key(Limit::new().concurrency(1));
    world.life(async |life| {
        let engine = life.start(queue()).await;
        for name in ["a", "a", "a", "b"] {
            engine.enqueue(step(name)).limit_key(name).weight(2).await.unwrap();
        }
        life.script.started("a", 1).await;
    });
    world.life(async |life| {
        let engine = life.start(queue()).await;
        life.script.started("a", 2).await;
        assert_eq!(life.script.starts("a").len(), 2, "one of the key at a time, in each life");
        let page = engine.jobs(windlass::Filter::new().state(windlass::JobState::Ready)).await.unwrap();
        let detail = engine.inspect(page.jobs[0].id).await.unwrap();
        assert_eq!((detail.limit_key.as_deref(), detail.weight), (Some("a"), 2));
    });
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_or_too_much_is_refused() {
    let engine = start(&Script::new(), work()).await;
    let long = "x".repeat(129);
    for key in ["", long.as_str()] {
        let refused = engine.enqueue(step("a")).limit_key(key).await.unwrap_err();
        let says = format!("bytes of a limit key: {} given, 1 to 128 allowed", key.len());
        assert!(matches!(refused, EnqueueError::Range(_)) && refused.to_string().contains(&says), "{refused}");
    }
    for weight in [0, 1_001] {
        let refused = engine.enqueue(step("a")).weight(weight).await.unwrap_err();
        assert!(refused.to_string().contains(&format!("weight: {weight} given, 1 to 1000 allowed")), "{refused}");
    }
}
