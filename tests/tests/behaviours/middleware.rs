//! Middleware: what it sees of an attempt, what it can do to it, and that whatever it does is the attempt's alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use windlass::middleware::{Attempt, AttemptOutcome, BlockingNext, Middleware, Next, OutcomeView, after, before};
use windlass::{
    ConfigError, EngineBuilder, FailureKind, JobError, JobState, MIN, MemoryJournal, QueueConfig, RetryDecision,
    RetryPolicy, SEC, StartError, StopReason, WaitError,
};
use windlass_tests::script::{Block, Play, Script, Step, block, step};
use windlass_tests::world::{builder, work};

/// Lines that somebody wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Says when it is entered and left.
struct Ring(&'static str, Log);

impl Middleware for Ring {
    async fn around(&self, _: &Attempt, next: Next) -> AttemptOutcome {
        self.1.say(format!("{} in", self.0));
        let outcome = next.run().await;
        self.1.say(format!("{} out", self.0));
        outcome
    }

    fn around_blocking(&self, _: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        self.1.say(format!("{} in", self.0));
        let outcome = next.run();
        self.1.say(format!("{} out", self.0));
        outcome
    }
}

/// Does this in the place of the handler, or around it.
struct Does<F>(F);

impl<F: Fn(&Attempt) -> Option<AttemptOutcome> + Send + Sync + 'static> Middleware for Does<F> {
    async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
        match (self.0)(attempt) {
            Some(outcome) => outcome,
            None => next.run().await,
        }
    }

    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        (self.0)(attempt).unwrap_or_else(|| next.run())
    }
}

fn engine(script: &Script, queue: QueueConfig) -> EngineBuilder<Script> {
    builder(script, MemoryJournal::new()).queue(queue)
}

/// Says what came of each attempt.
fn outcomes(log: &Log) -> impl Middleware + use<> {
    let log = log.clone();
    after(move |attempt, outcome, took| log.say(format!("{} {:?} {took:?}", attempt.attempt(), outcome.view())))
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_registered_is_the_outermost_for_async_and_for_blocking_handlers() {
    let (script, log) = (Script::new(), Log::default());
    let builder = engine(&script, work())
        .middleware(Ring("first", log.clone()))
        .middleware_for::<Block>(Ring("of blocks", log.clone()))
        .middleware(Ring("last", log.clone()));
    let engine = builder.start().await.unwrap();
    engine.enqueue(step("a")).and_wait().await.unwrap();
    assert_eq!(log.take(), ["first in", "last in", "last out", "first out"]);
    engine.enqueue(block("b")).and_wait().await.unwrap();
    let all = ["first in", "of blocks in", "last in", "last out", "of blocks out", "first out"];
    assert_eq!(log.take(), all);
}

#[tokio::test(start_paused = true)]
async fn it_sees_the_attempt_and_its_payload() {
    let (script, log) = (Script::new(), Log::default());
    let said = log.clone();
    let sees = before(move |attempt| {
        let payload = String::from_utf8_lossy(attempt.payload()).into_owned();
        let (kind, queue, version) = (attempt.kind(), attempt.queue(), attempt.version());
        let counts = (attempt.attempt(), attempt.failures());
        let (tags, story) = (attempt.tags().join("+"), attempt.correlation_id().unwrap_or_default());
        let (id, trace) = (attempt.id(), attempt.trace_context().unwrap_or_default());
        assert!(attempt.created() >= std::time::UNIX_EPOCH && attempt.stop_reason().is_none());
        said.say(format!("{id} {kind} {queue} {version} {counts:?} {tags} {story} {trace} {payload}"));
    });
    let engine = engine(&script, work().retry(RetryPolicy::fixed(SEC))).middleware(sees).start().await.unwrap();
    script.plan("a", [Play::Fail, Play::Snooze(SEC), Play::Succeed]);
    let job =
        engine.enqueue(step("a")).tag("red").tag("blue").correlation_id("story").trace_context("00").await.unwrap();
    job.wait().await.unwrap();
    let line = |counts: &str| format!("{} step work 1 {counts} red+blue story 00 {{\"name\":\"a\"}}", job.id());
    assert_eq!(log.take(), [line("(1, 0)"), line("(2, 1)"), line("(3, 1)")]);
}

#[tokio::test(start_paused = true)]
async fn it_sees_every_sort_of_outcome_and_how_long_it_took() {
    let (script, log) = (Script::new(), Log::default());
    let queue = work().retry(RetryPolicy::fixed(SEC).attempts(2)).attempt_timeout(MIN).result_bytes_max(8);
    let engine = engine(&script, queue).middleware(outcomes(&log)).start().await.unwrap();
    let slow = Play::run(async |_| {
        tokio::time::advance(SEC * 3).await;
        Ok("slow".to_owned())
    });
    let plans = [
        ("slow", slow, "1 Done { output: Some(b\"\\\"slow\\\"\"), output_bytes: 6 } 3"),
        ("large", Play::Output("x".repeat(20)), "1 Done { output: None, output_bytes: 22 } 0ns"),
        ("permanent", Play::Permanent, "Permanent, message: \"as the script says\" }, retry: Never } 0ns"),
        ("later", Play::RetryAfter(SEC * 7), "retry: After(7s) } 0ns"),
        ("fail", Play::Fail, "Error, message: \"as the script says\" }, retry: ByPolicy } 0ns"),
        ("panic", Play::Panic, "Panic, message: \"as the script says\" }, retry: ByPolicy } 0ns"),
        ("snooze", Play::Snooze(SEC), "1 Snoozed { delay: 1s } 0ns"),
        ("off", Play::CallOff, "1 Cancelled { reason: \"as the script says\" } 0ns"),
        ("timeout", Play::until_cancelled(Play::Fail), "TimedOut, message: \"the attempt's time was over; then error"),
    ];
    for (name, play, said) in plans {
        script.plan(name, [play, Play::Succeed]);
        let _ = engine.enqueue(step(name)).and_wait().await;
        let lines = log.take();
        assert!(lines[0].starts_with("1 ") && lines[0].contains(said), "{name}: {lines:?}");
    }
    script.plan("released", [Play::until_cancelled(Play::Fail)]);
    engine.enqueue(step("released")).await.unwrap();
    script.started("released", 1).await;
    engine.shutdown(SEC).await.unwrap();
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].starts_with("1 Released 1"), "{lines:?}");
}

