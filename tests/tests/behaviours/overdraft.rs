//! Accepted means room to finish: acknowledgements and retries may overdraw a full queue, new jobs may not.

use windlass::{ControlError, EnqueueError, OutOfRange, QueueConfig, Refusal, RetryPolicy, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, work};

/// I9: follow-ups may overdraw a depth limit; new enqueues are refused until it is repaid.
#[tokio::test(start_paused = true)]
async fn follow_ups_overdraw_a_full_queue_and_new_jobs_wait_until_it_is_repaid() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).depth_max(2)).await;
    script.plan(
        "parent",
        [Play::run(|cx| async move {
            for _ in 0..5 {
                cx.follow_up(&step("child"))?;
            }
            cx.cancellation().cancelled().await;
            Ok("parent".to_owned())
        })],
    );
    script.plan("child", [Play::Hold]);
    let parent = engine.enqueue(step("parent")).await.unwrap();
    script.started("parent", 1).await;
    for _ in 0..2 {
        engine.enqueue(step("child")).await.unwrap();
    }
    engine.enqueue(step("more")).await.unwrap_err();
    parent.cancel().await.unwrap();
    assert_eq!(parent.wait().await.unwrap(), "parent");
    script.started("child", 1).await;
    assert_eq!(engine.stats().await.unwrap()[0].ready, 6);
    for ended in 1..=5 {
        let refused = engine.enqueue(step("more")).await.unwrap_err();
        assert!(matches!(refused, EnqueueError::Refused(Refusal::QueueFull { depth_max: 2, .. })), "{refused}");
        script.tell("child", Play::Succeed);
        script.started("child", ended + 1).await;
    }
    engine.enqueue(step("more")).await.unwrap();
}

/// I9
#[tokio::test(start_paused = true)]
async fn a_retry_into_a_full_queue_is_never_refused() {
    let script = Script::new();
    let queue = work().concurrency(1).depth_max(1).retry(RetryPolicy::fixed(SEC).jitter_percent(0));
    let engine = start(&script, queue).await;
    script.plan("a", [Play::Hold, Play::Succeed]);
    script.plan("b", [Play::Hold]);
    let a = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    engine.enqueue(step("b")).await.unwrap();
    script.tell("a", Play::Fail);
    script.started("b", 1).await;
    let stats = &engine.stats().await.unwrap()[0];
    assert_eq!((stats.delayed, stats.running), (1, 1));
    engine.enqueue(step("c")).await.unwrap_err();
    script.tell("b", Play::Succeed);
    a.wait().await.unwrap();
}

/// I9: what a queue would never take is refused where it is added, and the ack stands.
#[tokio::test(start_paused = true)]
async fn a_follow_up_that_cannot_be_is_refused_when_it_is_added() {
    let script = Script::new();
    let engine = start(&script, work().payload_bytes_max(100)).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            let refused = cx.follow_up(&step(&"x".repeat(200))).unwrap_err();
            assert!(matches!(refused, EnqueueError::Refused(Refusal::PayloadTooLarge { bytes_max: 100, .. })));
            let nowhere = windlass::Draft::new(&step("b")).queue("nowhere");
            let refused = cx.follow_up_with(nowhere).unwrap_err();
            assert!(matches!(refused, EnqueueError::Refused(Refusal::NoQueue { .. })));
            cx.follow_up(&step("good"))?;
            Ok("a".to_owned())
        })],
    );
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    script.returned("good", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_adds_a_bounded_number_of_follow_ups() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            for _ in 0..10_000 {
                cx.follow_up_with(windlass::Draft::new(&step("b")).delay(SEC))?;
            }
            let refused = cx.follow_up(&step("b")).unwrap_err();
            assert!(matches!(refused, EnqueueError::Range(OutOfRange { max: 10_000, .. })));
            Ok("a".to_owned())
        })],
    );
    engine.enqueue(step("a")).and_wait().await.unwrap();
    assert_eq!(engine.stats().await.unwrap()[0].delayed, 10_000);
}

#[tokio::test(start_paused = true)]
async fn bringing_a_dead_letter_back_needs_room() {
    let script = Script::new();
    let builder = windlass_tests::world::builder(&script, windlass::MemoryJournal::new());
    let engine = builder.queue(work().depth_max(1)).queue(QueueConfig::new("other")).start().await.unwrap();
    script.plan("dead", [Play::Permanent, Play::Succeed]);
    let dead = engine.enqueue(step("dead")).await.unwrap();
    dead.wait().await.unwrap_err();
    engine.pause("work").await.unwrap();
    engine.enqueue(step("waits")).await.unwrap();
    let refused = engine.requeue(dead.id()).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::QueueFull { .. })), "{refused}");
    engine.resume("work").await.unwrap();
    script.returned("waits", 1).await;
    engine.requeue(dead.id()).await.unwrap();
    dead.wait().await.unwrap();
}

/// I6: a place in a full queue is for those who still wait.
#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_a_full_queue_gives_up_its_place() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).depth_max(1).wait_when_full(1)).await;
    script.plan("busy", [Play::Hold]);
    engine.enqueue(step("busy")).await.unwrap();
    script.started("busy", 1).await;
    engine.enqueue(step("first")).await.unwrap();
    tokio::time::timeout(SEC, engine.enqueue(step("left")).into_future()).await.unwrap_err();
    assert_eq!(engine.stats().await.unwrap()[0].waiting_callers, 0);
    let stays = tokio::spawn(engine.enqueue(step("stays")).into_future());
    while engine.stats().await.unwrap()[0].waiting_callers == 0 {
        tokio::task::yield_now().await;
    }
    script.tell("busy", Play::Succeed);
    stays.await.unwrap().unwrap().wait().await.unwrap();
    assert_eq!(script.order(), ["busy", "first", "stays"]);
}
