//! Retries: when a failed job runs again, and when it no longer does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use windlass::{
    Context, Engine, Failure, FailureKind, Job, JobError, JobState, MIN, MemoryJournal, RetryDecision, RetryPolicy,
    SEC, WaitError, new_job_id,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, took, work};

fn gaps(starts: &[Instant]) -> Vec<Duration> {
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn are(gaps: &[Duration], expected: &[Duration]) -> bool {
    let near = |(gap, expected): (&Duration, &Duration)| (*expected..*expected + SEC / 100).contains(gap);
    gaps.len() == expected.len() && gaps.iter().zip(expected).all(near)
}

async fn all_starts(policy: RetryPolicy) -> Vec<Instant> {
    let script = Script::new();
    let engine = start(&script, work().retry(policy)).await;
    script.plan("a", [Play::Fail]);
    engine.enqueue(step("a")).and_wait().await.unwrap_err();
    script.starts("a")
}

#[tokio::test(start_paused = true)]
async fn an_exponential_policy_doubles_up_to_its_cap() {
    let starts = all_starts(RetryPolicy::exponential(SEC * 2).cap(SEC * 10).attempts(6).jitter_percent(0)).await;
    assert!(are(&gaps(&starts), &[2, 4, 8, 10, 10].map(|seconds| SEC * seconds)), "{:?}", gaps(&starts));
}

#[tokio::test(start_paused = true)]
async fn a_linear_policy_adds_its_step() {
    let starts = all_starts(RetryPolicy::linear(SEC, SEC * 3).attempts(4).jitter_percent(0)).await;
    assert!(are(&gaps(&starts), &[1, 4, 7].map(|seconds| SEC * seconds)), "{:?}", gaps(&starts));
}

#[tokio::test(start_paused = true)]
async fn a_list_has_one_delay_a_failure_and_then_the_job_is_dead() {
    let starts = all_starts(RetryPolicy::list(&[SEC * 30, MIN * 2, MIN * 10]).jitter_percent(0)).await;
    assert!(are(&gaps(&starts), &[SEC * 30, MIN * 2, MIN * 10]), "{:?}", gaps(&starts));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_never_retries_gives_one_attempt() {
    assert_eq!(all_starts(RetryPolicy::never()).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_share_and_is_the_same_for_the_same_job() {
    let policy = RetryPolicy::fixed(SEC * 100).jitter_percent(10);
    let delays: Vec<_> = (0..100).map(|_| policy.delay(1, new_job_id()).unwrap()).collect();
    assert!(delays.iter().all(|delay| (SEC * 90..=SEC * 110).contains(delay)));
    assert!(delays.iter().any(|delay| *delay != delays[0]));
    let id = new_job_id();
    assert_eq!(policy.delay(3, id), policy.delay(3, id));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_and_then_succeeds_is_done() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Fail, Play::Fail, Play::Succeed]);
    let job = engine.enqueue(step("a")).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "a");
    assert_eq!(script.attempts("a"), [1, 2, 3]);
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.attempts, status.failures), (JobState::Done, 3, 2));
    let totals = engine.stats().await.unwrap()[0].totals.clone();
    assert_eq!((totals.attempts, totals.failures, totals.retries), (3, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_the_end_at_once() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Permanent]);
    let job = engine.enqueue(step("a")).await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = job.wait().await else { panic!("it is dead") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Permanent, "as the script says"));
    assert_eq!(script.attempts("a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_time_takes_that_time_and_counts() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(2))).await;
    script.plan("a", [Play::RetryAfter(MIN * 7)]);
    engine.enqueue(step("a")).and_wait().await.unwrap_err();
    let starts = script.starts("a");
    assert!(starts.len() == 2 && took(starts[0], starts[1], MIN * 7));
}

#[tokio::test(start_paused = true)]
async fn a_snooze_is_no_failure_and_has_no_end() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    script.plan("a", [Play::Snooze(SEC * 9), Play::Snooze(Duration::ZERO), Play::Snooze(SEC), Play::Succeed]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    assert_eq!(script.attempts("a"), [1, 2, 3, 4]);
    assert_eq!(job.status().await.unwrap().failures, 0);
    let starts = script.starts("a");
    assert!(took(starts[0], starts[1], SEC * 9) && took(starts[1], starts[2], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_job_s_own_policy_goes_before_its_queue_s() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    script.plan("a", [Play::Fail]);
    let own = RetryPolicy::list(&[SEC, SEC]).jitter_percent(0);
    engine.enqueue(step("a")).retry(own).and_wait().await.unwrap_err();
    assert_eq!(script.attempts("a"), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_its_priority() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("urgent", [Play::RetryAfter(SEC), Play::Succeed]);
    script.plan("long", [Play::Hold]);
    engine.enqueue(step("urgent")).priority(windlass::Priority::URGENT).await.unwrap();
    engine.enqueue(step("long")).await.unwrap();
    let last = engine.enqueue(step("last")).await.unwrap();
    script.started("long", 1).await;
    tokio::time::advance(SEC * 2).await;
    engine.stats().await.unwrap();
    script.tell("long", Play::Succeed);
    last.wait().await.unwrap();
    assert_eq!(script.order(), ["urgent", "long", "urgent", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_decoded_is_dead_with_its_bytes() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd(u32);
    impl windlass::Job for Odd {
        const KIND: &'static str = "step";
        const QUEUE: &'static str = "work";
        type Output = ();
    }
    let script = Script::new();
    let engine = start(&script, work()).await;
    let odd = engine.enqueue(Odd(7)).await.unwrap();
    let Err(WaitError::Dead { failure, .. }) = odd.wait().await else { panic!("it is dead") };
    assert_eq!(failure.kind, FailureKind::Decode);
    assert_eq!(engine.inspect(odd.id()).await.unwrap().payload, "7");
    assert!(script.order().is_empty());
}

/// Fails three times in ways that its own rule tells apart.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ruled;

impl Job for Ruled {
    const KIND: &'static str = "ruled";
    const QUEUE: &'static str = "work";
    type Output = ();

    fn retry(failures: u32, failure: &Failure) -> RetryDecision {
        match (failures, failure.message.as_str()) {
            (1, "busy") => RetryDecision::After(SEC * 7),
            (2, _) => panic!("a rule that panics"),
            (3, _) if failure.kind == FailureKind::Panic => RetryDecision::After(SEC * 11),
            _ => RetryDecision::Never,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_s_own_rule_decides_and_where_it_panics_the_policy_does() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = starts.clone();
    let handler = move |_: Ruled, cx: Context<()>| {
        seen.lock().unwrap().push(Instant::now());
        let attempt = cx.attempt();
        async move {
            assert_ne!(attempt, 3, "the third one panics");
            Err::<(), JobError>("busy".into())
        }
    };
    let queue = work().retry(RetryPolicy::fixed(SEC).jitter_percent(0));
    let builder = Engine::builder().journal(MemoryJournal::new()).queue(queue).handler(handler);
    let engine = builder.start().await.unwrap();
    engine.enqueue(Ruled).and_wait().await.unwrap_err();
    let starts = starts.lock().unwrap().clone();
    assert!(are(&gaps(&starts), &[SEC * 7, SEC, SEC * 11]), "{:?}", gaps(&starts));
}
