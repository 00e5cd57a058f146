//! Flows: steps that wait for one another, get what the others left, and are joined once.
//!
//! Guards I16: a step begins once its needs are met and not before, and a flow goes on, or says what holds it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use windlass::{
    ControlError, Draft, Durability, Engine, EnqueueError, Flow, FlowError, FlowGraph, FlowId, FlowState, FlowStep,
    FlowWaitError, IfFailed, Job, JobState, MIN, ManualClock, MemoryJournal, QueueConfig, Refusal, RetryPolicy, SEC,
    StepDraft, StepState, new_job_id,
};
use windlass_tests::fault::{AppendFault, FaultJournal};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{EPOCH_MS, World, builder, start, work};

/// Read by a script's code: any step may ask for its input as one of these types.
macro_rules! reads {
    ($($name:ident: $input:ty),+) => {$(
        #[derive(Serialize, Deserialize)]
        struct $name(Step);

        impl Job for $name {
            const KIND: &'static str = "step";
            const QUEUE: &'static str = "work";
            type Output = String;

            fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
                self.0.encode()
            }
        }

        impl FlowStep for $name {
            type Input = $input;
        }
    )+};
}

reads! {
    Nothing: (),
    Text: String,
    Texts: Vec<String>,
    Mixed: (String, Vec<Option<String>>, Option<String>),
    Number: u64
}

/// Succeeds with what it gets.
fn echo<J: FlowStep>() -> Play
where
    J::Input: Serialize,
{
    Play::run(|cx| async move { Ok(serde_json::to_string(&cx.input::<J>().await?)?) })
}

/// Whose wall clock follows the paused one.
async fn start_on_a_clock(script: &Script, queue: QueueConfig) -> Engine {
    let clock = ManualClock::starting_at_ms(EPOCH_MS);
    builder(script, MemoryJournal::new()).clock(clock).queue(queue).start().await.unwrap()
}

fn once() -> QueueConfig {
    work().retry(RetryPolicy::never())
}

#[tokio::test(start_paused = true)]
async fn what_steps_leave_is_the_typed_input_of_those_that_need_them() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("bad", [Play::Permanent]);
    script.plan("list", [echo::<Texts>()]);
    script.plan("mixed", [echo::<Mixed>()]);
    script.plan("none", [echo::<Nothing>()]);
    let mut flow = Flow::new("story");
    let a = flow.first(step("a"));
    let parts = ["b", "c"].map(|name| flow.then(&a, StepDraft::new(&Text(step(name))).named(name)));
    let bad = flow.after(&a, StepDraft::new(&step("bad")).named("bad").optional());
    let list = flow.then(&parts, StepDraft::new(&Texts(step("list"))).named("list"));
    let needs = (&a, parts.iter().map(windlass::StepRef::go_on).collect::<Vec<_>>(), bad.go_on());
    let mixed = flow.then(needs, StepDraft::new(&Mixed(step("mixed"))).named("mixed"));
    let none = flow.then((), StepDraft::new(&Nothing(step("none"))).named("none"));
    let end = flow.then([list, mixed, none], StepDraft::new(&Texts(step("end"))).named("end"));
    script.plan("end", [echo::<Texts>()]);
    let handle = engine.submit(flow.output(&end)).await.unwrap();
    let gathered: Vec<String> = serde_json::from_str(&handle.wait().await.unwrap()).unwrap();
    assert_eq!(gathered, [r#"["b","c"]"#, r#"["a",["b","c"],null]"#, "null"]);
    let status = handle.status().await.unwrap();
    assert_eq!((status.summary.state, status.summary.steps_ended), (FlowState::Done, 8));
    assert_eq!(status.step("bad").unwrap().state, StepState::Job(JobState::Dead));
}

#[tokio::test(start_paused = true)]
async fn a_failure_calls_off_what_needs_it_and_nothing_else_and_says_so() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("a", [Play::Permanent]);
    let mut flow = Flow::new("story");
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    let b = flow.after(&a, StepDraft::new(&step("b")).named("b"));
    flow.after(&b, StepDraft::new(&step("c")).named("c"));
    flow.first(StepDraft::new(&step("apart")).named("apart"));
    let handle = engine.submit(flow).await.unwrap();
    let Err(FlowWaitError::Failed { step, failure: Some(failure), .. }) = handle.wait().await else { panic!("failed") };
    assert_eq!((step.as_str(), failure.message.is_empty()), ("a", false));
    let status = handle.status().await.unwrap();
    let states = status.steps.iter().map(|step| step.state.as_str()).collect::<Vec<_>>();
    assert_eq!(states, ["dead", "cancelled", "cancelled", "done"]);
    assert_eq!(status.steps.iter().map(|step| step.called_off_by).collect::<Vec<_>>(), [None, Some(0), Some(0), None]);
    let said = status.step("c").unwrap().failure.clone().unwrap().message;
    assert!(said.starts_with("step `a` is dead: "), "{said}");
}

