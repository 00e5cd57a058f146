//! Every number and name that a call can bring: taken at its limit, refused one beyond it with the numbers, and nothing stored.
//!
//! The guide's page on limits names the test of each row; what is not here stands with its subject.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use windlass::{
    ConfigError, ControlError, Draft, Engine, EnqueueError, Filter, Job, JobState, KindConfig, MemoryJournal,
    OutOfRange, Priority, QueueConfig, RateLimit, Retention, RetryPolicy, SEC, StartError, Verb, When,
};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, builder, start, work};

/// 36,500 days: the longest duration.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3_600);
const MS: Duration = Duration::from_millis(1);

fn out_of(error: EnqueueError) -> OutOfRange {
    match error {
        EnqueueError::Range(refused) => refused,
        other => panic!("{other}"),
    }
}

fn draft() -> Draft {
    Draft::new(&step("a"))
}

/// The last moment of the year 9999.
fn end_of_9999() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(253_402_300_799_999)
}

/// What is just taken, and what just is not, with the words for it.
fn options() -> Vec<(Draft, Draft, &'static str)> {
    let tags = |n: usize| (0..n).fold(draft(), |draft, n| draft.tag(&n.to_string()));
    let long = |bytes: usize| "x".repeat(bytes);
    vec![
        (tags(16), tags(17), "tags: 17 given, 0 to 16 allowed"),
        (draft().tag(&long(256)), draft().tag(&long(257)), "bytes of a tag: 257 given, 0 to 256 allowed"),
        (
            draft().correlation_id(&long(256)),
            draft().correlation_id(&long(257)),
            "bytes of the correlation id: 257 given, 0 to 256 allowed",
        ),
        (
            draft().trace_context(&long(568)),
            draft().trace_context(&long(569)),
            "bytes of the trace context: 569 given, 0 to 568 allowed",
        ),
        (
            draft().delay(LONGEST),
            draft().delay(LONGEST + MS),
            "delay in ms: 3153600000001 given, 0 to 3153600000000 allowed",
        ),
        (
            draft().at(end_of_9999()),
            draft().at(end_of_9999() + MS),
            "time in ms since 1970: 253402300800000 given, 0 to 253402300799999 allowed",
        ),
        (
            draft().expires_in(LONGEST),
            draft().expires_in(LONGEST + MS),
            "expiry in ms: 3153600000001 given, 0 to 3153600000000 allowed",
        ),
        (
            draft().expires_at(end_of_9999()),
            draft().expires_at(end_of_9999() + MS),
            "time in ms since 1970: 253402300800000 given, 0 to 253402300799999 allowed",
        ),
        (
            draft().attempt_timeout(MS),
            draft().attempt_timeout(Duration::ZERO),
            "attempt_timeout in ms: 0 given, 1 to 3153600000000 allowed",
        ),
        (
            draft().attempt_timeout(LONGEST),
            draft().attempt_timeout(LONGEST + MS),
            "attempt_timeout in ms: 3153600000001 given, 1 to 3153600000000 allowed",
        ),
    ]
}

/// The same for policies.
fn policies() -> Vec<(Draft, Draft, &'static str)> {
    let list = |n: usize| RetryPolicy::list(&vec![SEC; n]);
    let retry = |policy| draft().retry(policy);
    vec![
        (
            retry(RetryPolicy::default().attempts(1)),
            retry(RetryPolicy::default().attempts(0)),
            "retry attempts: 0 given, 1 to 4294967295 allowed",
        ),
        (
            retry(RetryPolicy::default().jitter_percent(100)),
            retry(RetryPolicy::default().jitter_percent(101)),
            "retry jitter_percent: 101 given, 0 to 100 allowed",
        ),
        (
            retry(RetryPolicy::fixed(LONGEST)),
            retry(RetryPolicy::fixed(LONGEST + MS)),
            "retry delay in ms: 3153600000001 given, 0 to 3153600000000 allowed",
        ),
        (retry(list(1_000)), retry(list(1_001)), "retry delays: 1001 given, 0 to 1000 allowed"),
        (
            retry(RetryPolicy::exponential(SEC).cap(SEC)),
            retry(RetryPolicy::exponential(SEC).cap(Duration::from_millis(999))),
            "first retry delay in ms, up to its cap: 1000 given, 0 to 999 allowed",
        ),
    ]
}

