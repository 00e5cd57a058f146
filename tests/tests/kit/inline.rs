//! A handler that is run by hand: its context behaves as a real one, and what it left is told.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use windlass::testing::{self, Run, TestContext};
use windlass::{
    CheckpointError, Context, ControlError, Engine, EnqueueError, Failure, FailureKind, Job, JobError, JobId, MIN,
    QueueConfig, Refusal, RetryDecision, RetryPolicy, SEC, StopReason, new_job_id,
};

/// What an attempt is to do.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    Tell,
    Fail,
    Permanent,
    Snooze,
    Panic,
    FollowUps(Vec<usize>),
    ForEver,
    Extend,
    Checkpoint(usize),
    Output(usize),
}

impl Job for Task {
    const KIND: &'static str = "task";
    const QUEUE: &'static str = "work";
    type Output = String;

    fn retry(failures: u32, failure: &Failure) -> RetryDecision {
        match failure.kind {
            FailureKind::Panic => RetryDecision::Never,
            FailureKind::TimedOut => RetryDecision::After(MIN * failures),
            _ => RetryDecision::ByPolicy,
        }
    }
}

/// A follow-up.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Bytes(String);

impl Job for Bytes {
    const KIND: &'static str = "bytes";
    const QUEUE: &'static str = "bytes";
    type Output = ();
}

type Told = (JobId, String, u32, u32, Vec<String>, Option<String>, Option<String>, Option<StopReason>, Option<u64>);

async fn act(task: Task, cx: Context<u8>) -> Result<String, JobError> {
    match task {
        Task::Tell => {
            let left = cx.last_checkpoint::<u64>().await?;
            let told: Told = (
                cx.id(),
                cx.queue().to_owned(),
                cx.attempt(),
                cx.failures(),
                cx.tags().to_vec(),
                cx.correlation_id().map(str::to_owned),
                cx.trace_context().map(str::to_owned),
                cx.stop_reason(),
                left,
            );
            assert_eq!((*cx.app(), cx.created()), (7, SystemTime::UNIX_EPOCH + SEC));
            Ok(format!("{told:?}"))
        }
        Task::Fail => Err("no".into()),
        Task::Permanent => Err(JobError::permanent("never")),
        Task::Snooze => Err(JobError::snooze(SEC * 9)),
        Task::Panic => panic!("a bug"),
        Task::FollowUps(sizes) => {
            for bytes in sizes {
                cx.follow_up(&Bytes("x".repeat(bytes)))?;
            }
            Ok(String::new())
        }
        Task::ForEver => {
            cx.cancellation().cancelled().await;
            Err("stopped".into())
        }
        Task::Extend => {
            cx.progress(&"half")?;
            cx.extend(MIN).await?;
            cx.extend(MIN * 2).await?;
            Ok(String::new())
        }
        Task::Checkpoint(bytes) => {
            cx.checkpoint(&"x".repeat(bytes)).await?;
            Err("after the checkpoint".into())
        }
        Task::Output(bytes) => Ok("x".repeat(bytes)),
    }
}

async fn run(task: Task) -> Run<Task> {
    testing::run(act, task, TestContext::new(7)).await
}

#[tokio::test]
async fn a_context_says_what_it_was_given() {
    let (id, cx) = (new_job_id(), TestContext::new(7).created(SystemTime::UNIX_EPOCH + SEC));
    let cx =
        cx.id(id).queue("elsewhere").attempt(5).failures(3).tag("a").tag("b").correlation_id("c").trace_context("t");
    let run = testing::run(act, Task::Tell, cx.checkpoint(&77).stopped(StopReason::Stopping)).await;
    let told = (id, "elsewhere", 5, 3, ["a", "b"], Some("c"), Some("t"), Some(StopReason::Stopping), Some(77));
    assert_eq!((run.output(), run.id()), (Some(format!("{told:?}")), id));

    let cx = || TestContext::new(7).id(id).created(SystemTime::UNIX_EPOCH + SEC);
    let first = (id, "work", 1, 0, [(); 0], None::<()>, None::<()>, None::<()>, None::<u64>);
    assert_eq!(testing::run(act, Task::Tell, cx()).await.output(), Some(format!("{first:?}")));
    let second = (id, "work", 2, 1, [(); 0], None::<()>, None::<()>, None::<()>, Some(5));
    assert_eq!(testing::run(act, Task::Tell, cx().checkpoint(&5)).await.output(), Some(format!("{second:?}")));
}