/// Needs wait for somebody: requeued from the dead letters, the flow goes on.
#[tokio::test(start_paused = true)]
async fn a_flow_that_is_held_goes_on_when_its_dead_letter_is_requeued_or_skipped() {
    for is_skipped in [false, true] {
        let script = Script::new();
        let engine = start(&script, once()).await;
        script.plan("a", [Play::Permanent, Play::Output("mended".into())]);
        script.plan("b", [echo::<Text>()]);
        let mut flow = Flow::new("story");
        let a = flow.first(StepDraft::new(&step("a")).named("a"));
        let b = flow.then(a.hold(), StepDraft::new(&Text(step("b"))).named("b"));
        let handle = engine.submit(flow.output(&b)).await.unwrap();
        let held = loop {
            let status = handle.status().await.unwrap();
            if status.summary.state == FlowState::Held {
                break status;
            }
            tokio::task::yield_now().await;
        };
        assert!(held.steps[0].is_holding && held.steps[1].waits_for == [0]);
        if is_skipped {
            handle.skip_with("a", &"mended").await.unwrap();
        } else {
            engine.requeue(held.steps[0].job).await.unwrap();
        }
        assert_eq!(handle.wait().await.unwrap(), r#""mended""#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_failed_is_retried_from_the_step_that_did() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("b", [Play::Permanent, Play::Succeed]);
    let mut flow = Flow::new("story");
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    let b = flow.after(&a, StepDraft::new(&step("b")).named("b"));
    let c = flow.after(&b, StepDraft::new(&step("c")).named("c"));
    let handle = engine.submit(flow.output(&c)).await.unwrap();
    handle.wait().await.unwrap_err();
    let is_no = |error: ControlError| matches!(error, ControlError::Refused(Refusal::StepForbidden { .. }));
    assert!(is_no(handle.retry("a").await.unwrap_err()) && is_no(handle.skip("c").await.unwrap_err()));
    handle.retry("b").await.unwrap();
    assert_eq!(handle.wait().await.unwrap(), "c");
    assert_eq!((script.attempts("a"), script.attempts("b"), script.attempts("c")), (vec![1], vec![1, 2], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn what_succeeded_is_undone_in_reverse_order_when_the_flow_fails() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("c", [Play::Permanent]);
    script.plan("undo b", [echo::<Text>()]);
    let mut flow = Flow::new("saga");
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    let b = flow.after(&a, StepDraft::new(&step("b")).named("b"));
    let c = flow.after(&b, StepDraft::new(&step("c")).named("c"));
    for (of, name) in [(&a, "undo a"), (&b, "undo b"), (&c, "undo c")] {
        flow.undo(of, StepDraft::new(&Text(step(name))).named(name));
    }
    let handle = engine.submit(flow).await.unwrap();
    handle.wait().await.unwrap_err();
    assert_eq!(script.order(), ["a", "b", "c", "undo b", "undo a"]);
    let status = handle.status().await.unwrap();
    assert_eq!((status.summary.state, status.step("undo c").unwrap().state), (FlowState::Failed, StepState::Skipped));
}

#[tokio::test(start_paused = true)]
async fn signals_and_timers_take_no_worker_and_a_signal_counts_once() {
    let script = Script::new();
    let engine = start_on_a_clock(&script, once().concurrency(1)).await;
    script.plan("b", [echo::<Number>()]);
    let mut flow = Flow::new("story");
    let rest = flow.wait("rest", (), 5 * MIN);
    let approved = flow.signal::<u64>("approved", &rest, Some(MIN));
    let b = flow.then(&approved, StepDraft::new(&Number(step("b"))).named("b"));
    let begun = tokio::time::Instant::now();
    let handle = engine.submit(flow.output(&b)).await.unwrap();
    engine.enqueue(step("another")).and_wait().await.unwrap();
    // Before its turn, and once more.
    assert!(engine.signal(handle.id(), "approved", &7).await.unwrap());
    assert!(!engine.signal(handle.id(), "approved", &8).await.unwrap());
    assert_eq!(handle.wait().await.unwrap(), "7");
    assert!(begun.elapsed() >= 5 * MIN);

    let mut flow = Flow::new("story");
    let approved = flow.signal::<u64>("approved", (), Some(MIN));
    flow.then(&approved, StepDraft::new(&Number(step("never"))).named("b"));
    let handle = engine.submit(flow).await.unwrap();
    let Err(FlowWaitError::Failed { step, failure: None, .. }) = handle.wait().await else { panic!("expired") };
    assert_eq!((step.as_str(), script.attempts("never")), ("approved", vec![]));
    let refused = engine.signal(handle.id(), "approval", &7).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::NoStep { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_cannot_be_is_refused_before_anything_is_stored() {
    let script = Script::new();
    let queues = [once(), QueueConfig::new("ram").durability(Durability::Memory)];
    let mut engine = builder(&script, MemoryJournal::new());
    for queue in queues {
        engine = engine.queue(queue);
    }
    let engine = engine.start().await.unwrap();
    let draft = || Draft::new(&step("x"));
    let mut circle = FlowGraph::new("graph");
    circle.step("a", draft()).step("b", draft()).step("c", draft());
    circle.needs("a", "b").needs("b", "a").needs("c", "a");
    assert!(matches!(circle.build(), Err(FlowError::Circle { steps }) if steps == ["a", "b", "c"]));
    let mut unknown = FlowGraph::new("graph");
    unknown.step("a", draft()).needs("a", "b");
    assert!(matches!(unknown.build(), Err(FlowError::UnknownStep { .. })));

    let (mut one, mut other) = (Flow::new("one"), Flow::new("other"));
    let of_one = one.first(step("x"));
    other.after(&of_one, step("x"));
    assert!(matches!(engine.submit(other).await, Err(FlowError::OtherFlow)));
    let mut twice = Flow::new("twice");
    twice.first(StepDraft::new(&step("x")).named("x"));
    twice.first(StepDraft::new(&step("x")).named("x"));
    assert!(matches!(engine.submit(twice).await, Err(FlowError::NameTwice { name }) if name == "x"));
    assert!(matches!(engine.submit(Flow::new("empty")).await, Err(FlowError::NoJob)));
    let refused = |flow: Flow| async {
        match engine.submit(flow).await {
            Err(FlowError::Enqueue(EnqueueError::Refused(refusal))) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let mut both = Flow::new("both");
    both.first(step("x"));
    both.first(StepDraft::new(&step("x")).queue("ram"));
    assert!(matches!(refused(both).await, Refusal::FlowInTwoStores { .. }));
    let mut large = Flow::new("large");
    for _ in 0..10_001 {
        large.first(step("x"));
    }
    assert!(matches!(refused(large).await, Refusal::FlowSize { steps: 10_001, steps_max: 10_000, .. }));
    // Each of so many needs each of so many: 16 million are not even kept.
    let mut dense = Flow::new("dense");
    let firsts: Vec<_> = (0..4_000).map(|_| dense.first(step("x"))).collect();
    (0..4_000).for_each(|_| _ = dense.after(&firsts, step("x")));
    assert!(matches!(refused(dense).await, Refusal::FlowNeeds { needs: 16_000_000, needs_max: 100_000, .. }));
    let mut graph = FlowGraph::new("dense");
    for no in 0..448 {
        graph.step(format!("{no}"), Draft::new(&step("x")));
        (0..no).for_each(|needs| _ = graph.needs(format!("{no}"), format!("{needs}")));
    }
    assert!(matches!(refused(graph.build().unwrap()).await, Refusal::FlowNeeds { needs: 100_128, .. }));
    assert!(engine.flows(None, None, 10).await.unwrap().is_empty());
    assert_eq!(engine.stats().await.unwrap().iter().map(|stats| stats.totals.enqueued).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_taken_at_its_limits_and_refused_beyond_them() {
    let engine = start(&Script::new(), once().payload_bytes_max(1_024)).await;
    let one = |name: &str| {
        let mut flow = Flow::new("limits");
        flow.first(StepDraft::new(&step("x")).named(name).delay(MIN));
        flow
    };
    let mut large = Flow::new("large");
    for _ in 0..10_000 {
        large.first(StepDraft::new(&step("x")).delay(MIN));
    }
    engine.submit(large).await.unwrap();
    let mut dense = Flow::new("dense");
    let firsts: Vec<_> = (0..250).map(|_| dense.first(StepDraft::new(&step("x")).delay(MIN))).collect();
    (0..400).for_each(|_| _ = dense.after(&firsts, step("x")));
    engine.submit(dense).await.unwrap();
    engine.submit(one(&"n".repeat(128)).keep_for(36_500 * 24 * 60 * MIN)).await.unwrap();
    let is_range = |error: FlowError| matches!(error, FlowError::Enqueue(EnqueueError::Range(_)));
    for name in [String::new(), "n".repeat(129)] {
        assert!(is_range(engine.submit(one(&name)).await.unwrap_err()));
    }
    engine.submit(one("x").keep_for(MIN).keep_failed_for(MIN)).await.unwrap();
    engine.submit(one("x").keep_failed_for(36_500 * 24 * 60 * MIN)).await.unwrap();
    for time in [Duration::from_millis(59_999), 36_501 * 24 * 60 * MIN] {
        assert!(is_range(engine.submit(one("x").keep_for(time)).await.unwrap_err()));
        assert!(is_range(engine.submit(one("x").keep_failed_for(time)).await.unwrap_err()));
    }
    let nameless = engine.submit(Flow::new("a name with spaces")).await;
    assert!(matches!(nameless, Err(FlowError::Name { .. })));
    let mut keyed = Flow::new("keyed");
    keyed.first(StepDraft::new(&step("x")).unique(windlass::Unique::key("k")));
    let refused = engine.submit(keyed).await.unwrap_err();
    assert!(
        matches!(refused, FlowError::Enqueue(EnqueueError::Refused(Refusal::BadStep { step: 0, .. }))),
        "{refused}"
    );

    let mut signalled = one("x");
    signalled.signal::<String>("word", (), None);
    let handle = engine.submit(signalled).await.unwrap();
    let is_large = |error: ControlError| matches!(error, ControlError::Refused(Refusal::PayloadTooLarge { .. }));
    let (fits, too_large) = ("w".repeat(1_022), "w".repeat(1_023));
    assert!(is_large(engine.signal(handle.id(), "word", &too_large).await.unwrap_err()));
    assert!(is_large(handle.skip_with("x", &too_large).await.unwrap_err()));
    assert!(engine.signal(handle.id(), "word", &fits).await.unwrap());
    handle.skip_with("x", &fits).await.unwrap();
    handle.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_steps_of_ended_flows_than_may_be_kept_push_out_the_first_flow() {
    let engine = start(&Script::new(), work().depth_max(1_000_000)).await;
    let large = || {
        let mut flow = Flow::new("large");
        for _ in 0..10_000 {
            flow.first(StepDraft::new(&step("x")).delay(MIN));
        }
        flow
    };
    let mut handles = Vec::new();
    for _ in 0..21 {
        let handle = engine.submit(large()).await.unwrap();
        handle.cancel().await.unwrap();
        handle.wait().await.unwrap_err();
        handles.push(handle);
    }
    let kept = engine.flows(None, None, 1_000).await.unwrap();
    let expected: Vec<_> = handles[1..].iter().map(windlass::FlowHandle::id).collect();
    assert_eq!(kept.iter().map(|flow| flow.id).collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_graph_by_names_runs_in_its_order() {
    let script = Script::new();
    let engine = start(&script, once().concurrency(1)).await;
    let mut graph = FlowGraph::new("graph");
    script.plan("clean", [Play::Permanent]);
    for name in ["report", "clean", "load"] {
        graph.step(name, Draft::new(&step(name)));
    }
    graph.needs_or("report", "clean", IfFailed::GoOn).needs("clean", "load").needs("report", "load");
    let handle = engine.submit(graph.build().unwrap()).await.unwrap();
    handle.wait().await.unwrap();
    assert_eq!(script.order(), ["load", "clean", "report"]);
    let path = handle.status().await.unwrap().critical_path(SystemTime::now());
    assert_eq!(path.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["load", "clean", "report"]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_called_off_whole_and_forgotten_whole() {
    let script = Script::new();
    let engine = start_on_a_clock(&script, once()).await;
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let mut flow = Flow::new("story").keep_failed_for(Duration::from_secs(60));
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    flow.after(&a, step("b"));
    let handle = engine.submit(flow).await.unwrap();
    script.started("a", 1).await;
    handle.cancel().await.unwrap();
    assert!(matches!(handle.wait().await, Err(FlowWaitError::Cancelled { .. })));
    assert_eq!(script.order(), ["a"]);
    let listed = engine.flows(None, Some(FlowState::Cancelled), 10).await.unwrap();
    assert_eq!(listed.iter().map(|flow| flow.id).collect::<Vec<_>>(), [handle.id()]);
    tokio::time::advance(2 * MIN).await;
    let gone = loop {
        match handle.status().await {
            Ok(_) => tokio::time::advance(SEC).await,
            Err(error) => break error,
        }
    };
    assert!(matches!(gone, ControlError::Refused(Refusal::NoFlow { .. })), "{gone}");
}

/// A diamond whose join adds up what the others left.
fn diamond(id: FlowId) -> Flow<String> {
    let mut flow = Flow::new("diamond").id(id);
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    let sides = ["b", "c"].map(|name| flow.then(&a, StepDraft::new(&Text(step(name))).named(name)));
    let join = flow.then(&sides, StepDraft::new(&Texts(step("join"))).named("join"));
    let end = flow.then(&join, StepDraft::new(&Text(step("end"))).named("end"));
    flow.output(&end)
}

fn plan_diamond(script: &Script) {
    for name in ["b", "c", "end"] {
        script.plan(name, [echo::<Text>()]);
    }
    script.plan("join", [echo::<Texts>()]);
}

async fn in_line(life: &windlass_tests::world::Life) -> Engine {
    plan_diamond(&life.script);
    life.start(once().concurrency(2)).await
}

const GATHERED: &str = r#""[\"\\\"a\\\"\",\"\\\"a\\\"\"]""#;

/// Joins once, through a crash at every commit: after each number of appends the process dies, or the power fails.
#[test]
fn a_flow_goes_on_where_it_stood_whichever_commit_was_the_last() {
    for loses_power in [false, true] {
        let mut ended_in_the_first_life = false;
        for commits in 1..100 {
            let (mut world, id) = (World::new(), FlowId(new_job_id().0));
            let life = async |life: &windlass_tests::world::Life| {
                let engine = in_line(life).await;
                let last = life.faults.appends() + commits;
                let handle = engine.submit(diamond(id)).await.unwrap();
                run_until(&handle, life, last).await
            };
            ended_in_the_first_life =
                if loses_power { world.life_without_power_at_its_end(life) } else { world.life(life) };
            let mut sure = Vec::new();
            world.life(async |life| {
                let engine = in_line(life).await;
                // The same id is the same flow, if its Ok was given; otherwise it may be new.
                let handle = engine.submit(diamond(id)).await.unwrap();
                assert!(!handle.is_fresh(), "it was accepted");
                assert_eq!(handle.wait().await.unwrap(), GATHERED, "{commits} commits");
                sure = handle.status().await.unwrap().steps;
            });
            assert!(sure.iter().all(|step| step.state == StepState::Job(JobState::Done)), "{sure:?}");
            assert!(world.script.overlaps().is_empty());
            if ended_in_the_first_life {
                break;
            }
        }
        assert!(ended_in_the_first_life, "every commit was the last one once");
    }
}

/// Runs the flow until so many batches were appended, which is its end, or until its own; whether that came first.
pub(crate) async fn run_until(
    handle: &windlass::FlowHandle<String>,
    life: &windlass_tests::world::Life,
    last: u64,
) -> bool {
    let dies = async {
        while life.faults.appends() < last {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = dies => false,
        output = handle.wait() => output.is_ok(),
    }
}

/// Plays a flow with each of the first appends failing, in every way: it is handed in until its answer comes, and gives this.
pub(crate) async fn through_failed_writes(
    appends: u64,
    plan: impl Fn(&Script),
    flow: impl Fn(FlowId) -> Flow<String>,
    gives: &str,
) {
    for fault in [AppendFault::Refused, AppendFault::UnknownAbsent, AppendFault::UnknownWritten] {
        for at in 1..appends {
            let script = Script::new();
            let journal = FaultJournal::new(MemoryJournal::simulated_disk());
            let faults = journal.faults();
            plan(&script);
            let engine = builder(&script, journal).queue(once().concurrency(2)).start().await.unwrap();
            let mut left = at;
            faults.judge_appends(move |_| {
                left -= 1;
                (left == 0).then_some(fault)
            });
            let id = FlowId(new_job_id().0);
            let handle = loop {
                match engine.submit(flow(id)).await {
                    Ok(handle) => break handle,
                    Err(FlowError::Enqueue(EnqueueError::Interrupted { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(handle.wait().await.unwrap(), gives, "{fault:?} at {at}");
            assert!(script.overlaps().is_empty());
            engine.shutdown(SEC).await.unwrap();
        }
    }
}

/// I10: what was decided and is not written is decided anew, on whatever was written.
#[tokio::test(start_paused = true)]
async fn a_flow_goes_on_through_failed_writes_at_every_commit() {
    through_failed_writes(12, plan_diamond, diamond, GATHERED).await;
}
