//! The retry budget: what has failed does not hold up what comes in after it, and has all there is when nothing else waits.

use std::time::Duration;

use windlass::{Draft, JobState, QueueConfig, RetryPolicy, SEC, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, work};

fn queue() -> QueueConfig {
    work().concurrency(1).retry(RetryPolicy::fixed(SEC).jitter_percent(0))
}

/// So many jobs fail once; when they are due again, twenty that are new stand behind them. The order in which all of them run.
async fn order_after_an_outage(queue: QueueConfig, failed: usize) -> Vec<String> {
    let script = Script::new();
    let engine = start(&script, queue).await;
    script.plan("old", std::iter::repeat_n(Play::Fail, failed).chain([Play::Succeed]));
    engine.enqueue_all((0..failed).map(|_| Draft::new(&step("old")))).await.unwrap();
    script.returned("old", failed).await;
    script.plan("gate", [Play::Hold]);
    engine.enqueue(step("gate")).await.unwrap();
    script.started("gate", 1).await;
    tokio::time::advance(SEC * 2).await;
    while engine.stats().await.unwrap()[0].ready < failed as u64 {
        tokio::task::yield_now().await;
    }
    let mut jobs = engine.enqueue_all((0..20).map(|_| Draft::new(&step("new")))).await.unwrap();
    script.tell("gate", Play::Succeed);
    script.returned("old", 2 * failed).await;
    let last = jobs.pop().unwrap();
    engine.handle::<windlass_tests::script::Step>(last.id).wait().await.unwrap();
    script.order().into_iter().skip(failed + 1).collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_retries_keep_their_place_in_line() {
    let order = order_after_an_outage(queue(), 10).await;
    assert!(order[..10].iter().all(|name| name == "old"), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_have_at_most_their_share_as_long_as_others_wait_and_then_all() {
    let order = order_after_an_outage(queue().retry_budget_percent(20), 10).await;
    // One in five: four at the first, each followed by four others, and one that is left of the budget.
    let new_are_done = order.iter().rposition(|name| name == "new").unwrap();
    let old_before = order[..new_are_done].iter().filter(|name| *name == "old").count();
    assert!((4..=6).contains(&old_before), "{order:?}");
    for start in 0..new_are_done {
        let some = &order[start..new_are_done.min(start + 10)];
        let old = some.iter().filter(|name| *name == "old").count();
        assert!(old <= 3, "{old} retries in {some:?}");
    }
    assert_eq!(order.iter().filter(|name| *name == "old").count(), 10, "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn with_nothing_for_retries_they_go_when_nobody_else_waits() {
    let order = order_after_an_outage(queue().retry_budget_percent(0), 3).await;
    assert!(order[..20].iter().all(|name| name == "new"), "{order:?}");
    assert_eq!(order[20..], ["old", "old", "old"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_waits_for_others_says_so() {
    let script = Script::new();
    let engine = start(&script, queue().retry_budget_percent(0)).await;
    script.plan("old", [Play::Fail, Play::Succeed]);
    let old = engine.enqueue(step("old")).await.unwrap();
    script.returned("old", 1).await;
    script.plan("new", [Play::Hold]);
    engine.enqueue(step("new")).await.unwrap();
    engine.enqueue(step("new")).await.unwrap();
    script.started("new", 1).await;
    tokio::time::advance(SEC + Duration::from_millis(10)).await;
    let is_ready = async || old.status().await.unwrap().state == JobState::Ready;
    while !is_ready().await {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(old.status().await.unwrap().why, Some(Why::RetryBudget { percent: 0 }));
}
