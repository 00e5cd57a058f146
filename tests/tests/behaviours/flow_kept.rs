//! Flows that are remembered: whose id they have, for how long, and which of them make room.

use std::time::Duration;

use windlass::{
    EnqueueError, Flow, FlowError, FlowId, MIN, ManualClock, MemoryJournal, Refusal, RetryPolicy, SEC, StepDraft,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{EPOCH_MS, builder, start, work};

fn one(sort: &str) -> Flow {
    let mut flow = Flow::new(sort);
    flow.first(StepDraft::new(&step("x")));
    flow
}

#[tokio::test(start_paused = true)]
async fn another_sort_of_flow_with_the_same_id_is_refused() {
    let engine = start(&Script::new(), work()).await;
    let id = FlowId::from_u128(7);
    let first = engine.submit(one("order").id(id)).await.unwrap();
    first.wait().await.unwrap();
    assert!(!engine.submit(one("order").id(id)).await.unwrap().is_fresh());
    let refused = engine.submit(one("refund").id(id)).await.unwrap_err();
    let FlowError::Enqueue(EnqueueError::Refused(Refusal::FlowTaken { id: of, name })) = refused else {
        panic!("{refused}");
    };
    assert_eq!((of, name.as_str()), (id, "order"));
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_failed_is_remembered_as_long_as_it_says_and_unless_it_says_for_thirty_days() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let script = Script::new();
    // Whose wall clock follows the paused one.
    let engine = builder(&script, MemoryJournal::new()).clock(ManualClock::starting_at_ms(EPOCH_MS));
    let engine = engine.queue(work().retry(RetryPolicy::never())).start().await.unwrap();
    script.plan("y", [Play::Fail, Play::Fail]);
    let failing = || {
        let mut flow = Flow::new("failing");
        flow.first(step("y"));
        flow
    };
    let good = engine.submit(one("good").keep_failed_for(MIN)).await.unwrap();
    good.wait().await.unwrap();
    let short = engine.submit(failing().keep_for(2 * DAY).keep_failed_for(DAY / 2)).await.unwrap();
    short.wait().await.unwrap_err();
    let long = engine.submit(failing()).await.unwrap();
    long.wait().await.unwrap_err();
    let remembered = async || engine.flows(None, None, 10).await.unwrap().into_iter().map(|flow| flow.id).collect();
    let wait_for = async |expected: Vec<FlowId>| {
        let mut is: Vec<FlowId> = remembered().await;
        while is != expected {
            assert!(is.len() > expected.len(), "{is:?} and not {expected:?}");
            tokio::time::advance(SEC).await;
            is = remembered().await;
        }
    };
    assert_eq!(remembered().await, vec![good.id(), short.id(), long.id()]);
    tokio::time::advance(DAY / 3).await;
    assert_eq!(remembered().await, vec![good.id(), short.id(), long.id()]);
    tokio::time::advance(DAY / 6).await;
    wait_for(vec![good.id(), long.id()]).await;
    tokio::time::advance(DAY / 2).await;
    wait_for(vec![long.id()]).await;
    tokio::time::advance(28 * DAY).await;
    assert_eq!(remembered().await, vec![long.id()]);
    tokio::time::advance(DAY).await;
    wait_for(vec![]).await;
}