#[tokio::test]
async fn an_outcome_is_as_an_engine_sees_it() {
    let policy = RetryPolicy::fixed(SEC * 30).attempts(2).jitter_percent(0);
    let seen = async |task| {
        let run = run(task).await;
        (run.is_done(), run.failure().map(|failure| failure.kind), run.runs_again_after(&policy))
    };
    assert_eq!(seen(Task::Output(1)).await, (true, None, None));
    assert_eq!(seen(Task::Fail).await, (false, Some(FailureKind::Error), Some(SEC * 30)));
    assert_eq!(seen(Task::Permanent).await, (false, Some(FailureKind::Permanent), None));
    assert_eq!(seen(Task::Snooze).await, (false, None, Some(SEC * 9)));
    assert_eq!(seen(Task::Panic).await, (false, Some(FailureKind::Panic), None), "by the kind's rule");
    let second = testing::run(act, Task::Fail, TestContext::new(7).attempt(2)).await;
    assert_eq!(second.runs_again_after(&policy), None, "the attempts are used up");
    let no_failure = testing::run(act, Task::Fail, TestContext::new(7).attempt(2).failures(0)).await;
    assert_eq!(no_failure.runs_again_after(&policy), Some(SEC * 30));
    let large = run(Task::Output(65 * 1_024)).await;
    assert!(large.is_done() && large.outcome().failure().is_none());
}

#[tokio::test]
#[should_panic(expected = "and its queue keeps 65536: nobody would get it")]
async fn an_output_that_nobody_would_get_is_not_given() {
    let _ = run(Task::Output(65 * 1_024)).await.output();
}

#[tokio::test(start_paused = true)]
async fn a_test_fires_the_cancellation_for_a_reason() {
    let policy = RetryPolicy::default();
    let stopped = async |reason| {
        let cx = TestContext::new(7).attempt(3);
        let stopper = cx.stopper();
        let (run, ()) = tokio::join!(testing::run(act, Task::ForEver, cx), async { stopper.stop(reason) });
        (run.failure().map(|failure| failure.kind), run.runs_again_after(&policy))
    };
    assert_eq!(stopped(StopReason::TimedOut).await, (Some(FailureKind::TimedOut), Some(MIN * 3)), "by the kind's rule");
    assert_eq!(stopped(StopReason::Stopping).await, (None, Some(Duration::ZERO)), "it is given back");
    assert_eq!(stopped(StopReason::Cancelled).await.0, Some(FailureKind::Error));
}

#[tokio::test]
async fn follow_ups_are_checked_and_go_with_a_success_alone() {
    let done = run(Task::FollowUps(vec![1, 2])).await;
    assert_eq!(done.follow_ups().iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(), ["bytes", "bytes"]);
    let large = run(Task::FollowUps(vec![1, 300 << 10])).await;
    assert!(large.follow_ups().is_empty() && large.failure().unwrap().message.contains("262144"), "{large:?}");

    // With the service's own queues, what it would refuse is refused.
    let builder = || Engine::builder().app(7_u8).queue(QueueConfig::new("work")).handler(act);
    let message = async |builder| {
        let cx = TestContext::of(&builder).unwrap();
        testing::run(act, Task::FollowUps(vec![9]), cx).await.failure().map(|failure| failure.message.clone())
    };
    assert!(message(builder()).await.unwrap().contains("`bytes`"), "there is no such queue");
    let with_queue = builder().queue(QueueConfig::new("bytes").payload_bytes_max(10));
    assert!(message(with_queue).await.unwrap().contains("handler"), "nobody handles the kind");
    let handled = |bytes_max| {
        let builder = builder().queue(QueueConfig::new("bytes").payload_bytes_max(bytes_max));
        builder.handler(|_: Bytes, _| async { Ok(()) })
    };
    assert!(message(handled(10)).await.unwrap().contains("10"), "the quotation marks count");
    assert_eq!(message(handled(11)).await, None);
    let nowhere = Engine::builder().app(7_u8).handler(act);
    assert!(TestContext::of(&nowhere).is_err());
}

