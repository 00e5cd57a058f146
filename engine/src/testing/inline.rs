//! Runs one handler once, here and now, with a context that is made by hand.
//!
//! Owns what such a context says, and what is told of the attempt. The handler is called as an engine calls it: its payload is
//! encoded and decoded, a panic is a failure, the kind's rule is asked. No queue is behind it, so nothing is retried or stored.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::to_raw_value;
use windlass_scheduler::attempt::{CHECKPOINT_BYTES_MAX, Failure, Outcome, Output};
use windlass_scheduler::flow::{FlowId, StepOf};
use windlass_scheduler::job::{Body, JobId, Names, NewJob};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};
use windlass_scheduler::retry::Verdict;
use windlass_scheduler::settings::QueueSettings;

use super::enqueued::EnqueuedJob;
use super::stand_in::{Left, Settled, StandIn};
use crate::attempt::judged;
use crate::builder::EngineBuilder;
use crate::clock::timestamp;
use crate::config::{QueueConfig, RetryPolicy};
use crate::context::{AttemptCore, Context};
use crate::door::Door;
use crate::error::{ConfigError, JobError};
use crate::handler::{Registry, Runner};
use crate::job::{Draft, Job, new_job_id};
use crate::live::Signals;
use crate::middleware::AttemptOutcome;
use crate::step::Word;

/// The context of one attempt that has no engine, made by hand. What is not said is as for a first attempt.
///
/// It behaves as a real one: follow-up jobs are checked for kind, queue and size, checkpoints and progress for their size, and all
/// of them are refused after the end. Nobody fires its cancellation unless [`stopped`](Self::stopped) or a
/// [`stopper`](Self::stopper) does: no time-out runs here.
pub struct TestContext<A> {
    app: Arc<A>,
    settled: Option<Settled>,
    id: Option<JobId>,
    queue: Option<String>,
    attempt: Option<u32>,
    failures: Option<u32>,
    created: SystemTime,
    tags: Vec<String>,
    correlation_id: Option<String>,
    trace: Option<String>,
    left: Option<Word>,
    step_name: Option<String>,
    input: Option<Bytes>,
    batches: Vec<String>,
    signals: Arc<Signals>,
}