/// What the kind's own rule says is what comes of it: the middleware is told so.
#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_decoded_is_seen_as_such() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd(bool);
    impl windlass::Job for Odd {
        const KIND: &'static str = "odd";
        const QUEUE: &'static str = "work";
        type Output = ();
        fn decode(_: &[u8], _: u32) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
            Err("odd".into())
        }
    }
    let (script, log) = (Script::new(), Log::default());
    let builder = engine(&script, work()).handler(async |_: Odd, _: windlass::Context<Script>| Ok(()));
    let engine = builder.middleware(outcomes(&log)).start().await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(Odd(true)).and_wait().await else { panic!("it is dead") };
    assert_eq!(failure.kind, FailureKind::Decode);
    assert!(log.take()[0].contains("kind: Decode"));
}

#[tokio::test(start_paused = true)]
async fn it_can_end_an_attempt_without_the_handler() {
    let script = Script::new();
    let instead = Does(|attempt: &Attempt| {
        let name = String::from_utf8_lossy(attempt.payload()).into_owned();
        match attempt.attempt() {
            1 if name.contains("known") => Some(AttemptOutcome::done_with("from the cache").unwrap()),
            1 if name.contains("later") => Some(JobError::snooze(MIN).into()),
            1 if name.contains("never") => Some(JobError::permanent("not here").into()),
            1 if name.contains("large") => Some(AttemptOutcome::done_with(&"x".repeat(99)).unwrap()),
            _ => None,
        }
    });
    let builder = engine(&script, work().result_bytes_max(50)).middleware(instead);
    let engine = builder.start().await.unwrap();
    for (job, has_run) in [("known", 0), ("later", 1)] {
        let output = engine.enqueue(step(job)).and_wait().await.unwrap();
        assert_eq!((output == "from the cache", script.attempts(job).len()), (has_run == 0, has_run));
    }
    assert_eq!(engine.enqueue(block("known")).and_wait().await.unwrap(), "from the cache");
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("never")).and_wait().await else { panic!("dead") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Permanent, "not here"));
    // The queue's limit holds for its outputs, too.
    let Err(WaitError::ResultTooLarge { bytes: 101, bytes_max: 50, .. }) =
        engine.enqueue(step("large")).and_wait().await
    else {
        panic!("it is too large")
    };
    assert!(script.attempts("never").is_empty() && script.attempts("large").is_empty());
}

