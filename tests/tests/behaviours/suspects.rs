//! Jobs that kill their process: found among bystanders, and only they are condemned.

use std::future::pending;

use windlass::{ConfigError, Draft, Engine, FailureKind, JobId, JobState, MIN, MemoryJournal, SEC, Why, new_job_id};
use windlass_tests::script::{Play, Step, step};
use windlass_tests::world::{Life, World, work};

const LONG: usize = 200;

/// A job that takes a minute.
fn takes_a_minute() -> Play {
    Play::run(|_| async {
        let _ = tokio::time::timeout(MIN, pending::<()>()).await;
        Ok(String::new())
    })
}

#[test]
fn one_aborting_job_among_two_hundred_long_ones_is_the_only_one_that_dies() {
    let mut world = World::new();
    let killer = new_job_id();
    world.script.plan("long", [takes_a_minute()]);
    world.script.plan("killer", [Play::Hold]);
    let queue = || work().concurrency(300).retry(windlass::RetryPolicy::never());
    let mut deaths = 0;
    world.life(async |life| {
        let engine = life.start(queue()).await;
        engine.pause("work").await.unwrap();
        let long = (0..LONG).map(|_| Draft::new(&step("long")));
        let drafts: Vec<_> = long.clone().take(77).chain([Draft::new(&step("killer")).id(killer)]).collect();
        engine.enqueue_all(drafts).await.unwrap();
        engine.enqueue_all(long.skip(77)).await.unwrap();
        engine.resume("work").await.unwrap();
    });
    // The process dies whenever the killer starts, with everything that runs.
    while !world.life(async |life| {
        let starts = life.script.starts("killer").len();
        let engine = life.start(queue()).await;
        let end = engine.handle::<Step>(killer);
        tokio::select! {
            biased;
            _ = life.script.started("killer", starts + 1) => false,
            end = end.wait() => {
                end.unwrap_err();
                only_the_killer_is_dead(life, &engine, killer).await;
                true
            }
        }
    }) {
        deaths += 1;
        assert!(deaths <= 30, "it is never found out");
    }
}

async fn only_the_killer_is_dead(life: &Life, engine: &Engine, killer: JobId) {
    for _ in 0..LONG {
        tokio::time::advance(MIN).await;
        engine.stats().await.unwrap();
    }
    let stats = &engine.stats().await.unwrap()[0];
    assert_eq!((stats.done, stats.dead, stats.running), (LONG as u64, 1, 0));
    let status = engine.job(killer).await.unwrap();
    assert_eq!(status.state, JobState::Dead);
    let letter = engine.inspect(killer).await.unwrap();
    assert!(letter.attempts.len() >= 3);
    assert!(letter.attempts.iter().all(|end| end.failure().unwrap().kind == FailureKind::Lost));
    // The first process died before the first attempt's code began.
    assert_eq!(life.script.attempts("killer"), (2..=status.attempts).collect::<Vec<_>>());
    assert!(life.script.overlaps().is_empty());
}

#[test]
fn a_job_that_kills_alone_is_dead_after_three_deaths() {
    let mut world = World::new();
    world.script.plan("killer", [Play::Hold]);
    let id = world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        let id = engine.enqueue(step("killer")).await.unwrap().id();
        life.script.started("killer", 1).await;
        id
    });
    for deaths in 2..=3 {
        world.life(async |life| {
            let engine = life.start(work().concurrency(1)).await;
            life.script.started("killer", deaths).await;
            assert_eq!(engine.job(id).await.unwrap().lost as usize, deaths - 1);
        });
    }
    world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        let status = engine.job(id).await.unwrap();
        assert_eq!((status.state, status.attempts), (JobState::Dead, 3));
        assert_eq!(status.failure.unwrap().kind, FailureKind::Lost);
        // Others go on.
        engine.enqueue(step("next")).and_wait().await.unwrap();
    });
}

#[test]
fn a_job_is_dead_after_as_many_deaths_as_the_engine_is_told() {
    let mut world = World::new();
    world.script.plan("killer", [Play::Hold]);
    let start = async |life: &Life| life.builder().queue(work().concurrency(1)).lost_max(5).start().await.unwrap();
    let id = new_job_id();
    for deaths in 0..5 {
        world.life(async |life| {
            let engine = start(life).await;
            engine.enqueue(step("killer")).id(id).await.unwrap();
            life.script.started("killer", deaths + 1).await;
        });
    }
    world.life(async |life| {
        let status = start(life).await.job(id).await.unwrap();
        assert_eq!((status.state, status.attempts), (JobState::Dead, 5));
    });
}

#[tokio::test]
async fn how_many_deaths_it_takes_has_its_range() {
    for (attempts, is_allowed) in [(2, false), (3, true), (u32::MAX, true)] {
        let builder = Engine::builder().journal(MemoryJournal::new()).queue(work()).lost_max(attempts);
        let refused = builder.effective_config().err();
        let says = matches!(refused, Some(ConfigError::Range { field: "lost_max", value: 2, min: 3, .. }));
        assert_eq!((refused.is_none(), says), (is_allowed, !is_allowed), "{refused:?}");
    }
}

#[test]
fn an_attempt_that_ends_clears_the_suspicion() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold, Play::Hold, Play::Snooze(SEC), Play::Hold, Play::Succeed]);
    let id = world.life(async |life| {
        let engine = life.start(work()).await;
        let id = engine.enqueue(step("a")).await.unwrap().id();
        life.script.started("a", 1).await;
        id
    });
    for starts in [2, 4] {
        world.life(async |life| {
            let _engine = life.start(work()).await;
            life.script.started("a", starts).await;
        });
    }
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<Step>(id).wait().await.unwrap();
        assert_eq!(life.script.attempts("a"), [1, 2, 3, 4, 5]);
        assert_eq!(engine.job(id).await.unwrap().state, JobState::Done);
    });
}

#[test]
fn a_suspect_that_waits_for_its_turn_says_so() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.script.plan(name, [Play::Hold]);
    }
    let (_, b) = world.life(async |life| {
        let engine = life.start(work().concurrency(2)).await;
        let drafts = ["a", "b"].map(|name| Draft::new(&step(name)));
        let receipts = engine.enqueue_all(drafts).await.unwrap();
        life.script.started("b", 1).await;
        (receipts[0].id, receipts[1].id)
    });
    world.life(async |life| {
        let _engine = life.start(work().concurrency(2)).await;
        life.script.started("b", 2).await;
    });
    world.life(async |life| {
        let engine = life.start(work().concurrency(2)).await;
        life.script.started("a", 3).await;
        let status = engine.job(b).await.unwrap();
        assert_eq!((status.state, status.why), (JobState::Ready, Some(Why::Suspect { suspects_max: 1 })));
        engine.enqueue(step("bystander")).and_wait().await.unwrap();
        life.script.tell("a", Play::Succeed);
        life.script.started("b", 3).await;
    });
}