#[tokio::test]
async fn progress_extensions_and_checkpoints_are_told() {
    let extended = run(Task::Extend).await;
    assert_eq!(
        (extended.progress().unwrap().as_str(), extended.extensions()),
        (Some("half"), [MIN, MIN * 2].as_slice())
    );
    let overdue = testing::run(act, Task::Extend, TestContext::new(7).stopped(StopReason::TimedOut)).await;
    assert!(overdue.extensions().is_empty() && overdue.failure().unwrap().kind == FailureKind::TimedOut);

    let left = run(Task::Checkpoint(100)).await;
    assert_eq!(left.checkpoint::<String>().unwrap().len(), 100);
    let before = TestContext::new(7).checkpoint("before");
    let refused = testing::run(act, Task::Checkpoint(65_535), before).await;
    assert!(refused.failure().unwrap().message.contains("65537 bytes, 65536 are allowed"), "{refused:?}");
    assert_eq!(refused.checkpoint::<String>().unwrap(), "before", "the one before stands");
}

#[tokio::test]
async fn a_context_that_was_kept_is_refused_after_the_end() {
    let (keep, kept) = tokio::sync::oneshot::channel();
    let keep = std::sync::Mutex::new(Some(keep));
    let handler = move |_: Bytes, cx: Context<()>| {
        let _ = keep.lock().unwrap().take().unwrap().send(cx);
        async { Ok(()) }
    };
    testing::run(handler, Bytes(String::new()), TestContext::new(())).await;
    let cx = kept.await.unwrap();
    let stale = |refusal: &Refusal| matches!(refusal, Refusal::StaleLease { .. });
    assert!(matches!(cx.extend(SEC).await, Err(ControlError::Refused(refusal)) if stale(&refusal)));
    assert!(matches!(cx.follow_up(&Bytes(String::new())), Err(EnqueueError::Refused(refusal)) if stale(&refusal)));
    assert!(
        matches!(cx.checkpoint(&1).await, Err(CheckpointError::Control(ControlError::Refused(refusal))) if stale(&refusal))
    );
}

#[test]
fn a_blocking_handler_needs_no_runtime() {
    let handler = |_: Bytes, cx: Context<()>| -> Result<(), JobError> {
        let page = cx.last_checkpoint_blocking::<u32>()?.map_or(0, |page| page + 1);
        cx.checkpoint_blocking(&page)?;
        cx.extend_blocking(MIN)?;
        if cx.is_cancelled() { Err("stopped".into()) } else { Ok(()) }
    };
    let run = |cx| testing::run_blocking(handler, Bytes(String::new()), cx);
    let first = run(TestContext::new(()));
    assert!(first.is_done() && first.checkpoint() == Some(0) && first.extensions() == [MIN]);
    let third = run(TestContext::new(()).checkpoint(&1).attempt(3).stopped(StopReason::Cancelled));
    assert!(!third.is_done() && third.checkpoint() == Some(2));
}

#[tokio::test]
async fn what_no_engine_would_run_is_told() {
    let told = async |cx: TestContext<u8>, task| {
        let run = std::panic::AssertUnwindSafe(testing::run(act, task, cx));
        let panic = futures_util::FutureExt::catch_unwind(run).await.unwrap_err();
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap()
    };
    let cx = || TestContext::new(7);
    assert!(
        told(cx().attempt(1).checkpoint(&1), Task::Tell).await.contains("nobody was there before the first attempt")
    );
    assert!(told(cx().attempt(0), Task::Tell).await.contains("counted from 1"));
    assert!(told(cx().attempt(2).failures(2), Task::Tell).await.contains("2 failures do not fit before attempt 2"));
    assert!(
        told(cx().tag(&"x".repeat(257)), Task::Tell).await.contains("no engine would take this job: bytes of a tag")
    );
    let huge = Task::FollowUps(vec![1; 200 << 10]);
    assert!(told(cx(), huge).await.contains("no engine would take this job"));
}