/// I6: everything has a limit.
#[tokio::test(start_paused = true)]
async fn every_option_of_a_job_is_taken_at_its_limit_and_refused_beyond_it() {
    let engine = start(&Script::new(), work()).await;
    engine.pause("work").await.unwrap();
    for (at, over, words) in options().into_iter().chain(policies()) {
        engine.enqueue_all([at]).await.unwrap_or_else(|error| panic!("{words}: {error}"));
        let before = engine.stats().await.unwrap()[0].totals.enqueued;
        // In a call with others, too, nothing is stored.
        let refused = out_of(engine.enqueue_all([draft(), over]).await.unwrap_err());
        assert_eq!(refused.to_string(), words);
        assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, before, "{words}");
    }
    let all = [
        engine.enqueue(step("a")).delay(Duration::MAX).await,
        engine.enqueue(step("a")).expires_in(Duration::MAX).await,
        engine.enqueue(step("a")).attempt_timeout(Duration::MAX).await,
        engine.enqueue(step("a")).retry(RetryPolicy::linear(Duration::MAX, Duration::MAX).cap(Duration::MAX)).await,
    ];
    for result in all {
        assert_eq!(out_of(result.unwrap_err()).value, u64::MAX, "what overflows is as much as there is");
    }
}

/// I6.
#[tokio::test(start_paused = true)]
async fn follow_ups_are_held_to_the_same_limits() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let add = |cx: windlass::Context<Script>| async move {
        for (_, over, words) in options().into_iter().chain(policies()) {
            assert_eq!(out_of(cx.follow_up_with(over).unwrap_err()).to_string(), words);
        }
        Ok(String::new())
    };
    script.plan("parent", [Play::run(add)]);
    engine.enqueue(step("parent")).and_wait().await.unwrap();
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 1);
}

/// The longest delays neither overflow nor wrap, and a restart reads them as they were.
#[test]
fn the_longest_times_are_kept_across_a_restart_and_the_past_is_now() {
    let mut world = World::new();
    let ids = world.life(async |life| {
        let engine = life.start(work()).await;
        let far = [
            engine.enqueue(step("far")).delay(LONGEST).expires_in(LONGEST),
            engine.enqueue(step("far")).at(end_of_9999()).expires_at(end_of_9999()),
        ];
        let mut ids = Vec::new();
        for enqueue in far {
            ids.push(enqueue.await.unwrap().id());
        }
        for past in [UNIX_EPOCH, UNIX_EPOCH - LONGEST, UNIX_EPOCH + SEC] {
            engine.enqueue(step("past")).at(past).and_wait().await.unwrap();
        }
        let expired = engine.enqueue(step("expired")).expires_at(UNIX_EPOCH - SEC).await.unwrap();
        assert_eq!(expired.status().await.unwrap().state, JobState::Expired);
        ids
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        for id in ids {
            assert_eq!(engine.job(id).await.unwrap().state, JobState::Delayed);
            for when in [LONGEST + MS, Duration::MAX] {
                let refused = engine.reschedule_in(id, when).await.unwrap_err();
                assert!(matches!(refused, ControlError::Range(OutOfRange { what: "delay in ms", .. })), "{refused}");
            }
            let refused = engine.reschedule_at(id, end_of_9999() + MS).await.unwrap_err();
            assert!(
                matches!(refused, ControlError::Range(OutOfRange { what: "time in ms since 1970", .. })),
                "{refused}"
            );
            let order = engine.steer_all(Verb::Reschedule(When::After(u64::MAX)), Filter::new());
            let refused = order.await.unwrap_err();
            assert!(matches!(refused, ControlError::Range(OutOfRange { what: "delay in ms", .. })), "{refused}");
            engine.reschedule_in(id, LONGEST).await.unwrap();
            engine.reschedule_at(id, end_of_9999()).await.unwrap();
            engine.reschedule_at(id, UNIX_EPOCH - LONGEST).await.unwrap();
        }
        life.script.returned("far", 2).await;
    });
}

