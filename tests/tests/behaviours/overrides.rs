//! Limits at run time: what an operator sets counts over the code at once and across restarts, is seen, and can be reset.

use windlass::{
    ControlError, Engine, Limit, LimitOf, LimitView, MemoryJournal, Override, QueueConfig, RateLimit, Refusal, SEC,
    SharedLimit, Why,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, work};

async fn limit(engine: &Engine, of: &LimitOf) -> Option<LimitView> {
    engine.limits().await.unwrap().into_iter().find(|limit| limit.of == *of)
}

/// So many held attempts of this name run, and no more may.
async fn are_held(script: &Script, engine: &Engine, name: &str, attempts: usize) {
    script.started(name, attempts).await;
    // Whatever could start would have, by the time that a later question is answered.
    engine.stats().await.unwrap();
    assert_eq!(script.starts(name).len(), attempts);
}

#[test]
fn an_operator_s_concurrency_counts_at_once_and_across_restarts_until_it_is_reset() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold]);
    let of = LimitOf::queue("work");
    world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        for _ in 0..5 {
            engine.enqueue(step("a")).await.unwrap();
        }
        are_held(&life.script, &engine, "a", 1).await;
        engine.override_limit(of.clone(), Override::new().concurrency(3)).await.unwrap();
        are_held(&life.script, &engine, "a", 3).await;
        assert_eq!(engine.stats().await.unwrap()[0].slots, 3);
    });
    world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        are_held(&life.script, &engine, "a", 6).await;
        let seen = limit(&engine, &of).await.unwrap();
        assert_eq!((seen.configured.slots, seen.overridden.and_then(|over| over.slots)), (Some(1), Some(3)));
        assert_eq!(seen.running, 3);
        engine.reset_limit(of.clone()).await.unwrap();
        assert_eq!(limit(&engine, &of).await.unwrap().overridden, None);
        // What runs goes on; the next one waits until fewer than one run.
        for _ in 0..2 {
            life.script.tell("a", Play::Succeed);
        }
        life.script.returned("a", 2).await;
        are_held(&life.script, &engine, "a", 6).await;
    });
    world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        are_held(&life.script, &engine, "a", 7).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_rate_can_be_set_changed_and_taken_away() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let of = LimitOf::queue("work");
    engine.override_limit(of.clone(), Override::new().rate_limit(RateLimit::new(1, SEC * 3_600))).await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    let why = job.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::Rate { jobs: 1, period_ms: 3_600_000, .. })), "{why:?}");
    engine.override_limit(of.clone(), Override::new().rate_limit(RateLimit::new(2, SEC))).await.unwrap();
    let began = tokio::time::Instant::now();
    job.wait().await.unwrap();
    assert!((SEC / 2..SEC).contains(&(tokio::time::Instant::now() - began)), "it began with nothing in hand");
    engine.reset_limit(of).await.unwrap();
    for _ in 0..20 {
        engine.enqueue(step("b")).await.unwrap();
    }
    script.returned("b", 20).await;
    assert!(tokio::time::Instant::now() - began < SEC, "no rate any more");
}

