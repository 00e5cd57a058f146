//! Rates: so many starts in a time, whatever waits, fails or dies; and nobody is refused for it.

use std::time::Duration;

use tokio::time::Instant;
use windlass::{LimitOf, MIN, RateLimit, RetryPolicy, SEC, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, start, work};

/// Whether these starts are so far apart, to some milliseconds.
fn are_apart(starts: &[Instant], by: Duration) -> bool {
    starts.windows(2).all(|two| (by..by + Duration::from_millis(5)).contains(&(two[1] - two[0])))
}

#[tokio::test(start_paused = true)]
async fn starts_come_at_even_distances_and_slots_stay_free() {
    let script = Script::new();
    let engine = start(&script, work().rate_limit(RateLimit::new(50, SEC))).await;
    let began = Instant::now();
    for _ in 0..200 {
        engine.enqueue(step("a")).await.unwrap();
    }
    let last = engine.enqueue(step("last")).await.unwrap();
    let why = last.status().await.unwrap().why;
    assert!(
        matches!(why, Some(Why::Rate { of: LimitOf::Queue(_), jobs: 50, period_ms: 1_000, next_ms: 0..=20 })),
        "{why:?}"
    );
    assert_eq!(last.wait().await.unwrap(), "last");
    let starts = script.starts("a");
    assert!(are_apart(&starts, Duration::from_millis(20)));
    let took = Instant::now() - began;
    assert!((SEC * 4..SEC * 5).contains(&took), "201 starts, 50 a second: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_come_at_once_after_a_time_with_none() {
    let script = Script::new();
    let engine = start(&script, work().rate_limit(RateLimit::new(1, SEC * 10).burst(3))).await;
    // A process begins with nothing in hand.
    let began = Instant::now();
    assert_eq!(engine.enqueue(step("first")).and_wait().await.unwrap(), "first");
    assert!((SEC * 10..SEC * 11).contains(&(Instant::now() - began)));
    engine.enqueue(step("later")).delay(MIN).and_wait().await.unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        engine.enqueue(step("a")).await.unwrap();
    }
    engine.enqueue(step("b")).and_wait().await.unwrap();
    let after: Vec<_> = script.starts("a").iter().map(|start| (*start - began).as_secs()).collect();
    assert_eq!(after, [0, 0, 10, 20], "one of three went to the delayed one");
}

#[tokio::test(start_paused = true)]
async fn retries_are_starts_and_the_most_urgent_goes_first() {
    let script = Script::new();
    let retry = RetryPolicy::fixed(Duration::from_millis(1)).jitter_percent(0).attempts(3);
    let engine = start(&script, work().retry(retry).rate_limit(RateLimit::new(1, SEC))).await;
    script.plan("a", [Play::Fail]);
    let dead = engine.enqueue(step("a")).await.unwrap();
    let low = engine.enqueue(step("low")).priority(windlass::Priority::LOW).await.unwrap();
    let _ = dead.wait().await;
    low.wait().await.unwrap();
    assert!(are_apart(&script.starts("a"), SEC));
    assert_eq!(script.order(), ["a", "a", "a", "low"]);
}

#[test]
fn a_restart_gives_no_more_than_the_rate() {
    let mut world = World::new();
    let limited = || work().rate_limit(RateLimit::new(1, SEC).burst(5));
    for _ in 0..5 {
        world.life(async |life| {
            let engine = life.start(limited()).await;
            for _ in 0..20 {
                engine.enqueue(step("a")).await.unwrap();
            }
            engine.enqueue(step("urgent")).priority(windlass::Priority::URGENT).and_wait().await.unwrap();
        });
    }
    assert_eq!(world.script.starts("a").len(), 0, "the first start of each life was the urgent one");
}
