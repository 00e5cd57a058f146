//! Settings of a kind: before its queue's, after the job's own.

use std::time::Duration;

use tokio::time::Instant;
use windlass::{
    ConfigError, Draft, Engine, EngineBuilder, EnqueueError, FailureKind, JobState, KindConfig, MIN, MemoryJournal,
    Priority, QueueConfig, Refusal, RetryPolicy, SEC, StartError, WaitError, Why,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, took, work};

fn with(script: &Script, kind: KindConfig) -> EngineBuilder<Script> {
    let queue = work().attempt_timeout(MIN * 10).retry(RetryPolicy::never());
    builder(script, MemoryJournal::new()).queue(queue).queue(QueueConfig::new("other")).kind(kind)
}

/// I3: what may not go stands in a lane of its own, over all queues, and nobody waits behind it.
#[tokio::test(start_paused = true)]
async fn so_many_attempts_of_a_kind_run_at_once_over_all_queues() {
    let script = Script::new();
    let engine = with(&script, KindConfig::new("step").concurrency(2)).start().await.unwrap();
    for name in ["a", "b", "c"] {
        script.plan(name, [Play::Hold]);
    }
    engine.enqueue(step("a")).await.unwrap();
    engine.enqueue(step("b")).queue("other").await.unwrap();
    let c = engine.enqueue(step("c")).await.unwrap();
    script.started("b", 1).await;
    let passes = engine.enqueue(windlass_tests::script::block("passes")).and_wait();
    assert_eq!(passes.await.unwrap(), "passes");
    assert_eq!(c.status().await.unwrap().why, Some(Why::KindInUse { running: 2, slots: 2 }));
    script.tell("b", Play::Succeed);
    script.started("c", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_has_its_own_patience_and_its_own_retries() {
    let script = Script::new();
    let kind = KindConfig::new("step").attempt_timeout(SEC * 5).retry(RetryPolicy::fixed(SEC).attempts(2));
    let engine = with(&script, kind).start().await.unwrap();
    script.plan("a", [Play::until_cancelled(Play::Fail)]);
    let before = Instant::now();
    let Err(WaitError::Dead { failure, .. }) = engine.enqueue(step("a")).and_wait().await else { panic!("it is dead") };
    assert_eq!((failure.kind, script.attempts("a")), (FailureKind::TimedOut, vec![1, 2]));
    assert!(before.elapsed() > SEC * 10 && before.elapsed() < SEC * 12, "{:?}", before.elapsed());
    // What the job says goes before.
    let before = Instant::now();
    let own = engine.enqueue(step("a")).attempt_timeout(SEC).retry(RetryPolicy::never());
    own.and_wait().await.unwrap_err();
    assert!(took(before, Instant::now(), SEC));
}

#[tokio::test(start_paused = true)]
async fn a_kind_goes_to_its_configured_queue_unless_the_job_says_otherwise() {
    let script = Script::new();
    let engine = with(&script, KindConfig::new("step").queue("other")).start().await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    assert_eq!(job.status().await.unwrap().queue.as_str(), "other");
    let job = engine.enqueue(step("b")).queue("work").await.unwrap();
    assert_eq!(job.status().await.unwrap().queue.as_str(), "work");
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_kind_that_cannot_be_are_refused_with_what_to_do() {
    let script = Script::new();
    let refused = async |kind: KindConfig| match with(&script, kind).start().await {
        Err(StartError::Config(error)) => error,
        other => panic!("{other:?}"),
    };
    let error = refused(KindConfig::new("step").concurrency(0)).await;
    assert_eq!(error.to_string(), "kind `step`: concurrency is 0, allowed are 1 to 100000");
    assert!(matches!(
        refused(KindConfig::new("step").attempt_timeout(Duration::ZERO)).await,
        ConfigError::Range { .. }
    ));
    assert!(matches!(refused(KindConfig::new("")).await, ConfigError::Name { what: "kind", .. }));
    assert!(
        matches!(refused(KindConfig::new("stepp")).await, ConfigError::KindWithoutHandler(kind) if kind == "stepp")
    );
    let nowhere = refused(KindConfig::new("step").queue("nowhere")).await;
    assert!(matches!(nowhere, ConfigError::HandlerQueue { queue, .. } if queue == "nowhere"));
    let twice = with(&script, KindConfig::new("step")).kind(KindConfig::new("step")).start().await;
    assert!(matches!(twice, Err(StartError::Config(ConfigError::KindTwice(kind))) if kind == "step"));
}

/// An engine that only hands in.
#[tokio::test(start_paused = true)]
async fn an_engine_without_handlers_hands_in_what_another_build_works_off() {
    let journal = MemoryJournal::simulated_disk();
    let producer = Engine::builder().journal(journal.second_handle()).queue(work()).queue(QueueConfig::new("other"));
    let producer = producer.allow_unknown_kinds().start().await.unwrap();
    let a = producer.enqueue(step("a")).priority(Priority::LOW).await.unwrap();
    let others = ["b", "c"].map(|name| Draft::new(&step(name)).queue("other"));
    producer.enqueue_all(others).await.unwrap();
    let d = producer.enqueue(step("d")).priority(Priority::URGENT).await.unwrap();
    let later = producer.enqueue(step("later")).delay(MIN).await.unwrap();
    let off = producer.enqueue(step("called off")).await.unwrap();
    assert_eq!(off.cancel().await.unwrap(), JobState::Cancelled);
    let status = a.status().await.unwrap();
    assert_eq!((status.state, status.why), (JobState::Parked, Some(Why::NoHandler)));
    let stats = producer.stats().await.unwrap();
    assert_eq!((stats[0].parked, stats[0].delayed, stats[1].parked), (2, 1, 2));
    // A job of a kind that nobody knows takes no slot, and falls due like any other.
    tokio::time::advance(MIN).await;
    while later.status().await.unwrap().state != JobState::Parked {
        tokio::time::advance(SEC).await;
    }
    producer.shutdown(SEC).await.unwrap();
    journal.lose_power();

    let script = Script::new();
    let queues = work().concurrency(1);
    let consumer = builder(&script, journal.second_handle()).queue(queues).queue(QueueConfig::new("other"));
    let consumer = consumer.start().await.unwrap();
    for id in [a.id(), d.id(), later.id()] {
        consumer.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
    }
    script.returned("c", 1).await;
    let order = script.order();
    let place = |name: &str| order.iter().position(|started| started == name).unwrap();
    assert!(place("d") < place("later") && place("later") < place("a"), "{order:?}");
    assert_eq!(order.len(), 5, "what was called off does not run: {order:?}");
    assert_eq!(consumer.stats().await.unwrap()[0].parked, 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_handlers_that_was_not_told_to_produce_refuses_and_says_how() {
    let engine = Engine::builder().journal(MemoryJournal::new()).queue(work()).start().await.unwrap();
    let refused = engine.enqueue(step("a")).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::NoHandler { .. })));
    assert!(refused.to_string().contains("allow unknown kinds"), "{refused}");
}
