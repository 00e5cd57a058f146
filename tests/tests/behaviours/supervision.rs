//! What panics, and who survives it: jobs, the code around them, and the engine's own parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use windlass::{
    Clock, Context, ControlError, Draft, EnqueueError, FailureKind, HealthState, Job, JobError, MIN, MemoryJournal,
    RetryPolicy, SEC, ShutdownError, StartError, WaitError,
};
use windlass_tests::fault::{AppendFault, Fault, FaultJournal};
use windlass_tests::script::{Play, Script, Step, What, block, step};
use windlass_tests::world::{EPOCH_MS, builder, start, start_with_faults, work};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

async fn died_of(script: &Script, job: impl Job<Output = String>) -> windlass::Failure {
    let engine = start(script, work().retry(RetryPolicy::never()).abort_after(SEC)).await;
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(job).and_wait().await else { panic!("it is dead") };
    assert_eq!(engine.enqueue(step("next")).and_wait().await.unwrap(), "next");
    assert_eq!(engine.health().state, HealthState::Healthy);
    engine.shutdown(SEC).await.unwrap();
    failure
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_is_a_failure_with_its_message() {
    let script = Script::new();
    script.plan("a", [Play::Panic]);
    for failure in [died_of(&script, step("a")).await, died_of(&script, block("a")).await] {
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, "as the script says"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_destructor_of_a_handler_s_local_is_a_failure() {
    let script = Script::new();
    script.plan(
        "a",
        [Play::run(|_| async {
            let _bomb = Bomb;
            Ok(String::new())
        })],
    );
    for failure in [died_of(&script, step("a")).await, died_of(&script, block("a")).await] {
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, "in a destructor"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_destructor_of_code_that_is_cut_off_is_contained() {
    let script = Script::new();
    script.plan(
        "a",
        [Play::run(|_| async {
            let _bomb = Bomb;
            std::future::pending().await
        })],
    );
    let queue = work().attempt_timeout(MIN).abort_after(SEC).retry(RetryPolicy::never());
    let engine = start(&script, queue).await;
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("a")).and_wait().await else { panic!() };
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert_eq!(engine.enqueue(step("next")).and_wait().await.unwrap(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_message_panics_is_a_failure_and_does_not_stop_the_engine() {
    let script = Script::new();
    script.plan("a", [Play::run(|_| async { std::panic::panic_any(Bomb) })]);
    for failure in [died_of(&script, step("a")).await, died_of(&script, block("a")).await] {
        assert_eq!(failure.kind, FailureKind::Panic);
    }
}

/// Panics in its (de)serializer where it is told to.
#[derive(Debug, PartialEq, Eq)]
enum Odd {
    Fine,
    PanicsInSerialize,
    PanicsInDeserialize,
    PanicsInOutput,
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fine => 0,
            Self::PanicsInSerialize => panic!("in a serializer"),
            Self::PanicsInDeserialize => 2,
            Self::PanicsInOutput => 3,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => panic!("in a deserializer"),
            3 => Ok(Self::PanicsInOutput),
            _ => Ok(Self::Fine),
        }
    }
}

impl Job for Odd {
    const KIND: &'static str = "odd";
    const QUEUE: &'static str = "work";
    type Output = Odd;
}

async fn run_odd(job: Odd, _: Context<Script>) -> Result<Odd, JobError> {
    Ok(if job == Odd::PanicsInOutput { Odd::PanicsInSerialize } else { Odd::Fine })
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_serializer_is_the_caller_s_error_or_the_attempt_s_failure() {
    let builder = builder(&Script::new(), MemoryJournal::new()).handler(run_odd);
    let engine = builder.queue(work().retry(RetryPolicy::never())).start().await.unwrap();
    let error = engine.enqueue(Odd::PanicsInSerialize).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Encode { kind: "odd", reason } if reason == "in a serializer"));
    for (job, message) in [(Odd::PanicsInDeserialize, "in a deserializer"), (Odd::PanicsInOutput, "in a serializer")] {
        let Err(WaitError::Dead { failure, .. }) = engine.enqueue(job).and_wait().await else { panic!("it is dead") };
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, message));
    }
    assert_eq!(engine.enqueue(Odd::Fine).and_wait().await.unwrap(), Odd::Fine);
}

/// A clock that panics as often as it is told to.
#[derive(Clone, Default)]
struct Broken {
    panics: Arc<AtomicU32>,
}

impl Clock for Broken {
    fn wall_ms(&self) -> u64 {
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "a clock that panics");
        EPOCH_MS
    }
}

async fn start_broken(script: &Script) -> (windlass::Engine, Broken) {
    let clock = Broken::default();
    let builder = builder(script, MemoryJournal::new()).clock(clock.clone()).queue(work());
    (builder.start().await.unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_queue_actor_costs_a_rebuild_and_no_job() {
    let script = Script::new();
    let (engine, clock) = start_broken(&script).await;
    script.plan("running", [Play::Hold]);
    let running = engine.enqueue(step("running")).await.unwrap();
    let delayed = engine.enqueue(step("delayed")).delay(MIN).await.unwrap();
    script.started("running", 1).await;
    clock.panics.store(1, Ordering::SeqCst);
    // The one whose message it was learns nothing; whoever comes next waits for the new actor.
    engine.stats().await.unwrap_err();
    assert_eq!(engine.stats().await.unwrap()[0].running, 1);
    assert_eq!(engine.health().state, HealthState::Healthy);
    script.tell("running", Play::Succeed);
    assert_eq!(running.wait().await.unwrap(), "running");
    assert_eq!(delayed.wait().await.unwrap(), "delayed");
    assert_eq!((script.attempts("running"), script.overlaps().len()), (vec![1], 0));
}

/// I7: the scheduler actor holds soft state only: lose it, and the queue arms it again.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_scheduler_actor_costs_no_timer() {
    for (panics, first) in [(1, MIN), (1, SEC), (2, MIN), (3, MIN)] {
        let script = Script::new();
        let (engine, clock) = start_broken(&script).await;
        engine.enqueue(step("first")).delay(first).await.unwrap();
        engine.enqueue(step("second")).delay(MIN * 2).await.unwrap();
        // Everyone is at rest: the next to look at the clock is the scheduler, when its first timer fires.
        clock.panics.store(panics, Ordering::SeqCst);
        let both = script.returned("second", 1);
        tokio::time::timeout(MIN * 10, both).await.expect("the timers fire");
        assert_eq!(script.order(), ["first", "second"]);
        assert_eq!(clock.panics.load(Ordering::SeqCst), 0);
        assert_eq!(engine.health().state, HealthState::Healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_writer_costs_a_rebuild_and_no_job() {
    for fault in [AppendFault::Panic, AppendFault::PanicWritten] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        faults.on_append(fault);
        let Err(EnqueueError::Interrupted { id }) = engine.enqueue(step("a")).await else { panic!("interrupted") };
        let again = engine.enqueue(step("a")).id(id).await.unwrap();
        assert_eq!(again.is_fresh(), fault == AppendFault::Panic);
        again.wait().await.unwrap();
        assert_eq!(script.attempts("a"), [1]);
    }
    let (engine, faults) = start_with_faults(&Script::new(), work()).await;
    faults.on_sync(Fault::Panic);
    engine.enqueue(step("b")).await.unwrap_err();
    engine.enqueue(step("c")).and_wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_or_panics_in_the_journal_is_an_error() {
    for fault in [Fault::Error, Fault::Panic] {
        let journal = FaultJournal::new(MemoryJournal::new());
        journal.faults().on_open(fault);
        let error = builder(&Script::new(), journal).queue(work()).start().await.unwrap_err();
        assert!(matches!(error, StartError::Open(_) | StartError::Thread(_)), "{error}");
        let journal = FaultJournal::new(MemoryJournal::new());
        journal.faults().on_load(fault);
        let error = builder(&Script::new(), journal).queue(work()).start().await.unwrap_err();
        assert!(matches!(error, StartError::Load(_) | StartError::Thread(_)), "{error}");
    }
}

/// I10, and the budget: after five rebuilds in a row the engine hands out nothing more, lives, and says why.
#[tokio::test(start_paused = true)]
async fn a_storage_that_stays_broken_makes_the_engine_unhealthy_and_it_says_why() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("running", [Play::Hold]);
    engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    let waiter = tokio::spawn(engine.enqueue(step("later")).delay(MIN).and_wait());
    faults.judge_appends(|_| Some(AppendFault::Refused));
    // Rebuilding writes, too, where something has to be adopted: not every failure needs a caller.
    let mut interrupted = 0;
    let reason = loop {
        match engine.enqueue(step("a")).await.unwrap_err() {
            EnqueueError::Unavailable(reason) => break reason,
            EnqueueError::Interrupted { .. } => interrupted += 1,
            error => panic!("{error}"),
        }
    };
    assert!((1..=6).contains(&interrupted), "{interrupted}");
    assert!(reason.contains("a fault that the test asked for"), "{reason}");
    let HealthState::Unhealthy(reason) = engine.health().state else { panic!("{:?}", engine.health()) };
    assert!(reason.contains("5 rebuilds") && reason.contains("a fault that the test asked for"), "{reason}");
    assert!(waiter.await.unwrap().is_err());
    assert_eq!(script.order(), ["running"]);
    // It still stops, and lets the journal go.
    engine.shutdown(SEC).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_does_not_open_again_makes_the_engine_unhealthy_and_it_can_be_stopped() {
    let (engine, faults) = start_with_faults(&Script::new(), work()).await;
    faults.on_append(AppendFault::Refused);
    (0..5).for_each(|_| faults.on_open(Fault::Error));
    engine.enqueue(step("a")).await.unwrap_err();
    let error = engine.enqueue(step("b")).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Unavailable(_)), "{error}");
    assert!(matches!(engine.health().state, HealthState::Unhealthy(_)));
    let _ = engine.shutdown(SEC).await;
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_service_makes_the_budget_whole_again() {
    let (engine, faults) = start_with_faults(&Script::new(), work()).await;
    for _ in 0..20 {
        faults.on_append(AppendFault::Refused);
        engine.enqueue(step("a")).await.unwrap_err();
        engine.enqueue(step("b")).and_wait().await.unwrap();
        tokio::time::advance(MIN * 2).await;
    }
    assert_eq!((engine.health().state, faults.opens()), (HealthState::Healthy, 21));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_panicking_attempt_is_reported_once() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(3))).await;
    script.plan("a", [Play::Panic]);
    engine.enqueue(step("a")).and_wait().await.unwrap_err();
    assert_eq!(script.attempts("a"), [1, 2, 3]);
    assert!(script.history().iter().all(|event| event.what != What::Returned));
    let totals = engine.stats().await.unwrap()[0].totals.clone();
    assert_eq!((totals.attempts, totals.failures), (3, 3));
}

/// A log collector that panics at the first span of so many attempts.
struct BrokenCollector {
    panics: AtomicU32,
}

impl tracing::Subscriber for BrokenCollector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.name() == "windlass.attempt"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert_ne!(left, Ok(1), "a collector that panics at the last of them");
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The worker falls between two attempts that it was told to start: the first has waited for its first poll, the second was
/// nowhere yet, the third not even looked at.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_worker_actor_costs_a_rebuild_and_no_job() {
    for at in [1, 2, 3] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        let _collector = tracing::subscriber::set_default(BrokenCollector { panics: AtomicU32::new(at) });
        let names = ["a", "b", "c"];
        let receipts = engine.enqueue_all(names.map(|name| Draft::new(&step(name)))).await.unwrap();
        for (receipt, name) in receipts.iter().zip(names) {
            assert_eq!(engine.handle::<Step>(receipt.id).wait().await.unwrap(), name);
            assert_eq!(script.attempts(name).len(), 1);
        }
        let totals = engine.stats().await.unwrap()[0].totals.clone();
        assert_eq!((totals.done_total, totals.failures, totals.lost, faults.opens()), (3, 0, 0, 2), "at {at}");
        assert_eq!(engine.health().state, HealthState::Healthy);
    }
}

