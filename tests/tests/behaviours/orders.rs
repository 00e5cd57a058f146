//! Verbs on many jobs: one durable order, in bounded steps, at a rate, resumed, called off.

use std::time::Duration;

use windlass::{
    ControlError, Draft, Engine, Filter, HOUR, JobState, MIN, MemoryJournal, OrderEnd, OrderId, OutOfRange, Priority,
    QueueConfig, Refusal, SEC, Verb, new_job_id,
};
use windlass_tests::fault::AppendFault;
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, start_with_faults, work};

async fn dead_letters(engine: &Engine, script: &Script, count: usize) {
    script.plan("a", [Play::Permanent]);
    let drafts = (0..count).map(|n| Draft::new(&step("a")).tag(if n % 2 == 0 { "even" } else { "odd" }));
    for receipt in engine.enqueue_all(drafts).await.unwrap() {
        let _ = engine.handle::<windlass_tests::script::Step>(receipt.id).wait().await;
    }
    script.plan("a", [Play::Succeed]);
}

fn dead() -> Filter {
    Filter::new().state(JobState::Dead)
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_counts_what_the_order_then_does_and_nothing_else() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 1_500).await;
    let done = engine.enqueue(step("a")).await.unwrap();
    done.wait().await.unwrap();
    let even = Filter::new().tag("even");
    assert_eq!(engine.steer_all(Verb::Requeue, even.clone()).dry_run().await.unwrap(), 750);
    assert_eq!(engine.count(dead()).await.unwrap(), 1_500, "a dry run changes nothing");
    let placed = engine.steer_all(Verb::Requeue, even).await.unwrap();
    let order = engine.wait_order(placed.id).await.unwrap();
    assert_eq!((order.changed, order.skipped), (750, 0));
    assert!(matches!(order.ended, Some((_, OrderEnd::Finished))));
    assert_eq!(engine.count(dead()).await.unwrap(), 750);
    assert_eq!(engine.orders().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_keeps_to_its_rate() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 100).await;
    let began = tokio::time::Instant::now();
    let order = engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(10).await.unwrap();
    engine.wait_order(order.id).await.unwrap();
    let took = began.elapsed();
    assert!((SEC * 9..SEC * 11).contains(&took), "100 jobs at 10 a second took {took:?}");
}

/// A job that dies once more after an order brought it back is a new dead letter, and none of that order's business.
#[tokio::test(start_paused = true)]
async fn no_retained_job_is_met_twice() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 50).await;
    script.plan("a", [Play::Permanent]);
    let order = engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(100).await.unwrap();
    let order = engine.wait_order(order.id).await.unwrap();
    assert_eq!(order.changed, 50);
    assert_eq!(script.attempts("a").len(), 100);
}

