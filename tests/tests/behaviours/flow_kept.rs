//! Flows that are remembered: whose id they have, for how long, and which of them make room.

use windlass::{EnqueueError, Flow, FlowError, FlowId, Refusal, StepDraft};
use windlass_tests::script::{Script, step};
use windlass_tests::world::{start, work};

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