struct Mends;

impl Middleware for Mends {
    async fn around(&self, _: &Attempt, next: Next) -> AttemptOutcome {
        next.run().await.map_failure(|failure| match failure.kind {
            FailureKind::Panic => JobError::permanent(format!("bug: {}", failure.message)),
            _ => JobError::retry_after(MIN, format!("seen: {}", failure.message)),
        })
    }

    fn around_blocking(&self, _: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        next.run()
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_change_a_failure_and_what_comes_of_it() {
    let (script, log) = (Script::new(), Log::default());
    let builder = engine(&script, work().retry(RetryPolicy::fixed(SEC)));
    let engine = builder.middleware(outcomes(&log)).middleware(Mends).start().await.unwrap();
    script.plan("bug", [Play::Panic]);
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("bug")).and_wait().await else { panic!("dead") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Permanent, "bug: as the script says"));
    assert!(log.take()[0].contains("retry: Never"));
    script.plan("a", [Play::Fail, Play::Succeed]);
    let since = tokio::time::Instant::now();
    engine.enqueue(step("a")).and_wait().await.unwrap();
    assert!(since.elapsed() >= MIN);
    assert!(log.take()[0].contains("seen: as the script says"));
}

tokio::task_local! {
    static NAME: &'static str;
}

/// A task-local around the handler, and a time-out of its own.
struct Wraps;

impl Middleware for Wraps {
    async fn around(&self, _: &Attempt, next: Next) -> AttemptOutcome {
        match tokio::time::timeout(MIN, NAME.scope("around", next.run())).await {
            Ok(outcome) => outcome,
            Err(_) => JobError::permanent("too slow for me").into(),
        }
    }

    fn around_blocking(&self, _: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        NAME.sync_scope("around", || next.run())
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_wrap_the_handler_s_future() {
    let script = Script::new();
    let engine = engine(&script, work()).middleware(Wraps).start().await.unwrap();
    let reads = || Play::run(async |_| Ok(NAME.with(|name| (*name).to_owned())));
    script.plan("a", [reads()]);
    script.plan("b", [reads()]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "around");
    assert_eq!(engine.enqueue(block("b")).and_wait().await.unwrap(), "around");
    script.plan("hangs", [Play::Hold]);
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("hangs")).and_wait().await else { panic!("dead") };
    assert_eq!(failure.message, "too slow for me");
    script.dropped("hangs", 1).await;
}

/// Sets this when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Holds(Arc<AtomicBool>);

impl Middleware for Holds {
    async fn around(&self, _: &Attempt, next: Next) -> AttemptOutcome {
        let _flag = Flag(self.0.clone());
        next.run().await
    }

