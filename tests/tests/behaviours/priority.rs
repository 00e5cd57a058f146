//! Order: strictly by priority, then by arrival, among the jobs that are ready.

use windlass::{Priority, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, work};

#[tokio::test(start_paused = true)]
async fn the_most_urgent_goes_first_and_equals_go_by_arrival() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("first", [Play::Hold]);
    engine.enqueue(step("first")).await.unwrap();
    script.started("first", 1).await;
    let mut last = None;
    let jobs = [("low", 200), ("b1", 64), ("a1", 0), ("b2", 64), ("a2", 0), ("last", 255)];
    for (name, priority) in jobs {
        last = Some(engine.enqueue(step(name)).priority(Priority(priority)).await.unwrap());
    }
    script.tell("first", Play::Succeed);
    last.unwrap().wait().await.unwrap();
    assert_eq!(script.order(), ["first", "a1", "a2", "b1", "b2", "low", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_priority_has_its_queue_s() {
    let script = Script::new();
    let engine = start(&script, work().priority(Priority::LOW)).await;
    let job = engine.enqueue(step("a")).delay(SEC).await.unwrap();
    assert_eq!(job.status().await.unwrap().priority, Priority::LOW);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_job_that_falls_due_overtakes_those_that_wait() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("first", [Play::Hold]);
    engine.enqueue(step("first")).await.unwrap();
    script.started("first", 1).await;
    let calm = engine.enqueue(step("calm")).await.unwrap();
    engine.enqueue(step("urgent")).delay(SEC * 5).priority(Priority::URGENT).await.unwrap();
    tokio::time::advance(SEC * 6).await;
    engine.stats().await.unwrap();
    script.tell("first", Play::Succeed);
    calm.wait().await.unwrap();
    assert_eq!(script.order(), ["first", "urgent", "calm"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_does_not_slow_another() {
    let script = Script::new();
    let builder = windlass_tests::world::builder(&script, windlass::MemoryJournal::new());
    let fast = windlass::QueueConfig::new("fast").concurrency(1);
    let engine = builder.queue(work().concurrency(1)).queue(fast).start().await.unwrap();
    script.plan("slow", [Play::Hold]);
    for _ in 0..100 {
        engine.enqueue(step("slow")).await.unwrap();
    }
    script.started("slow", 1).await;
    assert_eq!(engine.enqueue(step("a")).queue("fast").and_wait().await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_run_at_once_than_a_queue_has_slots() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(3)).await;
    script.plan("held", [Play::Hold]);
    for _ in 0..10 {
        engine.enqueue(step("held")).await.unwrap();
    }
    script.started("held", 3).await;
    assert_eq!((script.live(), engine.stats().await.unwrap()[0].ready), (3, 7));
    script.tell("held", Play::Succeed);
    script.started("held", 4).await;
    assert_eq!(script.live(), 3);
}
