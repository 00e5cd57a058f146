//! Steps of flows: what each knows of itself and is told of it, what undoes without an input, and waits for one of them.
//!
//! Guards I16: a flow that had nothing to undo goes on as a whole, where somebody has it go on.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use windlass::{
    ControlError, Flow, FlowId, FlowState, FlowStep, FlowWaitError, Job, JobState, KeepDone, QueueConfig, Refusal,
    Retention, RetryPolicy, SEC, StepDraft, StepState,
};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{start, work};

/// A job of the script's kind that undoes a step whatever that left.
#[derive(Serialize, Deserialize)]
struct Number(Step);

impl Job for Number {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = u64;

    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.encode()
    }
}

impl FlowStep for Number {
    type Input = ();
}

fn once() -> QueueConfig {
    work().retry(RetryPolicy::never())
}

fn named(name: &str) -> StepDraft<Step> {
    StepDraft::new(&step(name)).named(name)
}

/// Leaves its step's name.
fn says_its_name() -> Play {
    Play::run(|cx| async move { Ok(format!("{:?} {}", cx.step_name(), cx.flow().is_some())) })
}

#[tokio::test(start_paused = true)]
async fn a_step_knows_its_name_in_every_attempt_and_a_job_alone_has_none() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC))).await;
    script.plan("a", [Play::Fail, says_its_name()]);
    script.plan("alone", [says_its_name()]);
    let mut flow = Flow::new("story");
    let a = flow.scope("part", |flow| flow.first(named("a")));
    let handle = engine.submit(flow.output(&a)).await.unwrap();
    assert_eq!(handle.wait().await.unwrap(), r#"Some("part/a") true"#);
    assert_eq!(engine.enqueue(step("alone")).and_wait().await.unwrap(), "None false");
}

#[tokio::test(start_paused = true)]
async fn a_step_s_status_counts_its_attempts_while_it_runs_and_when_its_job_is_gone() {
    let script = Script::new();
    let nothing = Retention::default().keep_done(KeepDone::None).dead(Duration::ZERO, 0, 0);
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(3)).retention(nothing)).await;
    script.plan("a", [Play::Fail, Play::Hold]);
    script.plan("b", [Play::Fail]);
    let mut flow = Flow::new("story");
    let a = flow.first(named("a"));
    flow.first(named("b").optional());
    flow.after(&a, named("c"));
    let handle = engine.submit(flow).await.unwrap();
    script.started("a", 2).await;
    let b = handle.wait_step("b").await.unwrap();
    assert_eq!((b.state, b.attempts), (StepState::Job(JobState::Dead), 3));
    let attempts = |status: &windlass::FlowStatus| status.steps.iter().map(|step| step.attempts).collect::<Vec<_>>();
    let status = handle.status().await.unwrap();
    assert_eq!(attempts(&status), [2, 3, 0]);
    script.tell("a", Play::Succeed);
    handle.wait().await.unwrap();
    let status = handle.status().await.unwrap();
    assert_eq!(attempts(&status), [2, 3, 1]);
    assert!(matches!(engine.job(b.job).await, Err(ControlError::Refused(Refusal::Forgotten { .. }))));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_the_flow_s_name_and_a_step_s_not_its_place() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("b", [Play::Permanent]);
    let mut flow = Flow::new("upload");
    let a = flow.first(named("a"));
    let b = flow.after(&a, named("b"));
    flow.after(&b, named("c"));
    let handle = engine.submit(flow).await.unwrap();
    let error = handle.wait().await.unwrap_err();
    let said = format!("flow `upload` ({}) failed at step `b`: ", handle.id());
    assert!(error.to_string().starts_with(&said), "{error}");
    let path = handle.status().await.unwrap().critical_path(SystemTime::now());
    assert_eq!(path.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    script.plan("d", [Play::until_cancelled(Play::Fail)]);
    let mut flow = Flow::new("upload");
    let d = flow.first(named("d"));
    let handle = engine.submit(flow.output(&d)).await.unwrap();
    handle.cancel().await.unwrap();
    let error = handle.wait().await.unwrap_err();
    assert!(
        matches!(&error, FlowWaitError::Cancelled { name, step, .. } if name == "upload" && step == "d"),
        "{error}"
    );

    // One that calls itself off says why, and one that somebody calls off in line says nothing.
    script.plan("e", [Play::CallOff]);
    for is_asked in [false, true] {
        let mut flow = Flow::new("upload");
        let e = flow.first(if is_asked { named("e").delay(SEC) } else { named("e") });
        flow.after(&e, named("f"));
        let handle = engine.submit(flow).await.unwrap();
        if is_asked {
            handle.cancel().await.unwrap();
        }
        let why = handle.wait_step("e").await.unwrap().failure.map_or_else(String::new, |why| format!(": {why}"));
        assert_eq!(why.is_empty(), is_asked);
        let error = handle.wait().await.unwrap_err().to_string();
        assert_eq!(error, format!("flow `upload` ({}) was called off at step `e`{why}", handle.id()));
    }
}