/// A log collector that panics at what the supervisor says.
struct DeafToSupervisor;

impl tracing::Subscriber for DeafToSupervisor {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().ends_with("supervisor")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        panic!("a collector that panics at {}", event.metadata().name());
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Nobody restarts the supervisor: the engine is closed then, says so, and keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_supervisor_closes_the_engine_and_keeps_nobody_waiting() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("running", [Play::Hold]);
    let job = engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    let waits = tokio::spawn(async move { job.wait().await });
    engine.stats().await.unwrap();
    let _collector = tracing::subscriber::set_default(DeafToSupervisor);
    faults.on_append(AppendFault::Refused);
    engine.enqueue(step("a")).await.unwrap_err();
    let waited = tokio::time::timeout(MIN, waits).await.expect("nobody waits for ever").unwrap();
    assert!(matches!(waited, Err(WaitError::Control(ControlError::Unavailable(_)))), "{waited:?}");
    assert!(matches!(engine.enqueue(step("b")).await, Err(EnqueueError::Unavailable(_))));
    assert!(matches!(engine.health().state, HealthState::Stopped(_)));
    assert!(matches!(engine.shutdown(SEC).await, Err(ShutdownError::Stopped(_))));
}

/// The writer has nothing to mark while no journal is open: on a paused clock a busy one would stop the time.
#[tokio::test(start_paused = true)]
async fn a_journal_that_does_not_open_after_a_panic_leaves_the_writer_at_rest() {
    let clock = Broken::default();
    let journal = FaultJournal::new(MemoryJournal::new());
    let faults = journal.faults();
    let builder = builder(&Script::new(), journal).clock(clock.clone()).queue(work());
    let engine = builder.start().await.unwrap();
    for name in ["a", "b"] {
        engine.enqueue(step(name)).and_wait().await.unwrap();
    }
    (0..5).for_each(|_| faults.on_open(Fault::Error));
    clock.panics.store(1, Ordering::SeqCst);
    engine.stats().await.unwrap_err();
    tokio::time::timeout(MIN, engine.stats()).await.expect("it gives up").unwrap_err();
    assert!(matches!(engine.health().state, HealthState::Unhealthy(_)));
}
