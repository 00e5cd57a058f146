//! Limits that several queues share: never more than all of them may, and each has its turn.

use windlass::{ConfigError, Engine, Limit, LimitOf, MemoryJournal, QueueConfig, RateLimit, SEC, SharedLimit, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, work};

fn other() -> QueueConfig {
    QueueConfig::new("other")
}

async fn start(script: &Script, limit: SharedLimit, first: QueueConfig, second: QueueConfig) -> Engine {
    let builder = builder(script, MemoryJournal::new()).shared_limit(limit);
    builder.queue(first.shares("api")).queue(second.shares("api")).start().await.unwrap()
}

/// Holds the limit, enqueues so many into each queue, and gives the order in which they ran.
async fn order_of(limit: SharedLimit, first: QueueConfig, second: QueueConfig) -> Vec<String> {
    let script = Script::new();
    script.plan("gate", [Play::Hold]);
    let engine = start(&script, limit, first, second).await;
    engine.enqueue(step("gate")).await.unwrap();
    script.started("gate", 1).await;
    let mut jobs = Vec::new();
    for (name, queue) in [("other", "other"), ("work", "work")] {
        for _ in 0..4 {
            jobs.push(engine.enqueue(step(name)).queue(queue).await.unwrap());
        }
    }
    let why = jobs[0].status().await.unwrap().why;
    assert_eq!(why, Some(Why::LimitInUse { of: LimitOf::shared("api"), running: 1, slots: 1 }));
    script.tell("gate", Play::Succeed);
    for job in jobs {
        job.wait().await.unwrap();
    }
    script.order().into_iter().skip(1).collect()
}

fn one() -> SharedLimit {
    SharedLimit::new("api").concurrency(1)
}

#[tokio::test(start_paused = true)]
async fn queues_that_share_a_limit_take_turns() {
    let order = order_of(one(), work(), other()).await;
    let first_half: Vec<_> = order.chunks(2).map(<[String]>::to_vec).collect();
    assert!(first_half.iter().all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_more_weight_has_more_starts_in_its_turn() {
    let order = order_of(one(), work(), other().share_weight(3)).await;
    let runs: Vec<_> = order.chunk_by(|one, next| one == next).map(|run| (run[0].as_str(), run.len())).collect();
    assert!(runs.contains(&("other", 3)), "{order:?}");
    assert_eq!(runs.iter().find(|(name, _)| *name == "work").map(|(_, times)| *times), Some(1), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_strict_limit_is_the_first_queues_as_long_as_it_has_something() {
    let order = order_of(one().strict(), work(), other()).await;
    assert_eq!(order, ["work", "work", "work", "work", "other", "other", "other", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_of_all_queues_that_share_it() {
    let script = Script::new();
    let limit = SharedLimit::new("api").rate_limit(RateLimit::new(2, SEC));
    let engine = start(&script, limit, work(), other()).await;
    let began = tokio::time::Instant::now();
    let mut jobs = Vec::new();
    for queue in ["work", "other", "work", "other"] {
        jobs.push(engine.enqueue(step("a")).queue(queue).await.unwrap());
    }
    for job in jobs {
        job.wait().await.unwrap();
    }
    let after: Vec<_> = script.starts("a").iter().map(|start| (*start - began).as_millis() / 100).collect();
    assert_eq!(after, [5, 10, 15, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_key_has_its_limit_in_all_of_them_together() {
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let limit = SharedLimit::new("api").per_key(Limit::new().concurrency(1)).key("b", Limit::new());
    let engine = start(&script, limit, work(), other()).await;
    engine.enqueue(step("a")).limit_key("a").await.unwrap();
    script.started("a", 1).await;
    let second = engine.enqueue(step("a")).queue("other").limit_key("a").await.unwrap();
    engine.enqueue(step("b")).queue("other").limit_key("b").and_wait().await.unwrap();
    let why = second.status().await.unwrap().why;
    assert!(matches!(why, Some(Why::LimitInUse { of: LimitOf::SharedKey(..), running: 1, slots: 1 })), "{why:?}");
    script.tell("a", Play::Succeed);
    script.started("a", 2).await;
}

#[test]
fn what_nobody_can_share_is_refused() {
    let refusal = |limits: &[&str], shares: &[&str]| {
        let queue = shares.iter().fold(work(), |queue, limit| queue.shares(limit));
        let builder =
            limits.iter().fold(Engine::builder(), |builder, name| builder.shared_limit(SharedLimit::new(name)));
        builder.queue(queue).effective_config().unwrap_err()
    };
    assert!(matches!(refusal(&[], &["api"]), ConfigError::NoSharedLimit { .. }));
    assert!(matches!(refusal(&["api", "api"], &[]), ConfigError::SharedLimitTwice(_)));
    assert!(matches!(refusal(&["api"], &["api", "api"]), ConfigError::SharesTwice { .. }));
    let says = refusal(&[], &["api"]).to_string();
    assert_eq!(says, "queue `work` shares limit `api`, and there is no such limit: add it, or take it from the queue");
}
