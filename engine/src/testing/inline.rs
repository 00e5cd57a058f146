//! Runs one handler once, here and now, with a context that is made by hand.
//!
//! Owns what is told of the attempt; what its context says is [`context`](super::context)'s. The handler is called as an engine calls
//! it: its payload is encoded and decoded, a panic is a failure, the kind's rule is asked. No queue is behind it, so nothing is retried
//! or stored.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_scheduler::attempt::{Failure, Outcome, Output};
use windlass_scheduler::job::JobId;
use windlass_scheduler::retry::Verdict;

use super::context::TestContext;
use super::enqueued::EnqueuedJob;
use super::stand_in::Left;
use crate::attempt::judged;
use crate::config::RetryPolicy;
use crate::context::{AttemptCore, Context};
use crate::error::JobError;
use crate::handler::{Registry, Runner};
use crate::job::Job;
use crate::middleware::AttemptOutcome;
use crate::step::Word;

/// Runs an async handler once, with this context.
///
/// ```
/// use windlass::testing::{self, TestContext};
/// use windlass::{Context, FailureKind, Job, JobError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Mail { to: String }
/// impl Job for Mail {
///     const KIND: &'static str = "mail";
///     const QUEUE: &'static str = "mail";
///     type Output = u32;
/// }
///
/// async fn send(job: Mail, cx: Context<&'static str>) -> Result<u32, JobError> {
///     if !job.to.contains('@') {
///         return Err(JobError::permanent(format!("{} has no such user", cx.app())));
///     }
///     cx.progress(&"sent")?;
///     Ok(cx.attempt())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let third = TestContext::new("mail.example.org").attempt(3);
/// let run = testing::run(send, Mail { to: "ada@example.org".into() }, third).await;
/// assert_eq!((run.output(), run.progress().unwrap().as_str()), (Some(3), Some("sent")));
///
/// let run = testing::run(send, Mail { to: "ada".into() }, TestContext::new("mail.example.org")).await;
/// assert_eq!(run.failure().unwrap().kind, FailureKind::Permanent);
/// # }
/// ```
///
/// # Panics
/// Where no engine would have run such an attempt: the job cannot be enqueued, or the context contradicts itself. (A panic of the
/// handler is a failure, as ever.)
pub async fn run<J, A, F, Fut>(handler: F, job: J, context: TestContext<A>) -> Run<J>
where
    J: Job,
    A: Send + Sync + 'static,
    F: Fn(J, Context<A>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
{
    let (app, core, stand_in) = context.core(&job);
    let mut registry = Registry::default();
    registry.add_async(app, handler);
    let outcome = match registry.handlers.into_values().map(|handler| handler.runner).next() {
        Some(Runner::Async(run)) => run(core.clone()).await,
        Some(Runner::Blocking(_)) | None => unreachable!("one async handler was registered"),
    };
    Run::new(&core, outcome, stand_in.end())
}

/// As [`run()`], of a blocking handler, on this thread. ([`Context::extend_blocking`] and the like are answered at once.)
///
/// ```
/// # use windlass::testing::{self, TestContext};
/// # use windlass::{Context, Job, JobError};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Import { rows: u32 }
/// # impl Job for Import { const KIND: &'static str = "import"; const QUEUE: &'static str = "bulk"; type Output = u32; }
/// fn import(job: Import, cx: Context<()>) -> Result<u32, JobError> {
///     let from = cx.last_checkpoint_blocking()?.unwrap_or(0);
///     cx.checkpoint_blocking(&job.rows)?;
///     Ok(job.rows - from)
/// }
///
/// let run = testing::run_blocking(import, Import { rows: 10 }, TestContext::new(()).checkpoint(&7));
/// assert_eq!((run.output(), run.checkpoint()), (Some(3), Some(10)));
/// ```
///
/// # Panics
/// As [`run()`].
// By value, as `run` takes it: a job is handed over.
#[allow(clippy::needless_pass_by_value)]
pub fn run_blocking<J, A, F>(handler: F, job: J, context: TestContext<A>) -> Run<J>
where
    J: Job,
    A: Send + Sync + 'static,
    F: Fn(J, Context<A>) -> Result<J::Output, JobError> + Send + Sync + 'static,
{
    let (app, core, stand_in) = context.core(&job);
    let mut registry = Registry::default();
    registry.add_blocking(app, handler);
    let outcome = match registry.handlers.into_values().map(|handler| handler.runner).next() {
        Some(Runner::Blocking(run)) => run(core.clone()),
        Some(Runner::Async(_)) | None => unreachable!("one blocking handler was registered"),
    };
    Run::new(&core, outcome, stand_in.end())
}

/// What came of an attempt that was run by hand, and what it left.
pub struct Run<J> {
    id: JobId,
    failures: u32,
    outcome: AttemptOutcome,
    follow_ups: Vec<EnqueuedJob>,
    progress: Option<Value>,
    left: Left,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> Run<J> {
    fn new(core: &AttemptCore, outcome: Outcome, left: Left) -> Self {
        let (id, failures) = (core.lease.id, core.lease.failures);
        let outcome = judged(core.signals.reason(), Some(J::retry), failures + 1, id, outcome);
        let follow_ups = match &outcome {
            Outcome::Done { follow_ups, .. } => follow_ups.iter().map(EnqueuedJob::from).collect(),
            _ => Vec::new(),
        };
        let (outcome, progress) = (AttemptOutcome { outcome }, core.signals.progress());
        Self { id, failures, outcome, follow_ups, progress, left, job: PhantomData }
    }

    /// The job's id.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// What came of it, as an engine would see it: after a time-out a failure is one, and the kind's rule has said its word.
    #[must_use]
    pub const fn outcome(&self) -> &AttemptOutcome {
        &self.outcome
    }

    /// Whether it succeeded.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.outcome.is_done()
    }

    /// What its success left for those who wait; `None` where it did not succeed.
    ///
    /// # Panics
    /// Where nobody who waits would get it: it was too large for its queue, or is not decoded as what it was.
    #[must_use]
    pub fn output(&self) -> Option<J::Output> {
        let Outcome::Done { output, .. } = &self.outcome.outcome else { return None };
        let json: &[u8] = match output {
            Output::None => b"null",
            Output::Bytes(json) => json,
            Output::TooLarge { bytes, bytes_max } => {
                panic!("the output has {bytes} bytes, and its queue keeps {bytes_max}: nobody would get it")
            }
        };
        Some(
            serde_json::from_slice(json)
                .unwrap_or_else(|error| panic!("the output is not decoded as what it was: {error}")),
        )
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.outcome.failure()
    }

    /// How long after this attempt the job would run again by this policy: after a failure, a snooze, or when it was given back.
    /// `None`: it would not.
    #[must_use]
    pub fn runs_again_after(&self, policy: &RetryPolicy) -> Option<Duration> {
        match policy.core().verdict(&self.outcome.outcome, self.failures, self.id) {
            Verdict::Retried { delay_ms } | Verdict::Snoozed { delay_ms } => Some(Duration::from_millis(delay_ms)),
            Verdict::GivenBack => Some(Duration::ZERO),
            Verdict::Done | Verdict::Cancelled | Verdict::Dead => None,
        }
    }

    /// The jobs that exist because it succeeded: none where it did not. [`assert_enqueued!`](crate::assert_enqueued) takes a run,
    /// too.
    #[must_use]
    pub fn follow_ups(&self) -> &[EnqueuedJob] {
        &self.follow_ups
    }

    /// What it said last of how far it was.
    #[must_use]
    pub const fn progress(&self) -> Option<&Value> {
        self.progress.as_ref()
    }

    /// The newest checkpoint, of this attempt or the one that its context began with. (A success lets go of it; here it is told
    /// all the same.)
    ///
    /// # Panics
    /// Where it is of another type.
    #[must_use]
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        let checkpoint = self.stands().checkpoint.map(|json| serde_json::from_str(json.get()));
        checkpoint.transpose().unwrap_or_else(|error| panic!("the checkpoint is of another type: {error}"))
    }

    /// The steps that are done, by this attempt or before it, by name.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        self.stands().step_names().map(str::to_owned).collect()
    }

    fn stands(&self) -> Word {
        let left = self.left.checkpoint.as_ref().map(|bytes| Word::decode(bytes));
        left.transpose().unwrap_or_else(|error| panic!("what it left is no JSON: {error}")).unwrap_or_default()
    }

    /// How long the attempt asked to run on, each time from then.
    #[must_use]
    pub fn extensions(&self) -> &[Duration] {
        &self.left.extensions
    }
}

impl<J> fmt::Debug for Run<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("outcome", &self.outcome)
            .field("follow_ups", &self.follow_ups)
            .field("progress", &self.progress)
            .field("checkpoint", &self.left.checkpoint)
            .field("extensions", &self.left.extensions)
            .finish_non_exhaustive()
    }
}
