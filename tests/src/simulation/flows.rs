//! Flows among the calls: small graphs with all sorts of edges, timers and signals, and an operator who steers some of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windlass::testing::Life;
use windlass::{Draft, Flow, FlowId, StepDraft, StepRef};

use super::handler::Act;
use super::traffic::pick;

/// The batch that some flows have.
const BATCH: &str = "batch";
/// The signal that some flows wait for.
const SIGNAL: &str = "go";

/// The ids that callers know of, over all lives.
#[derive(Default)]
pub(super) struct Flows {
    known: Mutex<Vec<FlowId>>,
}

fn ms(life: &Life, max: u64) -> Duration {
    Duration::from_millis(1 + life.below(max))
}

fn some_act(life: &Life) -> Act {
    Act { seed: life.below(u64::MAX), depth: 0, ballast: Vec::new() }
}

fn act(life: &Life, queue: &str) -> StepDraft<Act> {
    let draft = StepDraft::new(&some_act(life)).queue(queue);
    if life.below(6) == 0 { draft.optional() } else { draft }
}

/// Some steps, each of which needs some of those before it; the later ones are joins, most of them.
fn graph(life: &Life, queue: &str) -> Flow {
    let mut flow = Flow::new("graph");
    if life.below(5) == 0 {
        flow = flow.fail_fast();
    }
    let mut steps: Vec<StepRef<Option<u64>>> = Vec::new();
    for _ in 0..2 + life.below(5) {
        let (mut all, mut go_on, mut hold) = (Vec::new(), Vec::new(), Vec::new());
        for step in &steps {
            match life.below(12) {
                0..4 => all.push(step.clone()),
                4..6 => go_on.push(step.go_on()),
                6 => hold.push(step.hold()),
                _ => {}
            }
        }
        steps.push(flow.after((&all, &go_on, &hold), act(life, queue)));
    }
    flow
}

/// A step, then a time or a word from outside, then a group with what came before, and a join.
fn story(life: &Life, queue: &str) -> Flow {
    let mut flow = Flow::new("story");
    let first = flow.first(act(life, queue));
    let (waited, said);
    let mut group = Vec::new();
    if life.below(2) == 0 {
        waited = flow.wait("pause", &first, ms(life, 20_000));
        group.push(flow.after(&waited, act(life, queue)));
    } else {
        said = flow.signal::<u64>(SIGNAL, &first, Some(ms(life, 120_000)));
        group.push(flow.after(&said, act(life, queue)));
        group.push(flow.after(said.go_on(), act(life, queue)));
    }
    for _ in 0..life.below(3) {
        group.push(flow.after(&first, act(life, queue)));
    }
    if life.below(2) == 0 {
        flow.after(&group, act(life, queue));
    } else {
        let group: Vec<_> = group.iter().map(StepRef::go_on).collect();
        flow.after(&group, act(life, queue));
    }
    flow
}

/// A batch of one of the three sorts, with jobs in it, and what comes after it.
fn batch(life: &Life, queue: &str) -> Flow {
    let mut flow = Flow::new("batch");
    let first = flow.first(act(life, queue));
    let jobs = 1 + life.below(5);
    let draft = || Draft::new(&some_act(life)).queue(queue);
    if life.below(3) == 0 {
        let spread = flow.spread::<Act>(BATCH, &first);
        (0..jobs).for_each(|_| flow.add_draft_to(&spread, draft()));
        flow.after(&spread, act(life, queue));
        flow.after(spread.go_on(), act(life, queue));
    } else {
        let batch = if life.below(2) == 0 { flow.batch(BATCH, ()) } else { flow.open_batch(BATCH, &first) };
        (0..jobs).for_each(|_| flow.add_draft_to(&batch, draft()));
        flow.after((&batch, &first), act(life, queue));
    }
    flow
}

impl Flows {
    /// One of the last ones.
    fn some(&self, life: &Life) -> Option<FlowId> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let back = pick(life, known.len().min(10));
        known.len().checked_sub(1 + back).map(|at| known[at])
    }

    pub(super) async fn call(&self, life: &Life, queue: &str) {
        let engine = life.engine();
        let flow = match life.below(12) {
            0..3 => graph(life, queue),
            3..6 => story(life, queue),
            6..8 => batch(life, queue),
            8..10 => {
                // Early, late, or twice: the first one counts.
                let Some(id) = self.some(life) else { return };
                for n in 0..=life.below(2) {
                    let _ = engine.signal(id, SIGNAL, &n).await;
                }
                return;
            }
            10 => return self.fill(life, queue).await,
            _ => return self.steer(life).await,
        };
        if let Ok(handle) = engine.submit(flow).await {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).push(handle.id());
        }
    }

    /// A batch that a flow may have gets more jobs from outside, or is closed.
    async fn fill(&self, life: &Life, queue: &str) {
        let Some(id) = self.some(life) else { return };
        let Ok(batch) = life.engine().flow::<()>(id).batch(BATCH).await else { return };
        if life.below(2) == 0 {
            let _ = batch.close().await;
            return;
        }
        let drafts: Vec<_> = (0..=life.below(3)).map(|_| Draft::new(&some_act(life)).queue(queue)).collect();
        let _ = batch.add_all(drafts).await;
    }

    async fn steer(&self, life: &Life) {
        let Some(id) = self.some(life) else { return };
        let flow = life.engine().flow::<()>(id);
        let Ok(status) = flow.status().await else { return };
        let step = &status.steps[pick(life, status.steps.len())].name;
        match life.below(3) {
            0 => _ = flow.cancel().await,
            1 => _ = flow.skip(step).await,
            _ => _ = flow.retry(step).await,
        }
    }
}