impl<A: Send + Sync + 'static> TestContext<A> {
    /// With this shared state. Every queue is there, with the default limits, and every kind has a handler.
    #[must_use]
    pub fn new(app: A) -> Self {
        Self::with(Arc::new(app), None)
    }

    /// With the shared state, the queues and the kinds of this engine to be: what it would refuse is refused here.
    ///
    /// # Errors
    /// What [`start`](EngineBuilder::start) would refuse.
    pub fn of(builder: &EngineBuilder<A>) -> Result<Self, ConfigError> {
        let (app, settled) = builder.settled()?;
        Ok(Self::with(app, Some(settled)))
    }

    fn with(app: Arc<A>, settled: Option<Settled>) -> Self {
        Self {
            app,
            settled,
            id: None,
            queue: None,
            attempt: None,
            failures: None,
            created: SystemTime::now(),
            tags: Vec::new(),
            correlation_id: None,
            trace: None,
            left: None,
            step_name: None,
            input: None,
            batches: Vec::new(),
            signals: Arc::default(),
        }
    }

    /// The job's id; a new one unless said.
    #[must_use]
    pub const fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// The queue that the job came through; its kind's unless said.
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// The attempt's number, from 1.
    #[must_use]
    pub const fn attempt(mut self, number: u32) -> Self {
        self.attempt = Some(number);
        self
    }

    /// Failures before this attempt; unless said, all attempts before it.
    #[must_use]
    pub const fn failures(mut self, failures: u32) -> Self {
        self.failures = Some(failures);
        self
    }

    /// When the job was accepted; now unless said.
    #[must_use]
    pub const fn created(mut self, at: SystemTime) -> Self {
        self.created = at;
        self
    }

    /// One of the job's tags.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// The job's correlation id.
    #[must_use]
    pub fn correlation_id(mut self, id: &str) -> Self {
        self.correlation_id = Some(id.to_owned());
        self
    }

    /// The W3C trace context that came with the job.
    #[must_use]
    pub fn trace_context(mut self, context: &str) -> Self {
        self.trace = Some(context.to_owned());
        self
    }

    /// What an earlier attempt left: unless said otherwise, this is then the second one.
    ///
    /// # Panics
    /// Where no attempt could have left it: it is no JSON, or over 64 KiB.
    #[must_use]
    pub fn checkpoint<T: Serialize + ?Sized>(mut self, checkpoint: &T) -> Self {
        let json = to_raw_value(checkpoint).unwrap_or_else(|error| panic!("a checkpoint is JSON: {error}"));
        self.left.get_or_insert_default().checkpoint = Some(json);
        self
    }

    /// A step that an earlier attempt has done, and what it gave: unless said otherwise, this is then the second one.
    ///
    /// # Panics
    /// Where no attempt could have left it: it is no JSON, or with all others over 64 KiB.
    #[must_use]
    pub fn step<T: Serialize + ?Sized>(mut self, name: &str, result: &T) -> Self {
        let json = to_raw_value(result).unwrap_or_else(|error| panic!("a step's result is JSON: {error}"));
        self.left.get_or_insert_default().set_step(name, json);
        self
    }

    /// The attempt was asked to end before it began, for this reason.
    #[must_use]
    pub fn stopped(self, reason: StopReason) -> Self {
        self.signals.stop(reason);
        self
    }

    /// What asks the attempt to end while it runs.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { signals: self.signals.clone() }
    }

    /// The job is a step of a flow, of [this name](Context::step_name). One that gets an input has its kind's, unless said.
    #[must_use]
    pub fn step_name(mut self, name: &str) -> Self {
        self.step_name = Some(name.to_owned());
        self
    }

    /// The job is a step of a flow, and this is what it [gets](Context::input) from those before it.
    ///
    /// # Panics
    /// Where it is no JSON.
    #[must_use]
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        let json = serde_json::to_vec(input).unwrap_or_else(|error| panic!("an input is JSON: {error}"));
        self.input = Some(json.into());
        self
    }

    /// The job's flow has a batch of this name, which it can [add](Context::batch) jobs to: they are among the
    /// [follow-ups](Run::follow_ups).
    #[must_use]
    pub fn batch(mut self, name: &str) -> Self {
        self.batches.push(name.to_owned());
        self
    }

    /// The attempt of this job.
    fn core<J: Job>(self, job: &J) -> (Arc<A>, Arc<AttemptCore>, Arc<StandIn>) {
        let attempt = self.attempt.unwrap_or(1 + u32::from(self.left.is_some()));
        assert!(attempt > 0, "attempts are counted from 1");
        assert!(attempt > 1 || self.left.is_none(), "nobody was there before the first attempt to leave a checkpoint");
        let failures = self.failures.unwrap_or(attempt - 1);
        assert!(failures < attempt, "{failures} failures do not fit before attempt {attempt}");
        let id = self.id.unwrap_or_else(new_job_id);
        let left = self.left.map(|left| left.encode().unwrap_or_else(|error| panic!("it is JSON: {error}")));
        let (bytes, bytes_max) = (left.as_ref().map_or(0, Bytes::len), CHECKPOINT_BYTES_MAX);
        assert!(bytes <= bytes_max, "the checkpoint has {bytes} bytes, {bytes_max} are allowed");
        let has_batches = !self.batches.is_empty();
        let stand_in = Arc::new(StandIn::new(id, self.signals.clone(), left, self.input.clone(), self.batches));
        let door = Door::without_engine(self.settled, &default_queue(), stand_in.clone());
        let draft = self.tags.iter().fold(Draft::new(job).id(id), |draft, tag| draft.tag(tag));
        let draft = self.queue.iter().fold(draft, |draft, queue| draft.queue(queue));
        let draft = self.correlation_id.iter().fold(draft, |draft, id| draft.correlation_id(id));
        let draft = self.trace.iter().fold(draft, |draft, trace| draft.trace_context(trace));
        let taken =
            draft.into_new_job(&door, &mut Names::default()).and_then(|job| door.check_follow_up(&job).map(|()| job));
        let NewJob { queue, kind, body, .. } =
            taken.unwrap_or_else(|refused| panic!("no engine would take this job: {refused}"));
        let (token, created) = (LeaseToken { term: 1, n: 1 }, timestamp(self.created));
        let is_step = self.step_name.is_some() || self.input.is_some() || has_batches;
        let step = is_step.then(|| self.step_name.unwrap_or_else(|| J::KIND.to_owned()).into());
        let lease =
            Lease { token, id, queue, kind, attempt, failures, lost: 0, created, waited_ms: 0, step, body: None };
        let of = is_step.then_some(StepOf { flow: FlowId(id.0), no: 1 });
        let labels = body.labels.clone().of_step(of);
        let body = Arc::new(Body { labels, ..Body::clone(&body) });
        let core = AttemptCore::new(lease, body, self.signals, Arc::new(door));
        (self.app, Arc::new(core), stand_in)
    }
}

impl<A> fmt::Debug for TestContext<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContext").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// Asks the attempt of a [`TestContext`] to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    signals: Arc<Signals>,
}

impl Stopper {
    /// Fires the context's cancellation. The first reason stays, but for a cancellation, which outranks the others.
    pub fn stop(&self, reason: StopReason) {
        self.signals.stop(reason);
    }
}

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

/// A queue as it is where nobody has said anything of it.
fn default_queue() -> QueueSettings {
    QueueConfig::new("default").settings
}
