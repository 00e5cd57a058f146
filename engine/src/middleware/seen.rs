//! What a middleware sees of an attempt, and of what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use windlass_scheduler::attempt::{Failure, Outcome, Output, Retry};
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::StopReason;

use crate::config::RetryDecision;
use crate::context::AttemptCore;
use crate::error::JobError;
use crate::handler::output_of;
use crate::status::time;

/// One attempt, as those around it see it. Cheap to clone.
#[derive(Clone)]
pub struct Attempt {
    pub(crate) core: Arc<AttemptCore>,
}

impl Attempt {
    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.core.lease.id
    }

    /// The job's kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.core.lease.kind.as_str()
    }

    /// The queue that it came through.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.core.lease.queue.as_str()
    }

    /// The number of this attempt, from 1. Every start counts, also one whose process died.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.core.lease.attempt
    }

    /// Failures before this attempt: what the retry policy counts.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.core.lease.failures
    }

    /// When the job was accepted.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.core.lease.created.0)
    }

    /// The payload, as it was encoded.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.core.body.payload
    }

    /// The payload's schema version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.core.body.version
    }

    /// The job's tags.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        self.core.body.labels.tags()
    }

    /// The name of the [schedule](crate::Schedule) that the job is of, if it is of one.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        Some(self.core.body.labels.instant()?.schedule.as_str())
    }

    /// The instant of its schedule that the job is there for: which night's report it is to make, however late it runs. For one that
    /// somebody [asked for beside them](crate::Engine::run_schedule), when that was.
    #[must_use]
    pub fn scheduled_for(&self) -> Option<SystemTime> {
        Some(time(self.core.body.labels.instant()?.at))
    }

    /// The caller's id of the story that the job is part of.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.core.body.labels.correlation_id()
    }

    /// The W3C trace context that came with the job.
    #[must_use]
    pub fn trace_context(&self) -> Option<&str> {
        self.core.body.labels.trace()
    }

    /// Fires when the attempt should end. Whoever waits for something around a handler should wait for this, too.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        self.core.signals.cancelled()
    }

    /// Why it should end, if it should.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.core.signals.reason()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id())
            .field("kind", &self.kind())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// What came of an attempt. A middleware makes one of its own with [`done`](Self::done), [`done_with`](Self::done_with), or of
/// a [`JobError`] (`JobError::snooze(..).into()`).
///
/// ```
/// use windlass::JobError;
/// use windlass::middleware::{Attempt, AttemptOutcome, BlockingNext, Middleware, Next};
///
/// /// During the maintenance nothing runs, and nothing has failed by that.
/// struct Maintenance;
///
/// impl Middleware for Maintenance {
///     async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
///         if attempt.queue() == "imports" {
///             return JobError::snooze(windlass::MIN).into();
///         }
///         next.run().await.map_failure(|failure| JobError::from(format!("in the cellar: {failure}")))
///     }
///
///     fn around_blocking(&self, _attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
///         next.run()
///     }
/// }
/// # let _ = windlass::Engine::builder().middleware(Maintenance);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AttemptOutcome {
    pub(crate) outcome: Outcome,
}

/// What an [`AttemptOutcome`] says.
///
/// ```
/// use windlass::middleware::{OutcomeView, after};
///
/// let figures = after(|_, outcome, took| match outcome.view() {
///     OutcomeView::Done { output_bytes, .. } => println!("done in {took:?}, {output_bytes} bytes"),
///     OutcomeView::Failed { failure, retry } => println!("failed in {took:?}: {failure}, {retry:?}"),
///     other => println!("{other:?}"),
/// });
/// # let _ = windlass::Engine::builder().middleware(figures);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeView<'a> {
    /// It succeeded.
    Done {
        /// The encoded output; `None` where there is none, or it was too large to keep.
        output: Option<&'a Bytes>,
        /// Bytes of the output, kept or not.
        output_bytes: u64,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: &'a Failure,
        /// What comes of it, as far as the attempt knows: whether the policy has retries left is for the queue to see.
        retry: RetryDecision,
    },
    /// It wants to run again after this, and that is no failure.
    Snoozed {
        /// The delay.
        delay: Duration,
    },
    /// It called the job off.
    Cancelled {
        /// Why.
        reason: &'a str,
    },
    /// The engine took it back, uncounted: it is stopping.
    Released,
}

impl AttemptOutcome {
    /// A success without output.
    #[must_use]
    pub const fn done() -> Self {
        Self { outcome: Outcome::Done { output: Output::None, follow_ups: Vec::new() } }
    }

    /// A success with this output, which should be the kind's [`Output`](crate::Job::Output): those who wait decode it as
    /// that. It takes the place of a handler's outcome whole: follow-up jobs that the handler added go with that.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub fn done_with<T: Serialize + ?Sized>(output: &T) -> Result<Self, JobError> {
        let output = output_of(serde_json::to_vec(output)?, usize::MAX);
        Ok(Self { outcome: Outcome::Done { output, follow_ups: Vec::new() } })
    }

    /// What it says.
    #[must_use]
    pub fn view(&self) -> OutcomeView<'_> {
        match &self.outcome {
            Outcome::Done { output: Output::None, .. } => OutcomeView::Done { output: None, output_bytes: 0 },
            Outcome::Done { output: Output::Bytes(json), .. } => {
                OutcomeView::Done { output: Some(json), output_bytes: json.len() as u64 }
            }
            Outcome::Done { output: Output::TooLarge { bytes, .. }, .. } => {
                OutcomeView::Done { output: None, output_bytes: *bytes }
            }
            Outcome::Failed { failure, retry } => OutcomeView::Failed {
                failure,
                retry: match retry {
                    Retry::ByPolicy => RetryDecision::ByPolicy,
                    Retry::After(ms) => RetryDecision::After(Duration::from_millis(*ms)),
                    Retry::Never => RetryDecision::Never,
                },
            },
            Outcome::Snoozed { delay_ms } => OutcomeView::Snoozed { delay: Duration::from_millis(*delay_ms) },
            Outcome::Cancelled { reason } => OutcomeView::Cancelled { reason },
            Outcome::Released => OutcomeView::Released,
        }
    }

    /// Whether it succeeded.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. })
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Puts something else in the place of a failure: another message, another verdict on the retry, a snooze. All other
    /// outcomes stay as they are. (A failure after the attempt's time was over stays a time-out, whatever is made of it.)
    #[must_use]
    pub fn map_failure(self, map: impl FnOnce(Failure) -> JobError) -> Self {
        match self.outcome {
            Outcome::Failed { failure, .. } => map(failure).into(),
            outcome => Self { outcome },
        }
    }
}

impl From<JobError> for AttemptOutcome {
    fn from(error: JobError) -> Self {
        Self { outcome: error.into_outcome() }
    }
}

impl fmt::Debug for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
