//! A flow of everything, over two queues, with somebody who mends it: through a crash at each of its commits.
//!
//! Guards I16: whatever a step's end does (its join, a hold and what lets go, what it calls off, a wait that is over) is one commit with
//! it, so that no crash comes between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use windlass::{
    ControlError, Engine, Flow, FlowHandle, FlowId, FlowState, FlowStep, FlowWaitError, Job, JobState, QueueConfig,
    Refusal, RetryPolicy, SEC, StepDraft, StepState, new_job_id,
};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{Life, World, work};

/// What the join gets: of the step that was mended, of the one behind the wait that is over, and nothing of what was called off.
#[derive(Serialize, Deserialize)]
struct End(Step);

impl Job for End {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = String;

    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.encode()
    }
}

impl FlowStep for End {
    type Input = (String, String, Option<String>);
}

const GATHERED: &str = r#"["b","d",null]"#;

/// `a` dies, and `b` waits until somebody brings it back; nobody sends `paid`, and `d` goes on without; `x` dies and calls off `y`.
fn flow(id: FlowId) -> Flow<String> {
    let named = |name: &str| StepDraft::new(&step(name)).named(name);
    let mut flow = Flow::new("everything").id(id);
    let a = flow.first(named("a"));
    let b = flow.after(a.hold(), named("b").queue("other"));
    let paid = flow.signal::<String>("paid", (), Some(SEC));
    let d = flow.after(paid.go_on(), named("d").queue("other"));
    let x = flow.first(named("x").queue("other").optional());
    let called_off = flow.after(&x, named("y"));
    let end = flow.then((&b, &d, called_off.go_on()), StepDraft::new(&End(step("end"))).named("end"));
    flow.output(&end)
}

fn plan(script: &Script) {
    script.plan("a", [Play::Permanent, Play::Succeed]);
    script.plan("x", [Play::Permanent]);
    script.plan("end", [Play::run(|cx| async move { Ok(serde_json::to_string(&cx.input::<End>().await?)?) })]);
}

async fn start(life: &Life) -> Engine {
    let other = QueueConfig::new("other").retry(RetryPolicy::never());
    life.builder().queue(work().retry(RetryPolicy::never())).queue(other).start().await.unwrap()
}

/// Sees that `a` is dead, brings it back, and waits for the end: what an operator does, in whichever life.
async fn mend(engine: &Engine, handle: &FlowHandle<String>) -> Result<String, FlowWaitError> {
    let a = handle.wait_step("a").await?;
    if a.state == StepState::Job(JobState::Dead) {
        match engine.requeue(a.job).await {
            // It may have been brought back before the crash.
            Ok(_) | Err(ControlError::Refused(Refusal::Forbidden { .. } | Refusal::Changed { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    handle.wait().await
}

#[test]
fn a_flow_of_everything_over_two_queues_goes_on_where_it_stood_whichever_commit_was_the_last() {
    let mut held_when_it_died = BTreeSet::new();
    for loses_power in [false, true] {
        let mut ended_in_the_first_life = false;
        for commits in 1..200_i32 {
            let (mut world, id) = (World::new(), FlowId(new_job_id().0));
            let is_accepted = AtomicBool::new(false);
            plan(&world.script);
            let life = async |life: &Life| {
                let engine = start(life).await;
                let (dies, mut left) = (Arc::new(Notify::new()), commits);
                let last = dies.clone();
                life.faults.judge_appends(move |_| {
                    left -= 1;
                    if left == 0 {
                        last.notify_one();
                    }
                    None
                });
                let lives = async {
                    let handle = engine.submit(flow(id)).await.unwrap();
                    is_accepted.store(true, Ordering::Relaxed);
                    mend(&engine, &handle).await
                };
                tokio::select! {
                    biased;
                    () = dies.notified() => false,
                    output = lives => output.is_ok(),
                }
            };
            ended_in_the_first_life =
                if loses_power { world.life_without_power_at_its_end(life) } else { world.life(life) };
            world.life(async |life| {
                let engine = start(life).await;
                let handle = engine.submit(flow(id)).await.unwrap();
                assert!(!handle.is_fresh() || !is_accepted.load(Ordering::Relaxed), "it was accepted");
                let found = handle.status().await.unwrap();
                held_when_it_died.insert(found.step("a").is_some_and(|a| a.is_holding));
                assert_eq!(mend(&engine, &handle).await.unwrap(), GATHERED, "{commits} commits");
                let status = handle.status().await.unwrap();
                let stands: Vec<_> =
                    status.steps.iter().map(|step| (step.name.as_str(), step.state.as_str())).collect();
                let expected = [
                    ("a", "done"),
                    ("b", "done"),
                    ("paid", "expired"),
                    ("d", "done"),
                    ("x", "dead"),
                    ("y", "cancelled"),
                    ("end", "done"),
                ];
                assert_eq!((status.summary.state, stands), (FlowState::Done, expected.to_vec()), "{commits} commits");
            });
            assert!(world.script.overlaps().is_empty() && world.script.starts("y").is_empty());
            if ended_in_the_first_life {
                break;
            }
        }
        assert!(ended_in_the_first_life, "every commit was the last one once");
    }
    assert_eq!(held_when_it_died.len(), 2, "it died while the flow was held, and otherwise");
}