/// One type of job cleans up after steps of two, and gets nothing of them.
#[tokio::test(start_paused = true)]
async fn what_undoes_without_an_input_undoes_steps_of_any_type() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("bad", [Play::Permanent]);
    let clean_up = Play::run(|cx| async move {
        cx.input::<Number>().await?;
        Ok(String::new())
    });
    script.plan("clean text", [clean_up.clone()]);
    script.plan("clean number", [clean_up]);
    let mut flow = Flow::new("story");
    let text = flow.first(named("text"));
    let number = flow.after(&text, StepDraft::new(&Number(step("number"))).named("number"));
    flow.undo_after(&text, named("clean text"));
    flow.undo_after(&number, named("clean number"));
    flow.after(&number, named("bad"));
    let handle = engine.submit(flow).await.unwrap();
    handle.wait().await.unwrap_err();
    assert_eq!(script.order(), ["text", "number", "bad", "clean number", "clean text"]);
    let status = handle.status().await.unwrap();
    let states = ["clean number", "clean text"].map(|name| status.step(name).unwrap().state);
    assert_eq!(states, [StepState::Job(JobState::Done); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_failed_with_nothing_to_undo_is_retried_and_what_undoes_it_waits_again() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("a", [Play::Permanent, Play::Succeed]);
    script.plan("b", [Play::Permanent]);
    let mut flow = Flow::new("story");
    let a = flow.first(named("a"));
    flow.undo_after(&a, named("undo a"));
    flow.after(&a, named("b"));
    let handle = engine.submit(flow).await.unwrap();
    handle.wait().await.unwrap_err();
    let skipped = handle.status().await.unwrap();
    assert_eq!(skipped.step("undo a").unwrap().state, StepState::Skipped);
    handle.retry("a").await.unwrap();
    assert!(matches!(handle.wait().await, Err(FlowWaitError::Failed { step, .. }) if step == "b"));
    assert_eq!(script.order(), ["a", "a", "b", "undo a"]);
    // Now it is undone, and stays so.
    let refused = handle.retry("b").await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::StepForbidden { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_step_ends_with_it_however_it_ends() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("a", [Play::Hold]);
    script.plan("b", [Play::Permanent]);
    let mut flow = Flow::new("story");
    let a = flow.first(named("a"));
    flow.after(&a, named("b"));
    let paid = flow.signal::<String>("paid", &a, None);
    flow.after(&paid, named("c"));
    let handle = engine.submit(flow).await.unwrap();
    let waits = ["a", "b", "paid", "c"].map(|name| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.wait_step(name).await.unwrap() })
    });
    script.started("a", 1).await;
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    script.tell("a", Play::Succeed);
    let mut ends = Vec::new();
    for (no, wait) in waits.into_iter().enumerate() {
        if no == 2 {
            assert_eq!(handle.status().await.unwrap().summary.state, FlowState::Running);
            engine.signal(handle.id(), "paid", &"by card").await.unwrap();
        }
        let step = wait.await.unwrap();
        ends.push((step.state.as_str(), step.failure.is_some()));
    }
    assert_eq!(ends, [("done", false), ("dead", true), ("done", false), ("done", false)]);
    // One that is over is told at once; one that there is not, too.
    assert_eq!(handle.wait_step("b").await.unwrap().name, "b");
    let refused = handle.wait_step("d").await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::NoStep { .. })), "{refused}");
    let nothing = engine.flow::<()>(FlowId::from_u128(7)).wait_step("a").await.unwrap_err();
    assert!(matches!(nothing, ControlError::Refused(Refusal::NoFlow { .. })), "{nothing}");
}

/// Its job is live again, and no step any more.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_step_that_was_skipped_does_not_wait_for_its_dead_letter() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("a", [Play::Permanent, Play::Hold]);
    let mut flow = Flow::new("story");
    let a = flow.first(named("a"));
    flow.after(a.hold(), named("b"));
    let handle = engine.submit(flow).await.unwrap();
    let dead = handle.wait_step("a").await.unwrap();
    handle.skip("a").await.unwrap();
    handle.wait().await.unwrap();
    engine.requeue(dead.job).await.unwrap();
    script.started("a", 2).await;
    let skipped = tokio::time::timeout(SEC, handle.wait_step("a")).await.expect("it is over").unwrap();
    assert_eq!(skipped.state, StepState::Skipped);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_what_is_not_undone() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    for name in ["c", "undo a"] {
        script.plan(name, [Play::Permanent]);
    }
    let mut flow = Flow::new("saga");
    let a = flow.first(named("a"));
    let b = flow.after(&a, named("b"));
    flow.after(&b, named("c"));
    flow.undo_after(&a, named("undo a"));
    flow.undo_after(&b, named("undo b"));
    let handle = engine.submit(flow).await.unwrap();
    let error = handle.wait().await.unwrap_err();
    assert!(error.to_string().ends_with("; not all is undone: `undo a` failed"), "{error}");
    let FlowWaitError::Failed { step, not_undone, .. } = error else { panic!("{error}") };
    assert_eq!((step.as_str(), &*not_undone), ("c", ["undo a".to_owned()].as_slice()));
    let status = handle.status().await.unwrap();
    assert_eq!(status.not_undone().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["undo a"]);
}
