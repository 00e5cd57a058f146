//! Pausing a queue: nothing is handed out, what runs goes on, and a restart remembers.

use windlass::{ControlError, JobState, QueueConfig, Refusal, SEC, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, start, work};

#[tokio::test(start_paused = true)]
async fn a_paused_queue_hands_out_nothing_until_it_is_resumed() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("running", [Play::Hold]);
    let running = engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    engine.pause("work").await.unwrap();
    let waiting = engine.enqueue(step("waiting")).await.unwrap();
    let delayed = engine.enqueue(step("delayed")).delay(SEC).await.unwrap();
    tokio::time::advance(SEC * 2).await;
    assert_eq!(waiting.status().await.unwrap().why, Some(Why::Paused));
    assert_eq!(delayed.status().await.unwrap().state, JobState::Ready);
    assert!(engine.stats().await.unwrap()[0].paused);
    script.tell("running", Play::Succeed);
    running.wait().await.unwrap();
    assert_eq!(script.order(), ["running"]);
    engine.resume("work").await.unwrap();
    delayed.wait().await.unwrap();
    assert_eq!(script.order(), ["running", "waiting", "delayed"]);
}

#[test]
fn a_pause_and_a_resume_survive_the_loss_of_power() {
    let mut world = World::new();
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        engine.pause("work").await.unwrap();
        engine.enqueue(step("a")).await.unwrap().id()
    });
    world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.job(id).await.unwrap().why, Some(Why::Paused));
        assert!(life.script.order().is_empty());
        engine.resume("work").await.unwrap();
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
    });
}

#[test]
fn a_pause_of_one_queue_is_none_of_another() {
    World::new().life(async |life| {
        let engine = life.builder().queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
        engine.pause("work").await.unwrap();
        assert_eq!(engine.enqueue(step("a")).queue("other").and_wait().await.unwrap(), "a");
    });
}

#[tokio::test(start_paused = true)]
async fn pausing_twice_is_pausing_once_and_unknown_queues_are_refused() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    engine.pause("work").await.unwrap();
    engine.pause("work").await.unwrap();
    engine.resume("work").await.unwrap();
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    engine.resume("work").await.unwrap();
    for refused in [engine.pause("nowhere").await, engine.resume("nowhere").await] {
        assert!(
            matches!(refused, Err(ControlError::Refused(Refusal::NoQueue { queue })) if queue.as_str() == "nowhere")
        );
    }
}