/// The most urgent and the least urgent there is.
#[tokio::test(start_paused = true)]
async fn every_priority_is_one() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    engine.pause("work").await.unwrap();
    for priority in [255, 0, 128] {
        engine.enqueue(step(&priority.to_string())).priority(Priority(priority)).await.unwrap();
    }
    engine.resume("work").await.unwrap();
    script.returned("255", 1).await;
    assert_eq!(script.order(), ["0", "128", "255"]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_has_a_length() {
    let script = Script::new();
    let engine = start(&script, work().attempt_timeout(SEC)).await;
    let extend = |cx: windlass::Context<Script>| async move {
        for by in [Duration::ZERO, LONGEST + MS] {
            let refused = cx.extend(by).await.unwrap_err();
            let ControlError::Range(refused) = refused else { panic!("{refused}") };
            assert_eq!((refused.what, refused.min, refused.max), ("extension in ms", 1, 3_153_600_000_000));
        }
        cx.extend(LONGEST).await.unwrap();
        tokio::time::advance(SEC * 5).await;
        Ok(String::new())
    };
    script.plan("a", [Play::run(extend)]);
    engine.enqueue(step("a")).and_wait().await.unwrap();
}

/// I9: an oversized result leaves the job Done.
#[tokio::test(start_paused = true)]
async fn a_result_at_the_limit_is_kept() {
    let script = Script::new();
    let engine = start(&script, work().result_bytes_max(10)).await;
    // With its two quotes.
    script.plan("a", [Play::Output("12345678".to_owned()), Play::Output("123456789".to_owned())]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "12345678");
    let refused = engine.enqueue(step("a")).and_wait().await.unwrap_err();
    assert!(matches!(refused, windlass::WaitError::ResultTooLarge { bytes: 11, bytes_max: 10, .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_error_s_text_is_kept_up_to_its_limit_and_cut_there() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    for (name, text, kept) in [
        ("at", "x".repeat(4_096), 4_096),
        ("over", "x".repeat(4_097), 4_096),
        // Never through the middle of a character.
        ("wide", "x".repeat(4_095) + "ä", 4_095),
    ] {
        script.plan(
            name,
            [Play::run(move |_| {
                let text = text.clone();
                async move { Err(text.into()) }
            })],
        );
        let id = engine.enqueue(step(name)).await.unwrap().id();
        let refused = engine.handle::<Step>(id).wait().await.unwrap_err();
        let windlass::WaitError::Dead { failure, .. } = refused else { panic!("{refused}") };
        assert_eq!(failure.message.len(), kept, "{name}");
    }
}

macro_rules! kind {
    ($type:ident, $kind:expr) => {
        #[derive(Serialize, Deserialize)]
        struct $type;
        impl Job for $type {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = "work";
            type Output = ();
        }
    };
}

const LONG: &str = match std::str::from_utf8(&[b'k'; 129]) {
    Ok(text) => text,
    Err(_) => "",
};

kind!(Nameless, "");
kind!(Spaced, "white space");
kind!(TooLong, LONG);
kind!(JustFits, LONG.split_at(128).0);

#[tokio::test(start_paused = true)]
async fn a_kind_whose_name_cannot_be_stored_is_refused_with_and_without_a_handler() {
    let engine =
        Engine::builder().journal(MemoryJournal::new()).queue(work()).allow_unknown_kinds().start().await.unwrap();
    engine.enqueue(JustFits).await.unwrap();
    let refusals =
        [engine.enqueue(Nameless).await.err(), engine.enqueue(Spaced).await.err(), engine.enqueue(TooLong).await.err()];
    for refused in refusals {
        assert!(matches!(refused, Some(EnqueueError::Kind { bytes_max: 128, .. })), "{refused:?}");
    }
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 1);
    let with = Engine::builder().journal(MemoryJournal::new()).queue(work());
    let refused = with.handler(|_: TooLong, _| async { Ok(()) }).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Config(ConfigError::Name { what: "kind", bytes_max: 128, .. })), "{refused}");
}

/// What can be set in code: just taken, and just not.
fn settings() -> Vec<(QueueConfig, QueueConfig, &'static str)> {
    const COUNT_MAX: u64 = u32::MAX as u64;
    let kept = |age, count, bytes| {
        let retention = Retention::default();
        work().retention(retention.done(age, count, bytes).dead(age, count, bytes).dropped(age, count, bytes))
    };
    let retry = |policy| work().retry(policy);
    let rate = |jobs, per, burst| work().rate_limit(RateLimit::new(jobs, per).burst(burst));
    let list = |n: usize| retry(RetryPolicy::list(&vec![SEC; n]));
    vec![
        (work().concurrency(1), work().concurrency(0), "concurrency is 0, allowed are 1 to 100000"),
        (work().concurrency(100_000), work().concurrency(100_001), "concurrency is 100001, allowed are 1 to 100000"),
        (work().depth_max(1), work().depth_max(0), "depth_max is 0, allowed are 1 to 4294967295"),
        (work().depth_max(COUNT_MAX), work().depth_max(COUNT_MAX + 1), "depth_max is 4294967296, allowed are 1 to"),
        (work().wait_when_full(1), work().wait_when_full(0), "wait_when_full is 0, allowed are 1 to"),
        (work().payload_bytes_max(1), work().payload_bytes_max(0), "payload_bytes_max is 0, allowed are 1 to 16777216"),
        (
            work().payload_bytes_max(16 << 20),
            work().payload_bytes_max((16 << 20) + 1),
            "payload_bytes_max is 16777217, allowed are 1 to 16777216",
        ),
        (
            work().result_bytes_max(16 << 20),
            work().result_bytes_max((16 << 20) + 1),
            "result_bytes_max is 16777217, allowed are 0 to 16777216",
        ),
        (
            work().attempt_timeout(MS),
            work().attempt_timeout(Duration::ZERO),
            "attempt_timeout in ms is 0, allowed are 1 to",
        ),
        (
            work().attempt_timeout(LONGEST),
            work().attempt_timeout(LONGEST + MS),
            "attempt_timeout in ms is 3153600000001",
        ),
        (rate(1, MS, 1), rate(0, MS, 1), "rate_limit.jobs is 0, allowed are 1 to 10000000"),
        (rate(10_000_000, MS, 1), rate(1, Duration::ZERO, 1), "rate_limit.per in ms is 0, allowed are 1 to"),
        (rate(1, LONGEST, 10_000_000), rate(1, MS, 0), "rate_limit.burst is 0, allowed are 1 to 10000000"),
        (work().start_within(LONGEST), work().start_within(LONGEST + MS), "start_within in ms is 3153600000001"),
        (work().abort_after(LONGEST), work().abort_after(LONGEST + MS), "abort_after in ms is 3153600000001"),
        (kept(LONGEST, COUNT_MAX, 1 << 60), kept(LONGEST + MS, 0, 0), "retention.done.age in ms is 3153600000001"),
        (kept(Duration::ZERO, 0, 0), kept(SEC, COUNT_MAX + 1, 0), "retention.done.count_max is 4294967296"),
        (kept(SEC, 0, 0), kept(SEC, 0, (1 << 60) + 1), "retention.done.bytes_max is 1152921504606846977"),
        (
            retry(RetryPolicy::never()),
            retry(RetryPolicy::default().attempts(0)),
            "retry attempts is 0, allowed are 1 to",
        ),
        (
            retry(RetryPolicy::default().jitter_percent(100)),
            retry(RetryPolicy::default().jitter_percent(101)),
            "retry jitter_percent is 101, allowed are 0 to 100",
        ),
        (list(1_000), list(1_001), "retry delays is 1001, allowed are 0 to 1000"),
    ]
}

/// I6.
#[tokio::test(start_paused = true)]
async fn every_setting_of_a_queue_is_taken_at_its_limit_and_refused_beyond_it() {
    for (at, over, words) in settings() {
        let with = |queue| builder(&Script::new(), MemoryJournal::new()).queue(queue);
        with(at).effective_config().unwrap_or_else(|error| panic!("{words}: {error}"));
        let refused = with(over).start().await.unwrap_err();
        assert!(matches!(refused, StartError::Config(ConfigError::Range { what: "queue", .. })), "{refused}");
        assert!(refused.to_string().starts_with(&format!("queue `work`: {words}")), "{refused}");
    }
    let kind = KindConfig::new("step").retry(RetryPolicy::list(&vec![SEC; 1_001]));
    let refused = builder(&Script::new(), MemoryJournal::new()).queue(work()).kind(kind).start().await.unwrap_err();
    assert_eq!(refused.to_string(), "kind `step`: retry delays is 1001, allowed are 0 to 1000");
}
