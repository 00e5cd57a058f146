//! A queue that promises when a ready job is started: late or not is told, and nothing else changes.

use windlass::{QueueConfig, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, work};

/// I5: by the clock that nobody sets.
#[tokio::test(start_paused = true)]
async fn a_queue_is_late_once_a_ready_job_has_waited_longer_than_promised() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).start_within(SEC * 30)).await;
    let late = async || {
        let stats = engine.stats().await.unwrap();
        (stats[0].start_within_ms, stats[0].oldest_ready_ms, stats[0].is_late)
    };
    assert_eq!(late().await, (Some(30_000), None, false));
    script.plan("first", [Play::Hold]);
    engine.enqueue(step("first")).await.unwrap();
    script.started("first", 1).await;
    let second = engine.enqueue(step("second")).await.unwrap();
    tokio::time::advance(SEC * 30).await;
    assert_eq!(late().await, (Some(30_000), Some(30_000), false));
    tokio::time::advance(SEC / 1_000).await;
    assert_eq!(late().await, (Some(30_000), Some(30_001), true));
    script.tell("first", Play::Succeed);
    second.wait().await.unwrap();
    assert_eq!(late().await, (Some(30_000), None, false));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_promises_nothing_is_never_late() {
    let script = Script::new();
    let engine = start(&script, QueueConfig::new("work").concurrency(1)).await;
    script.plan("first", [Play::Hold]);
    engine.enqueue(step("first")).await.unwrap();
    script.started("first", 1).await;
    engine.enqueue(step("second")).await.unwrap();
    tokio::time::advance(SEC * 1_000_000).await;
    let stats = engine.stats().await.unwrap();
    assert_eq!((stats[0].start_within_ms, stats[0].is_late), (None, false));
    assert!(stats[0].oldest_ready_ms.is_some());
}
