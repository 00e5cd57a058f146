//! The context of an attempt that has no engine, made by hand.
//!
//! Owns what such a context says, and that it does not contradict itself. Never runs anything: that is [`inline`](super::inline)'s.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::to_raw_value;
use windlass_scheduler::attempt::CHECKPOINT_BYTES_MAX;
use windlass_scheduler::flow::{FlowId, StepOf};
use windlass_scheduler::job::{Body, InstantOf, JobId, Names, NewJob};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};
use windlass_scheduler::settings::QueueSettings;

use super::stand_in::{Settled, StandIn};
use crate::builder::EngineBuilder;
use crate::clock::timestamp;
use crate::config::QueueConfig;
use crate::context::AttemptCore;
use crate::door::Door;
use crate::error::ConfigError;
use crate::job::{Draft, Job, new_job_id};
use crate::live::Signals;
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
    instant: Option<InstantOf>,
    left: Option<Word>,
    step_name: Option<String>,
    input: Option<Bytes>,
    left_by: Vec<(String, Option<Bytes>)>,
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
            instant: None,
            left: None,
            step_name: None,
            input: None,
            left_by: Vec::new(),
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

    /// The job is of a schedule of this name, and there for [this instant](crate::Context::scheduled_for) of it.
    #[must_use]
    pub fn scheduled_for(mut self, schedule: &str, instant: SystemTime) -> Self {
        self.instant = Some(InstantOf { schedule: schedule.into(), at: timestamp(instant) });
        self
    }

    /// The job is a step of a flow, of [this name](crate::Context::step_name). One that gets an input has its kind's, unless said.
    #[must_use]
    pub fn step_name(mut self, name: &str) -> Self {
        self.step_name = Some(name.to_owned());
        self
    }

    /// The job is a step of a flow, and this is what it [gets](crate::Context::input) from those before it.
    ///
    /// # Panics
    /// Where it is no JSON.
    #[must_use]
    pub fn input<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.input = Some(json_of(input));
        self
    }

    /// The job is a step of a flow that needs a step of this name, and this is what that [left](crate::Context::left_by); `None`: it failed.
    ///
    /// # Panics
    /// Where it is no JSON.
    #[must_use]
    pub fn left_by<T: Serialize + ?Sized>(mut self, step: &str, left: Option<&T>) -> Self {
        self.left_by.push((step.to_owned(), left.map(json_of)));
        self
    }

    /// The job's flow has a batch of this name, which it can [add](crate::Context::batch) jobs to: they are among the
    /// [follow-ups](crate::testing::Run::follow_ups).
    #[must_use]
    pub fn batch(mut self, name: &str) -> Self {
        self.batches.push(name.to_owned());
        self
    }

    /// The attempt of this job.
    pub(super) fn core<J: Job>(self, job: &J) -> (Arc<A>, Arc<AttemptCore>, Arc<StandIn>) {
        let attempt = self.attempt.unwrap_or(1 + u32::from(self.left.is_some()));
        assert!(attempt > 0, "attempts are counted from 1");
        assert!(attempt > 1 || self.left.is_none(), "nobody was there before the first attempt to leave a checkpoint");
        let failures = self.failures.unwrap_or(attempt - 1);
        assert!(failures < attempt, "{failures} failures do not fit before attempt {attempt}");
        let id = self.id.unwrap_or_else(new_job_id);
        let left = self.left.map(|left| left.encode().unwrap_or_else(|error| panic!("it is JSON: {error}")));
        let (bytes, bytes_max) = (left.as_ref().map_or(0, Bytes::len), CHECKPOINT_BYTES_MAX);
        assert!(bytes <= bytes_max, "the checkpoint has {bytes} bytes, {bytes_max} are allowed");
        let is_in_flow = self.input.is_some() || !self.left_by.is_empty() || !self.batches.is_empty();
        let inputs = (self.input, self.left_by);
        let stand_in = Arc::new(StandIn::new(id, self.signals.clone(), left, inputs, self.batches));
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
        let is_step = self.step_name.is_some() || is_in_flow;
        let step = is_step.then(|| self.step_name.unwrap_or_else(|| J::KIND.to_owned()).into());
        let lease =
            Lease { token, id, queue, kind, attempt, failures, lost: 0, created, waited_ms: 0, step, body: None };
        let of = is_step.then_some(StepOf { flow: FlowId(id.0), no: 1 });
        let labels = body.labels.clone().of_step(of).of_instant(self.instant);
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

fn json_of<T: Serialize + ?Sized>(input: &T) -> Bytes {
    serde_json::to_vec(input).unwrap_or_else(|error| panic!("an input is JSON: {error}")).into()
}

/// A queue as it is where nobody has said anything of it.
fn default_queue() -> QueueSettings {
    QueueConfig::new("default").settings
}
