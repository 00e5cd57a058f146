//! From the enqueue to the output, and what the numbers say of it.

use windlass::{
    ConfigError, ControlError, Durability, Engine, EnqueueError, HealthState, JobState, MemoryJournal, Priority,
    QueueConfig, Refusal, RetryPolicy, SEC, StartError, Why, new_job_id,
};
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{builder, start, work};

#[tokio::test(start_paused = true)]
async fn a_job_runs_and_its_output_comes_back() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Output("forty-two".to_owned())]);
    let job = engine.enqueue(step("a")).await.unwrap();
    assert!(job.is_fresh());
    assert_eq!(job.wait().await.unwrap(), "forty-two");
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.attempts, status.failures), (JobState::Done, 1, 0));
    assert_eq!((status.kind.as_str(), status.queue.as_str()), ("step", "work"));
    assert_eq!(engine.health().state, HealthState::Healthy);
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blocking_job_runs_and_its_output_comes_back() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    assert_eq!(engine.enqueue(block("a")).and_wait().await.unwrap(), "a");
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_level_of_durability_runs_its_jobs() {
    for level in [Durability::Memory, Durability::Process, Durability::Durable] {
        let script = Script::new();
        let engine = start(&script, work().durability(level)).await;
        for name in ["a", "b", "c"] {
            assert_eq!(engine.enqueue(step(name)).and_wait().await.unwrap(), name);
        }
        engine.shutdown(SEC).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_sees_its_job_as_it_was_enqueued() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            assert_eq!((cx.queue(), cx.attempt(), cx.failures()), ("work", 1, 0));
            assert_eq!((cx.correlation_id(), cx.trace_context()), (Some("story"), Some("00-trace")));
            assert_eq!(cx.tags(), ["red", "blue"]);
            assert!(!cx.is_cancelled() && cx.stop_reason().is_none());
            Ok(cx.id().to_string())
        })],
    );
    let id = new_job_id();
    let job = engine.enqueue(step("a")).id(id).tag("red").tag("blue").correlation_id("story").trace_context("00-trace");
    assert_eq!(job.and_wait().await.unwrap(), id.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_running_job_shows_its_state_its_attempt_and_its_progress() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            cx.progress(&0.5).unwrap();
            cx.progress(&"x".repeat(4_097)).unwrap_err();
            cx.cancellation().cancelled().await;
            Ok(String::new())
        })],
    );
    let running = engine.enqueue(step("a")).priority(Priority::HIGH).await.unwrap();
    let waiting = engine.enqueue(step("b")).await.unwrap();
    script.started("a", 1).await;
    let status = running.status().await.unwrap();
    assert_eq!((status.state, status.attempts, status.priority), (JobState::Running, 1, Priority::HIGH));
    assert_eq!(status.why, Some(Why::Running { overdue: false }));
    let status = engine.job(running.id()).await.unwrap();
    assert_eq!(status.progress.unwrap().as_f64(), Some(0.5));
    let status = waiting.status().await.unwrap();
    assert_eq!((status.state, status.attempts), (JobState::Ready, 0));
    assert_eq!(status.why, Some(Why::InLine { running: 1, slots: 1 }));
}

/// I3, I11: what is where, and that the numbers add up.
#[tokio::test(start_paused = true)]
async fn the_numbers_of_a_queue_add_up_after_every_sort_of_end() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("dead", [Play::Permanent]);
    script.plan("called off", [Play::CallOff]);
    script.plan("held", [Play::Hold]);
    for name in ["done", "dead", "called off", "held", "ready"] {
        engine.enqueue(step(name)).await.unwrap();
    }
    engine.enqueue(step("later")).delay(SEC * 10).await.unwrap();
    script.started("held", 1).await;
    let stats = engine.stats().await.unwrap();
    assert_eq!(stats.len(), 1);
    let stats = &stats[0];
    assert_eq!((stats.delayed, stats.ready, stats.running, stats.parked), (1, 1, 1, 0));
    assert_eq!((stats.done, stats.dead, stats.cancelled, stats.expired), (1, 1, 1, 0));
    assert_eq!((stats.totals.enqueued, stats.totals.attempts, stats.totals.purged), (6, 4, 0));
    let live = stats.live();
    let retained = stats.done + stats.dead + stats.cancelled + stats.expired;
    assert_eq!(stats.totals.enqueued, live + retained + stats.totals.purged + stats.totals.quarantined);
    tokio::time::advance(SEC * 2).await;
    assert_eq!(engine.stats().await.unwrap()[0].oldest_ready_ms, Some(2_000));
}