/// I1, I6: an order is remembered with how far it came, and the next process goes on there.
#[test]
fn an_order_goes_on_after_the_process_died() {
    let mut world = World::new();
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        dead_letters(&engine, &life.script, 60).await;
        engine.pause("work").await.unwrap();
        let order = engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(10).await.unwrap();
        while engine.orders().await.unwrap()[0].changed < 20 {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        order.id
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        let order = engine.wait_order(id).await.unwrap();
        assert_eq!((order.changed, order.skipped), (60, 0), "each is met once, whatever died in between");
        assert_eq!(engine.count(Filter::new().state(JobState::Ready)).await.unwrap(), 60);
    });
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_on_through_a_rebuild() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    dead_letters(&engine, &script, 40).await;
    engine.pause("work").await.unwrap();
    let order = engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(20).await.unwrap();
    while engine.orders().await.unwrap()[0].changed < 10 {
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    faults.on_append(AppendFault::UnknownWritten);
    let order = engine.wait_order(order.id).await.unwrap();
    assert_eq!((order.changed + order.skipped, engine.count(dead()).await.unwrap()), (40, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_an_order_up_until_there_is_room() {
    let script = Script::new();
    let engine = start(&script, work().depth_max(30)).await;
    for _ in 0..2 {
        dead_letters(&engine, &script, 25).await;
    }
    engine.pause("work").await.unwrap();
    let order = engine.steer_all(Verb::Requeue, Filter::new()).await.unwrap();
    while engine.orders().await.unwrap()[0].changed < 30 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(MIN).await;
    let held_up = engine.orders().await.unwrap().remove(0);
    assert_eq!((held_up.changed, held_up.skipped, held_up.ended), (30, 0, None));
    engine.resume("work").await.unwrap();
    let order = engine.wait_order(order.id).await.unwrap();
    assert_eq!((order.changed, order.skipped), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn an_order_is_called_off_and_what_it_did_stays_done() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 40).await;
    engine.pause("work").await.unwrap();
    let order = engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(1).await.unwrap();
    while engine.orders().await.unwrap()[0].changed < 3 {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let cancelled = engine.cancel_order(order.id).await.unwrap();
    assert!(matches!(cancelled.ended, Some((_, OrderEnd::Cancelled))));
    tokio::time::advance(HOUR).await;
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, cancelled.changed);
    assert_eq!(engine.count(dead()).await.unwrap(), 40 - cancelled.changed);
    let again = engine.cancel_order(order.id).await.unwrap_err();
    assert!(matches!(again, ControlError::Refused(Refusal::OrderEnded { .. })), "{again}");
    let nobody = engine.cancel_order(OrderId(new_job_id().0)).await.unwrap_err();
    assert!(matches!(nobody, ControlError::Refused(Refusal::NoOrder { .. })), "{nobody}");
}

#[tokio::test(start_paused = true)]
async fn a_purge_empties_the_line_and_leaves_what_runs_and_what_is_retained() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    dead_letters(&engine, &script, 5).await;
    script.plan("held", [Play::Hold]);
    let held = engine.enqueue(step("held")).await.unwrap();
    script.started("held", 1).await;
    engine.enqueue_all((0..1_200).map(|_| Draft::new(&step("a")))).await.unwrap();
    engine.enqueue(step("a")).delay(HOUR).await.unwrap();
    assert_eq!(engine.purge("work").dry_run().await.unwrap(), 1_201);
    let order = engine.purge("work").await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 1_201);
    let stats = &engine.stats().await.unwrap()[0];
    assert_eq!((stats.ready, stats.delayed, stats.running, stats.dead, stats.cancelled), (0, 0, 1, 5, 0));
    script.tell("held", Play::Succeed);
    held.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_thrown_away_without_a_state_being_named_is_dead() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 4).await;
    engine.enqueue(step("a")).delay(HOUR).await.unwrap();
    engine.enqueue(step("a")).await.unwrap().wait().await.unwrap();
    let order = engine.steer_all(Verb::Discard, Filter::new()).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 4);
    assert_eq!(engine.count(Filter::new()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn live_jobs_are_steered_by_filter_those_that_came_before_the_order() {
    let script = Script::new();
    let builder = builder(&script, MemoryJournal::new()).queue(work()).queue(QueueConfig::new("other"));
    let engine = builder.start().await.unwrap();
    engine.pause("work").await.unwrap();
    engine.enqueue_all((0..700).map(|_| Draft::new(&step("a")))).await.unwrap();
    let order = engine.steer_all(Verb::Reprioritise(Priority::LOW), Filter::new().queue("work")).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 700);
    let order = engine.steer_all(Verb::move_to("other"), Filter::new().queue("work")).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 700);
    let late = engine.enqueue_all((0..10).map(|_| Draft::new(&step("a")).delay(HOUR))).await.unwrap();
    let order = engine.steer_all(Verb::RunNow, Filter::new()).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, late.len() as u64);
    let order = engine.steer_all(Verb::Cancel, Filter::new().queue("work")).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, late.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_placed_twice_is_one() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    dead_letters(&engine, &script, 20).await;
    engine.pause("work").await.unwrap();
    let id = OrderId(new_job_id().0);
    let place = || engine.steer_all(Verb::Requeue, Filter::new()).rate_per_s(20).id(id);
    let (first, second) = (place().await.unwrap(), place().await.unwrap());
    assert_eq!((first.id, second.id), (id, id));
    let began = tokio::time::Instant::now();
    let order = engine.wait_order(id).await.unwrap();
    assert_eq!((order.changed, order.skipped), (20, 0));
    assert!(began.elapsed() > Duration::from_millis(800), "two tasks would have been twice as fast");
    assert_eq!(engine.orders().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_one_to_a_million() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    for rate in [0, 1_000_001] {
        let refused = engine.steer_all(Verb::Cancel, Filter::new()).rate_per_s(rate).await.unwrap_err();
        assert!(matches!(refused, ControlError::Range(OutOfRange { max: 1_000_000, .. })), "{refused}");
    }
    let nowhere = engine.steer_all(Verb::move_to("nowhere"), Filter::new()).await.unwrap_err();
    assert!(matches!(nowhere, ControlError::Refused(Refusal::NoQueue { .. })), "{nowhere}");
}
