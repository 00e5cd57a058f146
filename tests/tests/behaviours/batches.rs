//! Batches: steps that are made of many jobs, told once when all have ended, and which failed.
//!
//! Guards I16: a batch ends once all its jobs have and not before, in the commit of the last one's end, and jobs that came meanwhile are
//! among them.

use serde::{Deserialize, Serialize};
use windlass::{
    BatchReport, ControlError, Draft, Durability, EnqueueError, Filter, Flow, FlowError, FlowGraph, FlowId, FlowState,
    FlowStep, FlowWaitError, Job, JobState, MemoryJournal, QueueConfig, Refusal, RetryPolicy, StepDraft, StepState,
    Unique, Verb, new_job_id,
};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{Life, World, builder, start, work};

use crate::flows::{run_until, through_failed_writes};

/// A step of the script that gets what a spread collected.
#[derive(Serialize, Deserialize)]
struct Gather(Step);

impl Job for Gather {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = String;

    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.encode()
    }
}

impl FlowStep for Gather {
    type Input = Vec<String>;
}

/// As [`Gather`], of a report.
#[derive(Serialize, Deserialize)]
struct Tell(Step);

impl Job for Tell {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = String;

    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.encode()
    }
}

impl FlowStep for Tell {
    type Input = BatchReport;
}

fn once() -> QueueConfig {
    work().retry(RetryPolicy::never())
}

fn gather() -> Play {
    Play::run(|cx| async move { Ok(cx.input::<Gather>().await?.join("+")) })
}

fn tell() -> Play {
    Play::run(|cx| async move {
        let report = cx.input::<Tell>().await?;
        Ok(format!("{} of {}, {} failed", report.done, report.jobs, report.failed()))
    })
}

