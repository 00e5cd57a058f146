//! Traces: a job carries the one that it was enqueued in, its attempts go on in it, and their spans say how they ended.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};
use windlass::storage::StorageError;
use windlass::{Engine, EngineBuilder, MemoryJournal, Propagation, RetryPolicy, SEC, TraceContext};
use windlass_tests::fault::FaultJournal;
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{builder, work};

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of all spans of attempts, by their number.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>);

struct Into<'a>(&'a mut Fields);

impl Visit for Into<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

fn place_of(span: &Id) -> usize {
    usize::try_from(span.into_u64()).unwrap() - 1
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "windlass.attempt"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let (mut spans, mut fields) = (self.0.lock().unwrap(), Fields::new());
        span.record(&mut Into(&mut fields));
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Into(&mut self.0.lock().unwrap()[place_of(span)]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap()[place_of(span)].insert("entered", String::new());
    }

    fn exit(&self, _: &Id) {}
}

impl Spans {
    /// These fields of the spans of one job, in order.
    fn of(&self, id: windlass::JobId, fields: &[&str]) -> Vec<Vec<String>> {
        let (spans, id) = (self.0.lock().unwrap(), id.to_string());
        let mine = spans.iter().filter(|span| span["job.id"] == id);
        mine.map(|span| fields.iter().map(|field| span.get(field).cloned().unwrap_or_default()).collect()).collect()
    }
}

const PAYLOAD_BYTES: usize = 200 << 10;
const OUTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OWN: &str = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00";

/// What goes on, as the test says, and what each attempt was told to follow before its span was entered: later, it would be too late for some.
#[derive(Clone, Default)]
struct Tracer {
    current: Arc<Mutex<Option<String>>>,
    followed: Arc<Mutex<Vec<(Id, String)>>>,
}

impl Propagation for Tracer {
    fn current(&self) -> Option<TraceContext> {
        let current = self.current.lock().unwrap().clone()?;
        assert!(current != "panic", "as the test says");
        let (traceparent, tracestate) = current.split_once(' ').unwrap_or((&current, ""));
        let tracestate = (!tracestate.is_empty()).then(|| tracestate.to_owned());
        Some(TraceContext { traceparent: traceparent.to_owned(), tracestate })
    }

    fn follow(&self, span: &Span, context: &TraceContext) {
        let TraceContext { traceparent: parent, tracestate } = context;
        let is_entered = |(id, dispatch): (&Id, &tracing::Dispatch)| {
            dispatch.downcast_ref::<Spans>().unwrap().0.lock().unwrap()[place_of(id)].contains_key("entered")
        };
        assert!(!span.with_subscriber(is_entered).unwrap(), "it comes too late");
        let state = tracestate.iter().map(|state| format!(" {state}"));
        self.followed.lock().unwrap().push((span.id().unwrap(), parent.clone() + &state.collect::<String>()));
        assert!(!parent.ends_with("ff"), "as the test says");
    }
}

fn described(script: &Script, tracer: &Tracer) -> EngineBuilder<Script> {
    let queue = work().retry(RetryPolicy::fixed(SEC).attempts(2).jitter_percent(0));
    builder(script, MemoryJournal::new()).queue(queue).propagation(tracer.clone())
}

/// The `traceparent` that an attempt finds in its context.
fn says_parent() -> Play {
    Play::run(|cx| async move { Ok(format!("{:?} {:?}", cx.trace_parent(), cx.trace_context())) })
}