#[tokio::test(start_paused = true)]
async fn one_customer_can_be_held_up_and_let_go() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let of = LimitOf::key("work", "noisy");
    engine.override_limit(of.clone(), Override::new().concurrency(0)).await.unwrap();
    let held = engine.enqueue(step("noisy")).limit_key("noisy").await.unwrap();
    engine.enqueue(step("quiet")).limit_key("quiet").and_wait().await.unwrap();
    let why = held.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { running: 0, slots: 0, .. })), "{why:?}");
    engine.reset_limit(of).await.unwrap();
    held.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn limits_of_each_key_and_of_what_is_shared_can_be_set_while_attempts_run() {
    let script = Script::new();
    for name in ["a", "b"] {
        script.plan(name, [Play::Hold]);
    }
    let builder = builder(&script, MemoryJournal::new()).shared_limit(SharedLimit::new("api"));
    let engine = builder.queue(work().shares("api")).start().await.unwrap();
    let enqueue = async |name: &str| engine.enqueue(step(name)).limit_key(name).await.unwrap();
    for name in ["a", "a"] {
        enqueue(name).await;
    }
    are_held(&script, &engine, "a", 2).await;
    // What runs counts for a limit that comes later.
    for of in [LimitOf::each_key("work"), LimitOf::shared_each_key("api")] {
        engine.override_limit(of.clone(), Override::new().concurrency(2)).await.unwrap();
        let third = enqueue("a").await;
        let why = third.status().await.unwrap().why;
        assert!(matches!(why, Some(Why::LimitInUse { running: 2, slots: 2, .. })), "{of}: {why:?}");
        third.cancel().await.unwrap();
        engine.reset_limit(of).await.unwrap();
    }
    enqueue("b").await;
    are_held(&script, &engine, "b", 1).await;
    engine.override_limit(LimitOf::shared("api"), Override::new().concurrency(3)).await.unwrap();
    let fourth = enqueue("b").await;
    let why = fourth.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { of: LimitOf::Shared(_), running: 3, slots: 3 })), "{why:?}");
    engine.override_limit(LimitOf::shared_key("api", "b"), Override::new().concurrency(1)).await.unwrap();
    engine.override_limit(LimitOf::shared("api"), Override::new().concurrency(9)).await.unwrap();
    let why = fourth.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { running: 1, slots: 1, .. })), "{why:?}");
    let seen = limit(&engine, &LimitOf::shared_key("api", "b")).await.unwrap();
    assert_eq!((seen.running, seen.overridden.and_then(|over| over.slots)), (1, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_weight_counts_from_the_next_turn_on() {
    let script = Script::new();
    script.plan("gate", [Play::Hold]);
    let engine = start(&script, work().concurrency(1)).await;
    engine.enqueue(step("gate")).await.unwrap();
    script.started("gate", 1).await;
    let mut jobs = Vec::new();
    for (name, times) in [("a", 2), ("b", 4)] {
        for _ in 0..times {
            jobs.push(engine.enqueue(step(name)).limit_key(name).await.unwrap());
        }
    }
    engine.override_limit(LimitOf::key("work", "b"), Override::new().weight(2)).await.unwrap();
    script.tell("gate", Play::Succeed);
    for job in jobs {
        job.wait().await.unwrap();
    }
    assert_eq!(script.order(), ["gate", "a", "b", "a", "b", "b", "b"]);
}

#[test]
fn what_is_set_over_a_queue_that_a_build_has_not_stands_and_can_be_reset() {
    let mut world = World::new();
    let of = LimitOf::key("other", "a");
    world.life(async |life| {
        let other = QueueConfig::new("other").per_key(Limit::new().concurrency(2));
        let engine = life.builder().queue(work()).queue(other).start().await.unwrap();
        engine.override_limit(of.clone(), Override::new().concurrency(7)).await.unwrap();
        let each = limit(&engine, &LimitOf::each_key("other")).await.unwrap();
        assert_eq!((each.configured.slots, each.overridden), (Some(2), None));
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        let seen = limit(&engine, &of).await.unwrap();
        assert_eq!((seen.configured.slots, seen.overridden.and_then(|over| over.slots)), (None, Some(7)));
        engine.reset_limit(of.clone()).await.unwrap();
        assert_eq!(limit(&engine, &of).await, None);
    });
}

#[tokio::test(start_paused = true)]
async fn an_override_of_nothing_or_out_of_its_range_is_refused() {
    let engine = start(&Script::new(), work()).await;
    let set = async |of: LimitOf, change: Override| engine.override_limit(of, change).await.unwrap_err();
    let slower = || Override::new().concurrency(1);
    let refused = set(LimitOf::queue("nowhere"), slower()).await;
    assert!(matches!(refused, ControlError::Refused(Refusal::NoQueue { .. })), "{refused}");
    let refused = set(LimitOf::shared_key("api", "a"), slower()).await;
    assert!(matches!(refused, ControlError::Refused(Refusal::NoSharedLimit { .. })), "{refused}");
    let out_of_range = [
        (LimitOf::queue("work"), Override::new().concurrency(0)),
        (LimitOf::key("work", ""), slower()),
        (LimitOf::key("work", "a"), Override::new().weight(0)),
        (LimitOf::each_key("work"), Override::new().concurrency(100_001)),
        (LimitOf::queue("work"), Override::new().rate_limit(RateLimit::new(0, SEC))),
    ];
    for (of, change) in out_of_range {
        let refused = set(of.clone(), change).await;
        assert!(matches!(refused, ControlError::Range(_)), "{of}: {refused}");
    }
    assert!(engine.limits().await.unwrap().iter().all(|limit| limit.overridden.is_none()));
}
