//! A flow that waits for somebody says so: once, with what is to be looked at, and not again at a start.

use windlass::{
    Engine, EventKind, EventNo, Flow, FlowHandle, FlowId, FlowState, MemoryJournal, QueueConfig, RetryPolicy, SEC,
    StepDraft, What, new_job_id,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, work};

use super::{all, gap, next, rest, until};

fn once() -> QueueConfig {
    work().retry(RetryPolicy::never())
}

fn money() -> QueueConfig {
    QueueConfig::new("money").retry(RetryPolicy::never())
}

/// Two steps wait for what becomes of a third one, while a timer runs.
async fn submit(engine: &Engine, id: FlowId) -> FlowHandle {
    let mut flow = Flow::new("trip").id(id);
    let pay = flow.first(StepDraft::new(&step("pay")).named("pay").queue("money"));
    flow.after(pay.hold(), StepDraft::new(&step("ship")).named("ship"));
    flow.after(pay.hold(), StepDraft::new(&step("tell")).named("tell"));
    flow.wait("a while", (), SEC * 60);
    engine.submit(flow).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_is_held_is_told_once_with_the_step_its_job_and_its_queue() {
    let script = Script::new();
    script.plan("pay", [Play::Fail, Play::Fail]);
    let engine = builder(&script, MemoryJournal::new()).queue(once()).queue(money()).start().await.unwrap();
    let id = FlowId::from_u128(7);
    let mut of_flow = engine.events(all().flow(id).what([EventKind::FlowHeld, EventKind::FlowEnded]));
    let mut of_queue = engine.events(all().queue("money"));
    let flow = submit(&engine, id).await;
    let held = next(&mut of_flow).await;
    assert_eq!(held.what(), &What::FlowHeld { name: "trip".into(), step: "pay".into() });
    let status = flow.status().await.unwrap();
    assert_eq!(status.summary.state, FlowState::Running, "a timer runs");
    let job = status.step("pay").unwrap().job;
    assert_eq!(
        (held.flow(), held.job(), held.queue(), held.kind()),
        (Some(id), Some(job), Some("money"), Some("step"))
    );
    // With the end of its job, in the same commit.
    let kinds = until(&mut of_queue, EventKind::FlowHeld).await;
    assert_eq!(kinds[kinds.len() - 2..], [EventKind::Dead, EventKind::FlowHeld]);
    // It fails once more, and is given up.
    engine.requeue(job).await.unwrap();
    assert_eq!(next(&mut of_flow).await.what(), held.what());
    flow.skip("pay").await.unwrap();
    flow.wait().await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    let left: Vec<_> = rest(&mut of_flow).await.into_iter().map(|event| event.unwrap().what().kind()).collect();
    assert_eq!(left, [EventKind::FlowEnded]);
}

#[test]
fn a_start_tells_of_no_flow_that_it_is_held_or_has_ended_since_before() {
    let mut world = World::new();
    world.script.plan("pay", [Play::Fail]);
    let (held, ended) = (FlowId(new_job_id().0), FlowId(new_job_id().0));
    world.life(async |life| {
        let engine = life.builder().queue(once()).queue(money()).start().await.unwrap();
        let mut flow = Flow::new("short").id(ended);
        flow.first(step("short"));
        engine.submit(flow).await.unwrap().wait().await.unwrap();
        let flow = submit(&engine, held).await;
        while !flow.status().await.unwrap().step("pay").unwrap().is_holding {
            tokio::task::yield_now().await;
        }
        engine.shutdown(SEC).await.unwrap();
    });
    world.life(async |life| {
        let engine = life.builder().queue(once()).queue(money()).events_from_start().start().await.unwrap();
        let stranger: EventNo = "1.1.1.0".parse().unwrap();
        let mut events = engine.events(all()).after(stranger);
        gap(&mut events).await;
        engine.flow::<()>(held).skip("pay").await.unwrap();
        let told = until(&mut events, EventKind::FlowEnded).await;
        assert!(!told.contains(&EventKind::FlowHeld), "{told:?}");
        assert!(told.contains(&EventKind::Succeeded), "not the end of the other one: {told:?}");
    });
}
