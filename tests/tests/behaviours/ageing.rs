//! Ageing: nobody waits for ever behind those that are more urgent, and the bound is told.

use windlass::{Draft, Limit, MIN, Priority, QueueConfig, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, start, work};

fn ageing() -> QueueConfig {
    work().concurrency(1).ages_after(MIN)
}

/// Runs for ten seconds, and has another urgent one wait before it ends: the queue is never without.
fn keeps_busy() -> Play {
    Play::run(|cx| async move {
        cx.follow_up_with(Draft::new(&step("urgent")).priority(Priority::URGENT))?;
        tokio::time::timeout(SEC * 10, std::future::pending::<()>()).await.unwrap_err();
        Ok(String::new())
    })
}

#[tokio::test(start_paused = true)]
async fn the_least_urgent_job_waits_no_longer_than_the_bound_and_an_attempt() {
    let script = Script::new();
    let engine = start(&script, ageing()).await;
    script.plan("urgent", [keeps_busy()]);
    for _ in 0..2 {
        engine.enqueue(step("urgent")).priority(Priority::URGENT).await.unwrap();
    }
    script.started("urgent", 1).await;
    let began = tokio::time::Instant::now();
    engine.enqueue(step("least")).priority(Priority(255)).and_wait().await.unwrap();
    let waited = tokio::time::Instant::now() - began;
    assert!((MIN..MIN + SEC * 11).contains(&waited), "{waited:?}");
    engine.shutdown(MIN).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_that_have_waited_too_long_go_by_how_long_whosever_they_are() {
    let script = Script::new();
    script.plan("gate", [Play::Hold]);
    let engine = start(&script, ageing()).await;
    engine.enqueue(step("gate")).await.unwrap();
    script.started("gate", 1).await;
    let mut jobs = Vec::new();
    for (name, priority) in [("a", 200), ("a", 100), ("b", 250), ("a", 0)] {
        let name = format!("{name}{priority}");
        jobs.push(engine.enqueue(step(&name)).limit_key("a").priority(Priority(priority)).await.unwrap());
        tokio::time::advance(SEC).await;
    }
    tokio::time::advance(MIN).await;
    jobs.push(engine.enqueue(step("new")).priority(Priority::URGENT).await.unwrap());
    script.tell("gate", Play::Succeed);
    for job in jobs {
        job.wait().await.unwrap();
    }
    assert_eq!(script.order(), ["gate", "a200", "a100", "b250", "a0", "new"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_aged_and_may_not_go_holds_up_nobody() {
    let script = Script::new();
    for name in ["held", "gate"] {
        script.plan(name, [Play::Hold]);
    }
    let queue = work().concurrency(2).ages_after(SEC).per_key(Limit::new().concurrency(1));
    let engine = start(&script, queue).await;
    for name in ["held", "gate"] {
        engine.enqueue(step(name)).limit_key(name).await.unwrap();
        script.started(name, 1).await;
    }
    engine.enqueue(step("second")).limit_key("held").await.unwrap();
    tokio::time::advance(MIN).await;
    let other = engine.enqueue(step("other")).await.unwrap();
    script.tell("gate", Play::Succeed);
    other.wait().await.unwrap();
    assert!(script.starts("second").is_empty());
    script.tell("held", Play::Succeed);
    script.started("second", 1).await;
}

#[test]
fn a_restart_begins_to_count_anew() {
    let mut world = World::new();
    let urgent = |life: &windlass_tests::world::Life| life.script.order().first().cloned();
    world.life(async |life| {
        let engine = life.start(ageing()).await;
        engine.pause("work").await.unwrap();
        engine.enqueue(step("least")).priority(Priority(255)).await.unwrap();
        tokio::time::advance(MIN * 2).await;
    });
    world.life(async |life| {
        let engine = life.start(ageing()).await;
        engine.enqueue(step("urgent")).priority(Priority::URGENT).await.unwrap();
        engine.resume("work").await.unwrap();
        life.script.returned("least", 1).await;
        assert_eq!(urgent(life).as_deref(), Some("urgent"));
    });
}