#[tokio::test(start_paused = true)]
async fn what_was_done_and_what_failed_is_told_for_a_minute() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).jitter_percent(0))).await;
    for name in ["b", "c"] {
        script.plan(name, [Play::Fail, Play::Succeed]);
    }
    let lately = async || {
        let stats = engine.stats().await.unwrap();
        (stats[0].done_last_minute, stats[0].failed_last_minute)
    };
    assert_eq!(lately().await, (0, 0));
    let mut jobs = Vec::new();
    for name in ["a", "b", "c"] {
        jobs.push(engine.enqueue(step(name)).await.unwrap());
    }
    for job in jobs {
        job.wait().await.unwrap();
    }
    assert_eq!(lately().await, (3, 2));
    tokio::time::advance(SEC * 57).await;
    assert_eq!(lately().await, (3, 2), "57 seconds later");
    tokio::time::advance(SEC * 4).await;
    assert_eq!(lately().await, (0, 0), "61 seconds later");
    let totals = &engine.stats().await.unwrap()[0].totals;
    assert_eq!((totals.done_total, totals.failures), (3, 2), "these are for ever");
}

#[tokio::test(start_paused = true)]
async fn what_never_was_is_forgotten() {
    let engine = start(&Script::new(), work()).await;
    let id = new_job_id();
    let refused = engine.job(id).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::Forgotten { id: of }) if of == id));
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_nothing_is_accepted_and_nothing_hangs() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("later")).delay(SEC).await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    assert!(matches!(engine.enqueue(step("b")).await, Err(EnqueueError::Unavailable(_))));
    assert!(matches!(engine.stats().await, Err(ControlError::Unavailable(_))));
    assert!(job.wait().await.is_err());
    engine.shutdown(SEC).await.unwrap_err();
}

#[test]
fn a_start_outside_of_a_runtime_is_refused() {
    let start = builder(&Script::new(), MemoryJournal::new()).queue(work()).start();
    let mut start = std::pin::pin!(start);
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(refused) = start.as_mut().poll(&mut nobody) else { panic!("it is refused at once") };
    assert!(matches!(refused, Err(StartError::NoRuntime)));
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_refused_with_their_numbers() {
    let builder = || builder(&Script::new(), MemoryJournal::new());
    let refused = async |builder: windlass::EngineBuilder<Script>| match builder.start().await {
        Err(StartError::Config(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(builder()).await, ConfigError::NoQueue));
    assert!(
        matches!(refused(builder().queue(work()).queue(work())).await, ConfigError::QueueTwice(name) if name == "work")
    );
    let other = QueueConfig::new("other");
    assert!(
        matches!(refused(builder().queue(other)).await, ConfigError::HandlerQueue { queue, .. } if queue == "work")
    );
    let twice = builder().queue(work()).handler(windlass_tests::script::run_step);
    assert!(matches!(refused(twice).await, ConfigError::HandlerTwice(kind) if kind == "step"));
    for name in ["", "white space", "ä", &"x".repeat(129)] {
        let named = refused(builder().queue(work()).queue(QueueConfig::new(name))).await;
        assert!(matches!(named, ConfigError::Name { bytes_max: 128, .. }), "{name}: {named}");
    }
    for queue in [work().concurrency(0), work().depth_max(0), work().payload_bytes_max(17 << 20)] {
        assert!(matches!(refused(builder().queue(queue)).await, ConfigError::Range { .. }));
    }
    let without = Engine::builder().app(Script::new()).queue(work()).start().await;
    assert!(matches!(without, Err(StartError::Config(ConfigError::NoJournal))));
}