/// Adds jobs of these names to the batch.
fn adds(batch: &'static str, names: &'static [&'static str]) -> Play {
    Play::run(move |cx| async move {
        let batch = cx.batch(batch).await?;
        for name in names {
            batch.follow_up(&step(name))?;
        }
        Ok(String::new())
    })
}

/// A split whose parts are gathered. Parts may split further.
fn split(id: FlowId) -> Flow<String> {
    let mut flow = Flow::new("split").id(id);
    let split = flow.first(StepDraft::new(&step("split")).named("split"));
    let parts = flow.spread::<Step>("parts", &split);
    let all = flow.then(&parts, StepDraft::new(&Gather(step("all"))).named("all"));
    flow.output(&all)
}

fn plan_split(script: &Script) {
    script.plan("split", [adds("parts", &["a", "b", "c"])]);
    script.plan("b", [adds("parts", &["b1", "b2"])]);
    script.plan("all", [gather()]);
}

const GATHERED: &str = "a++c+b1+b2";

#[tokio::test(start_paused = true)]
async fn a_step_decides_how_wide_the_next_one_is_and_its_parts_may_go_on_splitting() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    plan_split(&script);
    let handle = engine.submit(split(FlowId(new_job_id().0))).await.unwrap();
    assert_eq!(handle.wait().await.unwrap(), GATHERED);
    let status = handle.status().await.unwrap();
    assert_eq!(status.step("parts").unwrap().batch.unwrap().done, 5);
    // The batch as the flow's own output.
    let mut flow = Flow::new("split");
    let first = flow.first(StepDraft::new(&step("split")).named("split"));
    let parts = flow.spread::<Step>("parts", &first);
    let output = engine.submit(flow.output(&parts)).await.unwrap().wait().await.unwrap();
    assert_eq!(output, ["a", "", "c", "b1", "b2"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_tells_once_when_all_have_ended_and_which_failed() {
    let script = Script::new();
    let engine = start(&script, once().concurrency(2)).await;
    script.plan("x", [Play::Hold]);
    script.plan("bad", [Play::Permanent]);
    script.plan("worse", [Play::CallOff]);
    script.plan("more", [adds("mails", &["late"])]);
    script.plan("told", [tell()]);
    let mut flow = Flow::new("mails");
    let mails = flow.batch("mails", ());
    for name in ["x", "bad", "more", "worse"] {
        flow.add_to(&mails, &step(name));
    }
    let told = flow.then(&mails, StepDraft::new(&Tell(step("told"))).named("told"));
    let handle = engine.submit(flow.output(&told)).await.unwrap();
    let mails = handle.batch("mails").await.unwrap();
    mails.add(&step("outside")).await.unwrap();
    script.tell("x", Play::Succeed);
    assert_eq!(handle.wait().await.unwrap(), "4 of 6, 2 failed");
    let report = mails.progress().await.unwrap();
    assert_eq!((report.jobs, report.dead, report.cancelled, report.open()), (6, 1, 1, 0));
    let failures = mails.failures(0, 1_000).await.unwrap();
    assert_eq!(
        failures.iter().map(|failed| (failed.place, failed.end.into())).collect::<Vec<_>>(),
        [(1, JobState::Dead), (3, JobState::Cancelled)]
    );
    assert_eq!(mails.failures(2, 1_000).await.unwrap(), failures[1..]);
    assert_eq!(mails.failures(0, 1).await.unwrap(), failures[..1]);
    assert_eq!(script.attempts("told"), [1]);
    let dead = engine.jobs(Filter::new().batch(&mails).state(JobState::Dead)).await.unwrap();
    assert_eq!(dead.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [failures[0].job]);
    // A dead letter tells what it belongs to, as does a step.
    let status = handle.status().await.unwrap();
    for (job, step, is_of_batch) in [(failures[0].job, "mails", true), (status.steps[1].job, "told", false)] {
        let part = engine.inspect(job).await.unwrap().part_of.unwrap();
        assert_eq!((part.flow, status.steps[part.step].name.as_str()), (handle.id(), step));
        assert_eq!(part.is_of_batch, is_of_batch);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spread_that_failed_is_tried_again_with_its_dead_jobs() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    plan_split(&script);
    script.plan("c", [Play::Permanent, Play::Output("mended".into())]);
    let handle = engine.submit(split(FlowId(new_job_id().0))).await.unwrap();
    let Err(FlowWaitError::Failed { step, failure: Some(failure), .. }) = handle.wait().await else { panic!("failed") };
    assert_eq!(
        (step.as_str(), failure.message.as_str()),
        ("parts", "1 of 5 jobs failed: 1 dead, 0 called off, 0 expired")
    );
    let parts = handle.batch("parts").await.unwrap();
    let dead = Filter::new().batch(&parts).state(JobState::Dead);
    let order = engine.steer_all(Verb::Requeue, dead).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 1);
    handle.retry("parts").await.unwrap();
    assert_eq!(handle.wait().await.unwrap(), "a++mended+b1+b2");
    assert_eq!(parts.failures(0, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_is_called_off_calls_off_the_jobs_of_its_batches_and_ends_after_them() {
    let script = Script::new();
    let engine = start(&script, once().concurrency(2)).await;
    script.plan("run", [Play::until_cancelled(Play::Fail)]);
    let mut flow = Flow::new("mails");
    let mails = flow.batch("mails", ());
    for no in 0..3_000 {
        flow.add_draft_to(&mails, Draft::new(&step(if no < 2 { "run" } else { "never" })));
    }
    let handle = engine.submit(flow).await.unwrap();
    script.started("run", 2).await;
    handle.cancel().await.unwrap();
    assert!(matches!(handle.wait().await, Err(FlowWaitError::Cancelled { .. })));
    let report = handle.batch("mails").await.unwrap().progress().await.unwrap();
    assert_eq!((report.jobs, report.cancelled), (3_000, 3_000));
    assert_eq!((script.attempts("never"), script.live()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn an_open_batch_is_filled_bit_by_bit_and_ends_when_it_is_closed() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    let mut flow = Flow::new("import");
    let rows = flow.open_batch("rows", ());
    flow.first(step("x"));
    let handle = engine.submit(flow.output(&rows)).await.unwrap();
    let rows = handle.batch("rows").await.unwrap();
    for _ in 0..10 {
        rows.add_all((0..100).map(|_| Draft::new(&step("row")))).await.unwrap();
    }
    while rows.progress().await.unwrap().done < 1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows.state().await.unwrap(), StepState::Job(JobState::Waiting));
    let status = handle.status().await.unwrap();
    assert_eq!(status.summary.state, FlowState::Running);
    let why = engine.job(status.step("rows").unwrap().job).await.unwrap().why.unwrap();
    assert_eq!(why.to_string(), "its 1000 jobs have ended, and somebody has to close it");
    rows.close().await.unwrap();
    assert_eq!(handle.wait().await.unwrap().done, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_graph_by_names_may_have_a_batch() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("list", [adds("mails", &["a", "b"])]);
    let mut graph = FlowGraph::new("graph");
    for name in ["list", "end"] {
        graph.step(name, Draft::new(&step(name)));
    }
    graph.batch("mails").needs("mails", "list").needs("end", "mails");
    engine.submit(graph.build().unwrap()).await.unwrap().wait().await.unwrap();
    assert_eq!(script.order(), ["list", "a", "b", "end"]);
}

/// An empty mailing, and one that is filled from outside.
#[tokio::test(start_paused = true)]
async fn a_flow_may_have_no_job_yet_where_it_says_its_queue() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    let empty = || {
        let mut flow = Flow::new("mails");
        let mails = flow.batch("mails", ());
        flow.output(&mails)
    };
    let refused = engine.submit(empty()).await.unwrap_err();
    assert!(matches!(refused, FlowError::NoJob) && refused.to_string().contains("Flow::queue"), "{refused}");
    let report = engine.submit(empty().queue("work")).await.unwrap().wait().await.unwrap();
    assert_eq!(report, BatchReport::default());
    let nowhere = engine.submit(empty().queue("nowhere")).await.unwrap_err();
    assert!(matches!(nowhere, FlowError::Enqueue(EnqueueError::Refused(Refusal::NoQueue { .. }))), "{nowhere}");
    let no_name = engine.submit(empty().queue("no name")).await.unwrap_err();
    assert!(matches!(no_name, FlowError::Enqueue(_)), "{no_name}");

    let mut flow = Flow::new("import");
    let rows = flow.open_batch("rows", ());
    let handle = engine.submit(flow.output(&rows).queue("work")).await.unwrap();
    assert_eq!(handle.status().await.unwrap().step("rows").unwrap().queue, "work");
    let rows = handle.batch("rows").await.unwrap();
    rows.add(&step("row")).await.unwrap();
    rows.close().await.unwrap();
    assert_eq!(handle.wait().await.unwrap().done, 1);
}

/// A spread that does not need the step that fills it is over before that begins.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_over_is_refused_to_who_would_fill_it() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("split", [adds("parts", &["a"])]);
    script.plan("all", [gather()]);
    let mut flow = Flow::new("split");
    let before = flow.first(StepDraft::new(&step("before")).named("before"));
    let parts = flow.spread::<Step>("parts", ());
    flow.after(&before, StepDraft::new(&step("split")).named("split"));
    flow.then(&parts, StepDraft::new(&Gather(step("all"))).named("all"));
    let handle = engine.submit(flow).await.unwrap();
    let Err(FlowWaitError::Failed { step, failure: Some(failure), .. }) = handle.wait().await else { panic!("failed") };
    assert_eq!(step, "split");
    assert!(failure.message.contains("batch `parts` is over") && failure.message.contains("open_batch"), "{failure}");
    assert_eq!((script.attempts("a"), script.attempts("split")), (vec![], vec![1]), "for good");
}

/// Whoever skipped a batch, or called it off, has said that the flow is to go on without.
#[tokio::test(start_paused = true)]
async fn a_step_whose_batch_was_skipped_or_called_off_does_not_fail_by_it() {
    let script = Script::new();
    let engine = start(&script, once()).await;
    script.plan("lost", [Play::Fail]);
    script.plan("fills", [adds("skipped", &["alone"])]);
    script.plan("tries", [adds("off", &["off"])]);
    let mut flow = Flow::new("mails");
    let go = flow.signal::<()>("go", (), None);
    let lost = flow.first(StepDraft::new(&step("lost")).optional());
    flow.open_batch("skipped", ());
    let off = flow.open_batch("off", &lost);
    flow.after((&go, off.go_on()), step("fills"));
    flow.after((&go, off.go_on()), step("tries"));
    let handle = engine.submit(flow).await.unwrap();
    handle.skip("skipped").await.unwrap();
    assert_eq!(handle.wait_step("off").await.unwrap().state, StepState::Job(JobState::Cancelled));
    engine.signal(handle.id(), "go", &()).await.unwrap();
    handle.wait().await.unwrap();
    assert_eq!((script.attempts("fills"), script.attempts("tries")), (vec![1], vec![1]));
}

fn refused<T: std::fmt::Debug>(result: Result<T, EnqueueError>) -> Refusal {
    match result {
        Err(EnqueueError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_at_its_limits_and_refused_beyond_them() {
    let script = Script::new();
    let ram = QueueConfig::new("ram").durability(Durability::Memory);
    let engine = builder(&script, MemoryJournal::new()).queue(once()).queue(ram).start().await.unwrap();
    let whole = |jobs: usize| {
        let mut flow = Flow::new("mails");
        let mails = flow.batch("mails", ());
        for _ in 0..jobs {
            flow.add_to(&mails, &step("x"));
        }
        flow.output(&mails)
    };
    let handle = engine.submit(whole(100_000)).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().done, 100_000);
    let too_large = engine.submit(whole(100_001)).await.unwrap_err();
    assert!(matches!(too_large, FlowError::Enqueue(EnqueueError::TooLarge { jobs: 100_001, .. })), "{too_large:?}");

    let over = handle.batch("mails").await.unwrap();
    let refusal = refused(over.add(&step("x")).await);
    assert!(matches!(refusal, Refusal::StepForbidden { is: "over", .. }), "{refusal}");
    let mut flow = Flow::new("mails");
    flow.open_batch("open", ());
    let go = flow.signal::<()>("go", (), None);
    flow.spread::<Step>("spread", &go);
    flow.first(step("x"));
    let handle = engine.submit(flow).await.unwrap();
    let (open, spread) = (handle.batch("open").await.unwrap(), handle.batch("spread").await.unwrap());
    let other_store = refused(open.add_all([Draft::new(&step("x")).queue("ram")]).await);
    assert!(matches!(other_store, Refusal::FlowInTwoStores { .. }), "{other_store}");
    let keyed = refused(open.add_all([Draft::new(&step("x")).unique(Unique::key("k"))]).await);
    assert!(matches!(keyed, Refusal::BadStep { step: 0, .. }), "{keyed}");
    let of_other_kind = refused(spread.add(&windlass_tests::script::block("x")).await);
    assert!(matches!(of_other_kind, Refusal::BadStep { step: 2, .. }), "{of_other_kind}");
    open.close().await.unwrap();
    let no_batch = handle.batch("go").await.unwrap_err();
    assert!(matches!(no_batch, ControlError::Refused(Refusal::StepForbidden { is: "no batch", .. })), "{no_batch}");
    script.plan(
        "much",
        [Play::run(|cx| async move {
            let batch = cx.batch("spread").await?;
            for _ in 0..10_000 {
                batch.follow_up(&step("x"))?;
            }
            let over = batch.follow_up(&step("x")).unwrap_err();
            assert!(matches!(over, EnqueueError::Range(_)), "{over}");
            let of_other_kind = batch.follow_up(&windlass_tests::script::block("x")).unwrap_err();
            assert!(matches!(of_other_kind, EnqueueError::Refused(Refusal::BadStep { .. })), "{of_other_kind}");
            assert!(of_other_kind.to_string().contains("step `spread` of flow"), "{of_other_kind}");
            let nowhere = cx.batch("nowhere").await.unwrap_err();
            let told = format!("{nowhere:?}");
            assert!(told.contains("no step `nowhere`"), "{told}");
            Ok(String::new())
        })],
    );
    spread.add(&step("much")).await.unwrap();
    while spread.progress().await.unwrap().done < 10_001 {
        tokio::task::yield_now().await;
    }
    engine.signal(handle.id(), "go", &()).await.unwrap();
    handle.wait().await.unwrap();
}

async fn in_line(life: &Life) -> windlass::Engine {
    plan_split(&life.script);
    life.start(once().concurrency(2)).await
}

/// The fan-out, its parts and the join come once each, through a crash at every commit, with the power or without.
#[test]
fn a_batch_goes_on_where_it_stood_whichever_commit_was_the_last() {
    for loses_power in [false, true] {
        let mut ended_in_the_first_life = false;
        for commits in 1..100 {
            let (mut world, id) = (World::new(), FlowId(new_job_id().0));
            let life = async |life: &Life| {
                let engine = in_line(life).await;
                let last = life.faults.appends() + commits;
                let handle = engine.submit(split(id)).await.unwrap();
                run_until(&handle, life, last).await
            };
            ended_in_the_first_life =
                if loses_power { world.life_without_power_at_its_end(life) } else { world.life(life) };
            world.life(async |life| {
                let engine = in_line(life).await;
                let handle = engine.submit(split(id)).await.unwrap();
                assert!(!handle.is_fresh(), "it was accepted");
                assert_eq!(handle.wait().await.unwrap(), GATHERED, "{commits} commits");
                let report = handle.batch("parts").await.unwrap().progress().await.unwrap();
                assert_eq!((report.jobs, report.done), (5, 5), "{commits} commits");
            });
            assert!(world.script.overlaps().is_empty());
            if ended_in_the_first_life {
                break;
            }
        }
        assert!(ended_in_the_first_life, "every commit was the last one once");
    }
}

/// I10: what was decided and is not written is decided anew, on whatever was written.
#[tokio::test(start_paused = true)]
async fn a_batch_goes_on_through_failed_writes_at_every_commit() {
    through_failed_writes(16, plan_split, split, GATHERED).await;
}