#[tokio::test]
async fn a_step_of_a_flow_gets_the_input_that_it_is_given() {
    #[derive(Serialize, Deserialize)]
    struct Sum;

    impl Job for Sum {
        const KIND: &'static str = "sum";
        const QUEUE: &'static str = "work";
        type Output = u64;
    }

    impl windlass::FlowStep for Sum {
        type Input = (Vec<u64>, Option<u64>);
    }

    let sum = async |_: Sum, cx: Context<()>| {
        let (numbers, more) = cx.input::<Sum>().await?;
        Ok(numbers.into_iter().chain(more).sum())
    };
    let given = TestContext::new(()).input(&([1, 2], Some(4)));
    assert_eq!(testing::run(sum, Sum, given).await.output(), Some(7));
    let name = async |_: Sum, cx: Context<()>| Err(JobError::permanent(cx.step_name().unwrap_or("none")));
    for (context, expected) in [
        (TestContext::new(()), "none"),
        (TestContext::new(()).input(&()), "sum"),
        (TestContext::new(()).step_name("sum-2"), "sum-2"),
    ] {
        assert_eq!(testing::run(name, Sum, context).await.failure().unwrap().message, expected);
    }
    let night = async |_: Sum, cx: Context<()>| {
        Err(JobError::permanent(format!("{:?} {:?}", cx.schedule(), cx.scheduled_for())))
    };
    let at = SystemTime::UNIX_EPOCH;
    let context = TestContext::new(()).scheduled_for("nightly", at);
    let said = &testing::run(night, Sum, context).await.failure().unwrap().message.clone();
    assert_eq!(*said, format!("{:?} {:?}", Some("nightly"), Some(at)));
    let nothing = testing::run(sum, Sum, TestContext::new(())).await;
    let failure = nothing.failure().unwrap();
    assert!(failure.kind == FailureKind::Permanent && failure.message.contains("is of no flow"), "{failure}");
    let other = testing::run(sum, Sum, TestContext::new(()).input(&"no numbers")).await;
    assert_eq!(other.failure().unwrap().kind, FailureKind::Permanent);
}

#[tokio::test]
async fn a_step_of_a_flow_is_given_by_name_what_others_left() {
    let sum = async |_: Task, cx: Context<()>| {
        let first: u64 = cx.left_by("first").await?.unwrap_or(100);
        let second = cx.left_by::<u64>("second").await?.unwrap_or(100);
        Ok((first + second).to_string())
    };
    let given = || TestContext::new(()).left_by("first", Some(&1));
    assert_eq!(testing::run(sum, Task::Tell, given().left_by("second", Some(&2))).await.output(), Some("3".to_owned()));
    assert_eq!(
        testing::run(sum, Task::Tell, given().left_by::<u64>("second", None)).await.output(),
        Some("101".to_owned())
    );
    let missing = testing::run(sum, Task::Tell, given()).await;
    let failure = missing.failure().unwrap();
    assert!(failure.kind == FailureKind::Permanent && failure.message.ends_with("it needs `first`"), "{failure}");
    // Beside what it gets as its input.
    let given = given().input(&[3, 4]);
    assert_eq!(testing::run(sum, Task::Tell, given.left_by("second", Some(&2))).await.output(), Some("3".to_owned()));
}

#[tokio::test]
async fn a_step_of_a_flow_adds_to_the_batch_that_it_is_given() {
    let split = async |_: Task, cx: Context<()>| {
        let parts = cx.batch("parts").await?;
        parts.follow_up(&Task::Tell)?;
        Ok(cx.batch("others").await.is_ok().to_string())
    };
    let ran = testing::run(split, Task::Tell, TestContext::new(()).batch("parts")).await;
    assert_eq!((ran.output(), ran.follow_ups().len()), (Some("false".to_owned()), 1));
    let nowhere = testing::run(split, Task::Tell, TestContext::new(())).await;
    assert!(nowhere.failure().unwrap().message.contains("is of no flow"));
}