#[tokio::test(start_paused = true)]
async fn the_span_of_an_attempt_says_whose_it_is_and_how_it_ended() {
    let (script, spans) = (Script::new(), Spans::default());
    let _here = tracing::subscriber::set_default(spans.clone());
    let engine = described(&script, &Tracer::default()).start().await.unwrap();
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).correlation_id("story").await.unwrap();
    for (attempt, time, then) in [(1, SEC * 3, Play::Fail), (2, SEC * 2, Play::Succeed)] {
        script.started("a", attempt).await;
        tokio::time::advance(time).await;
        script.tell("a", then);
    }
    job.wait().await.unwrap();
    let whose = ["job.kind", "job.queue", "job.attempt", "correlation_id", "job.outcome", "job.duration_ms"];
    let expected =
        [["step", "work", "1", "story", "failed", "3000"], ["step", "work", "2", "story", "succeeded", "2000"]];
    assert_eq!(spans.of(job.id(), &whose), expected);
    for (play, outcomes) in [
        (vec![Play::Panic, Play::Snooze(SEC), Play::CallOff], vec!["panicked", "snoozed", "cancelled"]),
        (vec![Play::Permanent], vec!["failed"]),
    ] {
        script.plan("b", play);
        let job = engine.enqueue(step("b")).await.unwrap();
        job.wait().await.unwrap_err();
        assert_eq!(spans.of(job.id(), &["job.outcome"]).concat(), outcomes);
    }
    let blocks = engine.enqueue(block("c")).await.unwrap();
    blocks.wait().await.unwrap();
    assert_eq!(spans.of(blocks.id(), &["job.kind", "job.outcome"]), [["block", "succeeded"]]);
    script.plan("d", [Play::Hold]);
    let released = engine.enqueue(step("d")).await.unwrap();
    script.started("d", 1).await;
    assert_eq!(spans.of(released.id(), &["job.outcome", "job.duration_ms"]), [["", ""]], "it runs");
    engine.shutdown(SEC).await.unwrap();
    assert_eq!(spans.of(released.id(), &["job.outcome"]), [["released"]], "its code was dropped");
}

