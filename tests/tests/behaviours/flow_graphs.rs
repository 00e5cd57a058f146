//! Flows by names: what goes along their edges, what their steps may be, and what cannot be of one.

use serde_json::Value;
use windlass::{
    BatchReport, Draft, Flow, FlowError, FlowGraph, FlowState, FlowWaitError, IfFailed, InputError, QueueConfig,
    RetryPolicy, SEC, StepDraft, StepState,
};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{start, work};

fn once() -> QueueConfig {
    work().retry(RetryPolicy::never())
}

fn draft(name: &str) -> Draft {
    Draft::new(&step(name))
}

/// What the steps of these names left.
fn asks(names: &'static [&'static str]) -> Play {
    Play::run(move |cx| async move {
        let mut left = Vec::new();
        for name in names {
            left.push(cx.left_by::<Value>(name).await?.map_or("nothing".to_owned(), |left| left.to_string()));
        }
        Ok(left.join(" "))
    })
}

#[tokio::test(start_paused = true)]
async fn a_step_asks_for_what_others_left_by_their_names() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("load", [Play::Output("rows".into())]);
    script.plan("clean", [Play::Permanent]);
    script.plan(
        "fill",
        [Play::run(|cx| async move {
            let parts = cx.batch("parts").await?;
            parts.follow_up(&step("part"))?;
            parts.follow_up(&step("part"))?;
            Ok(String::new())
        })],
    );
    script.plan("part", [Play::Output("1".into()), Play::Output("2".into())]);
    script.plan("report", [asks(&["parts", "load", "ok", "clean", "mails"])]);
    let mut graph = FlowGraph::new("graph");
    graph.step("report", draft("report")).needs("report", "ok").needs("report", "parts").needs("report", "mails");
    graph.needs_or("report", "clean", IfFailed::GoOn).needs("clean", "load").needs("report", "load");
    graph.step("clean", draft("clean")).step("load", draft("load")).step("fill", draft("fill"));
    graph.spread::<Step>("parts").needs("parts", "fill").signal("ok", None);
    graph.batch("mails").add_to("mails", draft("mail"));
    let handle = engine.submit(graph.output::<String>("report").build().unwrap()).await.unwrap();
    engine.signal(handle.id(), "ok", &7).await.unwrap();
    let report = serde_json::to_string(&BatchReport::default())
        .unwrap()
        .replace("\"jobs\":0,\"done\":0", "\"jobs\":1,\"done\":1");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(handle.wait().await.unwrap(), format!(r#"["1","2"] "rows" 7 nothing {report}"#));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_asks_by_a_name_that_it_does_not_need_is_told_which_there_are_and_fails_for_good() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan(
        "b",
        [Play::run(|cx| async move {
            let wrong = cx.left_by::<u64>("a").await.unwrap_err();
            assert!(matches!(wrong, InputError::Decode { .. }), "{wrong}");
            assert_eq!(cx.left_by::<String>("a").await?.as_deref(), Some("left"));
            cx.left_by::<String>("c").await?;
            Ok(String::new())
        })],
    );
    script.plan("a", [Play::Output("left".into())]);
    script.plan("alone", [asks(&["a"])]);
    let mut flow = Flow::new("typed");
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    let other = flow.first(StepDraft::new(&step("x")).named("other"));
    flow.first(StepDraft::new(&step("x")).named("c"));
    flow.after((&a, &other), StepDraft::new(&step("b")).named("b"));
    let handle = engine.submit(flow).await.unwrap();
    let Err(FlowWaitError::Failed { failure: Some(failure), .. }) = handle.wait().await else { panic!("failed") };
    assert_eq!(failure.message, "this step needs no step `c`, and gets nothing of it: it needs `a`, `other`");
    assert_eq!(script.attempts("b"), [1]);
    let alone = engine.enqueue(step("alone")).and_wait().await.unwrap_err().to_string();
    assert!(alone.contains("is of no flow"), "{alone}");
}

