//! Two clocks: what is relative follows the one that nobody can set, what is a date follows the wall.

use tokio::time::Instant;
use windlass::{HOUR, JobState, MIN, SEC, WaitError};
use windlass_tests::script::{Play, step};
use windlass_tests::world::{World, took, wall, work};

/// I5: mono drives leases, timeouts and, while the process lives, relative delays; wall drives dates and expiry. A jump
/// re-arms everything.
#[test]
fn a_wall_clock_that_jumps_forward_moves_dates_and_no_delays() {
    World::new().life(async |life| {
        let engine = life.start(work().attempt_timeout(MIN * 10)).await;
        life.script.plan("long", [Play::until_cancelled(Play::Succeed)]);
        let before = Instant::now();
        let long = engine.enqueue(step("long")).await.unwrap();
        let dated = engine.enqueue(step("dated")).at(wall(HOUR)).await.unwrap();
        let delayed = engine.enqueue(step("delayed")).delay(HOUR).await.unwrap();
        let expires = engine.enqueue(step("expires")).delay(HOUR * 2).expires_in(MIN * 30).await.unwrap();
        life.clock.jump_forward_ms(3_600_000);
        dated.wait().await.unwrap();
        assert!(Instant::now() - before < SEC * 3);
        assert!(matches!(expires.wait().await, Err(WaitError::Expired { .. })));
        assert!(Instant::now() - before < SEC * 3);
        long.wait().await.unwrap();
        assert!(took(before, Instant::now(), MIN * 10));
        delayed.wait().await.unwrap();
        assert!(took(before, life.script.starts("delayed")[0], HOUR));
    });
}

/// I5
#[test]
fn a_wall_clock_that_jumps_back_holds_dates_and_no_delays() {
    World::new().life(async |life| {
        let engine = life.start(work()).await;
        let before = Instant::now();
        let dated = engine.enqueue(step("dated")).at(wall(MIN)).await.unwrap();
        let delayed = engine.enqueue(step("delayed")).delay(MIN * 2).await.unwrap();
        life.clock.jump_back_ms(3_600_000);
        delayed.wait().await.unwrap();
        assert!(took(before, life.script.starts("delayed")[0], MIN * 2));
        assert_eq!(dated.status().await.unwrap().state, JobState::Delayed);
        dated.wait().await.unwrap();
        let waited = life.script.starts("dated")[0] - before;
        assert!((MIN * 61..MIN * 61 + SEC * 2).contains(&waited), "{waited:?}");
    });
}

/// I5: what survives a restart is stored as wall time.
#[test]
fn a_relative_delay_becomes_a_date_when_the_process_dies() {
    let mut world = World::new();
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.enqueue(step("a")).delay(HOUR).await.unwrap();
        tokio::time::advance(MIN * 10).await;
    });
    world.pass(MIN * 20);
    world.life(async |life| {
        let _engine = life.start(work()).await;
        let before = Instant::now();
        life.script.started("a", 1).await;
        assert!(took(before, life.script.starts("a")[0], MIN * 30));
    });
}

#[test]
fn a_process_that_starts_in_the_past_still_runs_what_was_ready() {
    let mut world = World::new();
    world.life(async |life| {
        life.clock.jump_forward_ms(86_400_000);
        let engine = life.start(work()).await;
        engine.pause("work").await.unwrap();
        engine.enqueue(step("a")).await.unwrap();
        engine.resume("work").await.unwrap_or(());
        life.clock.jump_back_ms(86_400_000 * 2);
    });
    world.life(async |life| {
        let _engine = life.start(work()).await;
        life.script.returned("a", 1).await;
    });
}