/// What each attempt of the job was told to follow.
fn followed(tracer: &Tracer, spans: &Spans, id: windlass::JobId) -> Vec<String> {
    let (spans, id, told) = (spans.0.lock().unwrap(), id.to_string(), tracer.followed.lock().unwrap());
    let mine = told.iter().filter(|(span, _)| spans[place_of(span)]["job.id"] == id);
    mine.map(|(_, parent)| parent.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_in_the_trace_that_it_was_enqueued_in_or_in_its_own() {
    let (script, spans, tracer) = (Script::new(), Spans::default(), Tracer::default());
    let _here = tracing::subscriber::set_default(spans.clone());
    let engine: Engine = described(&script, &tracer).start().await.unwrap();
    script.plan("a", [says_parent()]);
    let run = async |draft: windlass::Enqueue<windlass_tests::script::Step>| {
        let job = draft.await.unwrap();
        (job.id(), job.wait().await.unwrap())
    };
    let (id, said) = run(engine.enqueue(step("a"))).await;
    assert_eq!((said.as_str(), followed(&tracer, &spans, id).len()), ("None None", 0), "nothing goes on");
    *tracer.current.lock().unwrap() = Some(OUTER.to_owned());
    let (id, said) = run(engine.enqueue(step("a"))).await;
    assert_eq!(said, format!("Some({OUTER:?}) Some({OUTER:?})"));
    assert_eq!(followed(&tracer, &spans, id), [OUTER]);
    let (id, said) = run(engine.enqueue(step("a")).trace_context(OWN)).await;
    assert_eq!(said, format!("Some({OWN:?}) Some({OWN:?})"));
    assert_eq!(followed(&tracer, &spans, id), [OWN]);
    // With what systems on the way say of it; what is no header's text, or too long, stays behind.
    let with = |state: &str| format!("{OUTER} {state}");
    let text = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    for (state, goes) in [(text, true), (&"x".repeat(512), true), (&"x".repeat(513), false), ("größe=1", false)] {
        *tracer.current.lock().unwrap() = Some(with(state));
        let (id, said) = run(engine.enqueue(step("a"))).await;
        let expected = if goes { with(state) } else { OUTER.to_owned() };
        assert_eq!(said, format!("Some({OUTER:?}) Some({expected:?})"));
        assert_eq!(followed(&tracer, &spans, id), [expected]);
    }
    script.plan("state", [Play::run(|cx| async move { Ok(format!("{:?}", cx.trace_state())) })]);
    let said = engine.enqueue(step("state")).trace_context(&with(text)).and_wait().await.unwrap();
    assert_eq!(said, format!("Some({text:?})"));
    // One that is none is carried, and followed by nothing; of the tracer's it is not even taken.
    let (id, said) = run(engine.enqueue(step("a")).trace_context("00-trace")).await;
    assert_eq!((said.as_str(), followed(&tracer, &spans, id).len()), ("None Some(\"00-trace\")", 0));
    *tracer.current.lock().unwrap() = Some(OUTER.to_uppercase());
    assert_eq!(run(engine.enqueue(step("a"))).await.1, "None None");
    // A panic in it costs no job.
    *tracer.current.lock().unwrap() = Some("panic".to_owned());
    assert_eq!(run(engine.enqueue(step("a"))).await.1, "None None");
    let bad = OUTER.replace("-01", "-ff");
    let (id, _) = run(engine.enqueue(step("a")).trace_context(&bad)).await;
    assert_eq!(followed(&tracer, &spans, id), [bad]);
}

/// A follow-up goes on in what its parent's attempt is in by then; without a tracer, in what its parent came with.
#[tokio::test(start_paused = true)]
async fn follow_ups_go_on_in_the_trace_of_the_attempt() {
    for (current, expected) in [(Some(OUTER), OUTER), (None, OWN)] {
        let (script, spans, tracer) = (Script::new(), Spans::default(), Tracer::default());
        let _here = tracing::subscriber::set_default(spans.clone());
        let engine = described(&script, &tracer).start().await.unwrap();
        *tracer.current.lock().unwrap() = current.map(str::to_owned);
        let next = windlass::new_job_id();
        script.plan(
            "a",
            [Play::run(move |cx| async move {
                cx.follow_up_with(windlass::Draft::new(&step("next")).id(next))?;
                Ok("a".to_owned())
            })],
        );
        engine.enqueue(step("a")).trace_context(OWN).and_wait().await.unwrap();
        script.returned("next", 1).await;
        assert_eq!(followed(&tracer, &spans, next), [expected]);
    }
}

/// What a span goes on from stands in a job's body. Where that was on disk only, and was not read ahead either, the attempt waits for it, and
/// enters its span then.
#[tokio::test(start_paused = true)]
async fn a_span_is_told_what_it_goes_on_from_before_it_is_entered_though_the_payload_was_on_disk() {
    let (script, spans, tracer) = (Script::new(), Spans::default(), Tracer::default());
    let _here = tracing::subscriber::set_default(spans.clone());
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let queue = work().concurrency(1).result_bytes_max(PAYLOAD_BYTES);
    let builder = builder(&script, journal).memory_bytes_max(16 << 20).queue(queue).propagation(tracer.clone());
    let engine = builder.start().await.unwrap();
    engine.pause("work").await.unwrap();
    let name = |n: usize| format!("{n:05}{}", "x".repeat(PAYLOAD_BYTES - 20));
    for n in 0..100 {
        engine.enqueue(step(&name(n))).await.unwrap();
    }
    let polled = engine.enqueue(step(&name(100))).trace_context(OUTER).await.unwrap();
    let blocks = engine.enqueue(block(&name(101))).trace_context(OWN).await.unwrap();
    assert!(engine.memory().await.unwrap().paged_out > 2);
    // The reads ahead of their turn: the attempts have to read for themselves.
    let (ids, begun) = ([polled.id(), blocks.id()], Arc::<Mutex<Vec<_>>>::default());
    let (noted, seen) = (begun.clone(), spans.clone());
    faults.judge_reads(move |read| {
        ids.contains(&read).then(|| noted.lock().unwrap().push((read, seen.of(read, &[]).len())))?;
        seen.of(read, &[]).is_empty().then_some(StorageError::Closed)
    });
    engine.resume("work").await.unwrap();
    polled.wait().await.unwrap();
    blocks.wait().await.unwrap();
    for (id, parent) in ids.into_iter().zip([OUTER, OWN]) {
        assert!(begun.lock().unwrap().contains(&(id, 1)), "the attempt has read it");
        assert_eq!(followed(&tracer, &spans, id), [parent]);
        assert_eq!(spans.of(id, &["job.attempt", "job.outcome"]), [["1", "succeeded"]]);
    }
    engine.shutdown(SEC).await.unwrap();
}