    fn around_blocking(&self, _: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        next.run()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_and_a_drop_reach_through() {
    let (script, log, dropped) = (Script::new(), Log::default(), Arc::new(AtomicBool::new(false)));
    let queue = work().abort_after(SEC).retry(RetryPolicy::never()).attempt_timeout(MIN);
    let builder = engine(&script, queue).middleware(outcomes(&log)).middleware(Holds(dropped.clone()));
    let engine = builder.start().await.unwrap();
    script.plan("polite", [Play::until_cancelled(Play::Succeed)]);
    assert_eq!(engine.enqueue(step("polite")).and_wait().await.unwrap(), "polite");
    assert!(dropped.swap(false, Ordering::SeqCst));
    assert_eq!(log.take().len(), 1);
    script.plan("deaf", [Play::Hold]);
    let job = engine.enqueue(step("deaf")).await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = job.wait().await else { panic!("dead") };
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert_eq!((script.live(), dropped.load(Ordering::SeqCst)), (0, true));
    assert!(log.take().is_empty(), "nothing is called after an attempt that was dropped");
}

#[tokio::test(start_paused = true)]
async fn it_hears_why_the_attempt_should_end() {
    struct Waits;
    impl Middleware for Waits {
        async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
            attempt.cancellation().cancelled().await;
            assert_eq!(attempt.stop_reason(), Some(StopReason::Cancelled));
            drop(next);
            JobError::cancel("it was asked to").into()
        }

        fn around_blocking(&self, _: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
            next.run()
        }
    }
    let script = Script::new();
    let engine = engine(&script, work()).middleware(Waits).start().await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    while engine.job(job.id()).await.unwrap().state != JobState::Running {}
    job.cancel().await.unwrap();
    assert!(matches!(job.wait().await, Err(WaitError::Cancelled { .. })));
    assert!(script.attempts("a").is_empty());
}

/// A panic in it is a failure of the attempt: those further out see it, the job is retried, and its queue goes on.
#[tokio::test(start_paused = true)]
async fn a_panic_in_it_is_a_failure_of_the_attempt_and_nothing_else() {
    let (script, log) = (Script::new(), Log::default());
    let panics = |when: u32| {
        Does(move |attempt: &Attempt| {
            assert!(attempt.attempt() != when, "a bug around the handler");
            None
        })
    };
    let late = after(|attempt: &Attempt, _: &AttemptOutcome, _: Duration| {
        assert!(attempt.attempt() != 2, "a bug after the handler");
    });
    let builder = engine(&script, work().retry(RetryPolicy::fixed(SEC)));
    let builder = builder.middleware(outcomes(&log)).middleware(panics(1)).middleware(late);
    let engine = builder.start().await.unwrap();
    for (output, name) in [
        (engine.enqueue(step("a")).and_wait().await.unwrap(), "a"),
        (engine.enqueue(block("b")).and_wait().await.unwrap(), "b"),
    ] {
        assert_eq!(output, name);
        // The first never got to the handler, the second's success was not the attempt's.
        assert_eq!(script.attempts(name), [2, 3]);
    }
    let lines = log.take();
    assert_eq!(lines.len(), 6);
    for chunk in lines.chunks(3) {
        assert!(chunk[0].contains("kind: Panic, message: \"a bug around the handler\""), "{chunk:?}");
        assert!(chunk[1].contains("kind: Panic, message: \"a bug after the handler\""), "{chunk:?}");
        assert!(chunk[2].starts_with("3 Done"), "{chunk:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn follow_ups_of_a_handler_are_stored_through_it() {
    let (script, log) = (Script::new(), Log::default());
    let engine = engine(&script, work()).middleware(outcomes(&log)).start().await.unwrap();
    script.plan("a", [Play::run(async |cx: windlass::Context<Script>| Ok(cx.follow_up(&step("next"))?.to_string()))]);
    let id = engine.enqueue(step("a")).and_wait().await.unwrap().parse().unwrap();
    assert_eq!(engine.handle::<Step>(id).wait().await.unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn what_would_be_ignored_is_refused_at_the_start() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nobody;
    impl windlass::Job for Nobody {
        const KIND: &'static str = "nobody";
        const QUEUE: &'static str = "work";
        type Output = ();
    }
    let script = Script::new();
    let builder = engine(&script, work()).middleware_for::<Nobody>(before(|_| {}));
    let Err(StartError::Config(ConfigError::KindWithoutHandler(kind))) = builder.start().await else { panic!("no") };
    assert_eq!(kind, "nobody");
}

#[test]
fn the_decisions_on_retries_are_those_of_the_kinds_rules() {
    let outcome = AttemptOutcome::from(JobError::retry_after(SEC, "later"));
    let OutcomeView::Failed { failure, retry } = outcome.view() else { panic!("it failed") };
    assert_eq!((failure.message.as_str(), retry), ("later", RetryDecision::After(SEC)));
    assert!(AttemptOutcome::done().is_done() && AttemptOutcome::done().failure().is_none());
}