#[tokio::test(start_paused = true)]
async fn a_graph_has_what_a_flow_has() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("pay", [Play::Output("paid".into())]);
    script.plan("refund", [asks(&["pay"])]);
    script.plan("mail", [Play::Permanent]);
    script.plan("pack", [Play::Permanent, Play::Succeed]);
    let graph = || {
        let mut graph = FlowGraph::new("order");
        graph.undo("refund", "pay", draft("refund")).step("mail", draft("mail")).optional("mail");
        graph.step("pack", draft("pack")).needs("pack", "cool").wait("cool", SEC * 90).needs("cool", "pay");
        graph.step("pay", draft("pay")).needs("pay", "rows").open_batch("rows").add_to("rows", draft("row"));
        graph
    };
    let handle = engine.submit(graph().build().unwrap()).await.unwrap();
    let begun = tokio::time::Instant::now();
    handle.batch("rows").await.unwrap().close().await.unwrap();
    let Err(FlowWaitError::Failed { step: failed, .. }) = handle.wait().await else { panic!("failed") };
    assert_eq!(failed, "pack", "`mail` is optional");
    assert!(begun.elapsed() >= SEC * 90);
    let status = handle.status().await.unwrap();
    assert_eq!(status.step("refund").unwrap().undoes, status.steps.iter().position(|one| one.name == "pay"));
    assert_eq!(script.attempts("refund"), [1], "what it undoes it may ask for");
    assert_eq!(status.step("refund").unwrap().failure, None);
    // And one that goes well, but for what it can do without, undoes nothing.
    let handle = engine.submit(graph().output::<String>("pay").build().unwrap()).await.unwrap();
    handle.batch("rows").await.unwrap().close().await.unwrap();
    handle.wait().await.unwrap();
    let status = handle.status().await.unwrap();
    assert_eq!((status.summary.state, status.step("refund").unwrap().state), (FlowState::Done, StepState::Skipped));
}

type Says = fn(&mut FlowGraph);

/// Each of them before anything is stored, and with what was said.
#[test]
fn a_graph_with_a_wrong_name_or_a_need_twice_is_refused() {
    let wrong = |say: Says| {
        let mut graph = FlowGraph::new("graph");
        graph.step("a", draft("a")).step("b", draft("b")).needs("b", "a");
        say(&mut graph);
        graph.build().unwrap_err()
    };
    let unknown: [(Says, &str); 5] = [
        (|graph| _ = graph.needs("a", "x"), "`a` needs it"),
        (|graph| _ = graph.needs("x", "a"), "it is to need `a`"),
        (|graph| _ = graph.optional("x"), "it is to be optional"),
        (|graph| _ = graph.undo("c", "x", draft("c")), "`c` undoes it"),
        (|graph| _ = graph.add_to("x", draft("c")), "jobs are added to it"),
    ];
    for (say, why) in unknown {
        assert_eq!(wrong(say).to_string(), format!("the flow has no step `x`, and {why}"));
    }
    let mut graph = FlowGraph::new("graph");
    graph.step("a", draft("a"));
    let output = graph.output::<String>("x").build().unwrap_err();
    assert!(matches!(output, FlowError::UnknownStep { step, .. } if step == "x"));
    let twice = wrong(|graph| _ = graph.needs_or("b", "a", IfFailed::GoOn));
    assert!(matches!(twice, FlowError::NeedTwice { step, needs } if (step.as_str(), needs.as_str()) == ("b", "a")));
    let both = wrong(|graph| _ = graph.undo("c", "a", draft("c")).needs("c", "a"));
    assert!(matches!(both, FlowError::NeedTwice { .. }), "{both}");
    let circle = wrong(|graph| _ = graph.undo("c", "b", draft("c")).needs("a", "c"));
    assert!(matches!(circle, FlowError::Circle { steps } if steps == ["a", "b", "c"]));
}
