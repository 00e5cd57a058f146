//! What a handler gets beside its job.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use windlass_scheduler::job::{Body, JobId, Names, NewJob};
use windlass_scheduler::lease::{Lease, StopReason};
use windlass_scheduler::refusal::Refusal;

use crate::config::ms;
use crate::door::Door;
use crate::error::{ControlError, EnqueueError};
use crate::job::{Draft, Job};
use crate::live::Signals;
use crate::messages::Question;
use crate::range;
use crate::status::time;
use crate::step::Word;
use crate::trace::parts_of;

/// One attempt, as its handler sees it. Cheap to clone.
pub struct Context<A> {
    app: Arc<A>,
    pub(crate) attempt: Arc<AttemptCore>,
}

/// The part of a context that knows nothing of the application's type.
pub(crate) struct AttemptCore {
    pub(crate) lease: Lease,
    pub(crate) body: Arc<Body>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) door: Arc<Door>,
    /// `None` once the attempt has ended: what comes later would be lost.
    pub(crate) follow_ups: Mutex<Option<Vec<NewJob>>>,
    /// It has left a checkpoint, or tried to.
    pub(crate) has_checkpointed: AtomicBool,
    /// What its attempts left, where that is known.
    pub(crate) left: tokio::sync::Mutex<Option<Word>>,
}

impl AttemptCore {
    pub(crate) fn new(lease: Lease, body: Arc<Body>, signals: Arc<Signals>, door: Arc<Door>) -> Self {
        let follow_ups = Mutex::new(Some(Vec::new()));
        let left = tokio::sync::Mutex::default();
        Self { lease, body, signals, door, follow_ups, has_checkpointed: AtomicBool::new(false), left }
    }
}

impl AttemptCore {
    /// A job that may follow this one's success.
    pub(crate) fn follow_up(&self, draft: Draft) -> Result<NewJob, EnqueueError> {
        let job = draft
            .in_trace(&self.door)
            .in_story_of(&self.body.labels)
            .into_new_job(&self.door, &mut Names::default())?;
        self.door.check_follow_up(&job)?;
        Ok(job)
    }

    /// It does, if this attempt succeeds.
    pub(crate) fn add_follow_up(&self, job: NewJob) -> Result<JobId, EnqueueError> {
        let mut follow_ups = self.follow_ups.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(follow_ups) = follow_ups.as_mut() else {
            return Err(Refusal::StaleLease { id: self.lease.id }.into());
        };
        range::FOLLOW_UPS.check(follow_ups.len() as u64 + 1)?;
        range::FOLLOW_UPS_BYTES.check((NewJob::bytes_of(follow_ups) + job.body.bytes()) as u64)?;
        let id = job.id;
        if let Some(witness) = &self.door.witness {
            witness.follow_up(&self.lease, &job);
        }
        follow_ups.push(job);
        Ok(id)
    }
}

impl<A> Clone for Context<A> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), attempt: self.attempt.clone() }
    }
}

impl<A> Context<A> {
    pub(crate) fn new(app: Arc<A>, attempt: Arc<AttemptCore>) -> Self {
        Self { app, attempt }
    }

    /// The application's shared state, as given to the builder.
    #[must_use]
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.attempt.lease.id
    }

    /// The queue that it came through.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.attempt.lease.queue.as_str()
    }

    /// The number of this attempt, from 1. Every start counts, also one whose process died.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.lease.attempt
    }

    /// Failures before this attempt: what the retry policy counts.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.attempt.lease.failures
    }

    /// When the job was accepted.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.attempt.lease.created.0)
    }

    /// The caller's id of the story that this job is part of.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.attempt.body.labels.correlation_id()
    }

    /// The W3C trace context that came with the job.
    #[must_use]
    pub fn trace_context(&self) -> Option<&str> {
        self.attempt.body.labels.trace()
    }

    /// Its `traceparent`, if it has a well-formed one: what an attempt may take for the cause of what it does.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        parts_of(&self.attempt.body).map(|(parent, _)| parent)
    }

    /// The `tracestate` that came with that, if one did.
    #[must_use]
    pub fn trace_state(&self) -> Option<&str> {
        parts_of(&self.attempt.body)?.1
    }

    /// The job's tags.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        self.attempt.body.labels.tags()
    }

    /// The name of the [schedule](crate::Schedule) that the job is of, if it is of one.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        Some(self.attempt.body.labels.instant()?.schedule.as_str())
    }

    /// The instant of its schedule that the job is there for: which night's report it is to make, however late it runs. For one that
    /// somebody [asked for beside them](crate::Engine::run_schedule), when that was.
    #[must_use]
    pub fn scheduled_for(&self) -> Option<SystemTime> {
        Some(time(self.attempt.body.labels.instant()?.at))
    }

    /// Fires when the attempt should end: its time is over, the job was cancelled, or the engine stops. An async handler
    /// that does not end is dropped after its queue's `abort_after`; a blocking one has to look.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        self.attempt.signals.cancelled()
    }

    /// Whether the attempt should end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.attempt.signals.is_cancelled()
    }

    /// Why it should end, if it should.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.attempt.signals.reason()
    }

    /// Tells how far it is: any JSON of at most 4 KiB, to be seen by those who look at the job while it runs. Not stored.
    ///
    /// # Errors
    /// [`EnqueueError::Encode`] or [`EnqueueError::Range`], where it is no JSON or too long.
    pub fn progress<T: Serialize>(&self, progress: &T) -> Result<(), EnqueueError> {
        let value = serde_json::to_value(progress);
        let value = value.map_err(|error| EnqueueError::Encode { kind: "progress", reason: error.to_string() })?;
        range::PROGRESS.check(value.to_string().len() as u64)?;
        self.attempt.signals.set_progress(value);
        Ok(())
    }

    /// Lets this attempt run until this long from now, whatever its time was: 1 ms to 36,500 days.
    ///
    /// # Errors
    /// [`ControlError::Range`], or [`ControlError::Refused`] with `StaleLease` where its time was over already.
    pub async fn extend(&self, by: Duration) -> Result<(), ControlError> {
        range::EXTENSION.check(ms(by))?;
        let lease = &self.attempt.lease;
        let question = Question::Extend { id: lease.id, token: lease.token, by_ms: ms(by) };
        self.attempt.door.ask(question).await.map(|_| ())
    }

    /// As [`extend`](Self::extend), for blocking handlers: it blocks their thread until the answer is there. Never call it
    /// from async code, whose runtime it would hold up.
    ///
    /// # Errors
    /// As of [`extend`](Self::extend).
    pub fn extend_blocking(&self, by: Duration) -> Result<(), ControlError> {
        futures_executor::block_on(self.extend(by))
    }

    /// Adds a job that is stored in the same commit as this job's success, and not at all if it does not succeed. It is
    /// checked now, so that the success cannot be refused; a full queue takes it all the same. Returns its id.
    ///
    /// It is part of the same story: unless it brings its own, it has this job's correlation id, and likewise its trace
    /// context.
    ///
    /// # Errors
    /// [`EnqueueError`], and the job is not added.
    pub fn follow_up<J: Job>(&self, job: &J) -> Result<JobId, EnqueueError> {
        self.follow_up_with(Draft::new(job))
    }

    /// As [`follow_up`](Self::follow_up), with options.
    ///
    /// # Errors
    /// [`EnqueueError`], and the job is not added.
    pub fn follow_up_with(&self, draft: Draft) -> Result<JobId, EnqueueError> {
        self.attempt.add_follow_up(self.attempt.follow_up(draft)?)
    }
}

impl<A> std::fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("lease", &self.attempt.lease).finish_non_exhaustive()
    }
}
