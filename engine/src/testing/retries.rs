//! What decides when one job runs again: a policy, the rule of its kind, and how long its attempts take.
//!
//! Owns the steps of one job's life. Each asks the code that an engine asks: the kind's rule is judged where attempts are,
//! and the verdict is the core's.

use std::fmt;
use std::time::Duration;

use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::job::JobId;
use windlass_scheduler::retry::{Verdict, is_killer};
use windlass_scheduler::settings::ShardSettings;

use super::script::{Play, Script};
use super::timeline::Timeline;
use super::words::Time;
use crate::attempt::judged;
use crate::config::{EngineConfig, RetryPolicy, check_of_job, ms};
use crate::error::{ConfigError, OutOfRange};
use crate::handler::RetryRule;
use crate::job::Job;

/// When a job of some kind runs again: its policy, its kind's own rule, and how long an attempt takes. A policy alone is one,
/// too (`&policy` wherever this is asked for).
///
/// ```
/// use windlass::testing::Retries;
/// use windlass::{Failure, FailureKind, Job, RetryDecision, RetryPolicy, SEC};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Push;
/// impl Job for Push {
///     const KIND: &'static str = "push";
///     const QUEUE: &'static str = "sync";
///     type Output = ();
///     fn retry(_: u32, failure: &Failure) -> RetryDecision {
///         if failure.kind == FailureKind::Panic { RetryDecision::Never } else { RetryDecision::ByPolicy }
///     }
/// }
///
/// let retries = Retries::of::<Push>(&RetryPolicy::fixed(SEC).attempts(5)).attempts_take(SEC * 30);
/// assert_eq!(retries.timeline(9).attempts().len(), 5);
/// ```
#[derive(Clone)]
pub struct Retries {
    pub(super) policy: RetryPolicy,
    pub(super) rule: Option<RetryRule>,
    kind: Option<&'static str>,
    takes: Duration,
    pub(super) id: JobId,
    ways: Vec<Play>,
}

impl Retries {
    /// Of jobs that go by this policy, and whose kind has no rule of its own.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        let id = JobId(uuid::Uuid::nil());
        Self { policy, rule: None, kind: None, takes: Duration::ZERO, id, ways: Vec::new() }
    }

    /// Of jobs of this kind, [`Job::retry`] included, that go by this policy.
    #[must_use]
    pub fn of<J: Job>(policy: &RetryPolicy) -> Self {
        Self { rule: Some(J::retry), kind: Some(J::KIND), ..Self::new(policy.clone()) }
    }

    /// Of jobs of this kind as they are configured, in a file or in code: the kind's policy, or its queue's.
    /// ([`effective_config`](crate::EngineBuilder::effective_config) has all that a service goes by.)
    ///
    /// ```
    /// # use windlass::{Engine, Job, QueueConfig, RetryPolicy, SEC};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Push;
    /// # impl Job for Push { const KIND: &'static str = "push"; const QUEUE: &'static str = "sync"; type Output = (); }
    /// use windlass::testing::Retries;
    ///
    /// let queue = QueueConfig::new("sync").retry(RetryPolicy::list(&[SEC * 30, SEC * 120]));
    /// let config = Engine::builder().queue(queue).effective_config()?;
    /// assert_eq!(Retries::configured::<Push>(&config)?.timeline(9).attempts().len(), 3);
    /// # Ok::<(), windlass::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::HandlerQueue`], where the kind's queue is not configured.
    pub fn configured<J: Job>(config: &EngineConfig) -> Result<Self, ConfigError> {
        let kind = config.kinds.iter().find(|kind| kind.name() == J::KIND);
        let name = kind.and_then(|kind| kind.queue.as_deref()).unwrap_or(J::QUEUE);
        let Some(queue) = config.queues.iter().find(|queue| queue.name() == name) else {
            return Err(ConfigError::HandlerQueue { kind: J::KIND.to_owned(), queue: name.to_owned() });
        };
        let policy = kind.and_then(|kind| kind.settings.retry.as_ref()).unwrap_or(&queue.settings.retry);
        Ok(Self::of::<J>(&RetryPolicy::from_core(policy.clone())))
    }

    /// How long each attempt takes, however it ends: nothing unless said. For the longest life of a job, the time after which
    /// attempts time out.
    #[must_use]
    pub const fn attempts_take(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// The job: jitter is a hash of its id and the failure's number. Unless said it is the one whose id is all zeros.
    #[must_use]
    pub const fn id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// The ways of failing that [laws](super::laws) try at each failure, for a rule of the kind's own that tells errors apart by
    /// their text. Unless said: an error, a panic and a time-out.
    ///
    /// # Panics
    /// Where there is none, or one that no policy counts, such as a snooze.
    #[must_use]
    pub fn ways(mut self, ways: impl IntoIterator<Item = Play>) -> Self {
        self.ways = ways.into_iter().collect();
        assert!(!self.ways.is_empty(), "no way of failing is given: give one, such as `Play::Fail`");
        if let Some(other) = self.ways.iter().find(|way| !way.is_failure()) {
            panic!("`{other}` is no failure that a policy counts: leave it out");
        }
        self
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// One job's life: see [`timeline`](super::timeline()).
    ///
    /// # Panics
    /// As [`timeline`](super::timeline()).
    #[must_use]
    pub fn timeline(&self, script: impl Into<Script>) -> Timeline {
        if let Err(refused) = self.check() {
            panic!("no engine would take this policy: {refused}");
        }
        let script = script.into();
        Timeline::walk(self, |step| script.play(step.attempts as usize).clone())
    }

    /// Whether an engine takes the policy.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        check_of_job(self.policy.core())
    }

    pub(super) fn ways_or(&self, default: &[Play]) -> Vec<Play> {
        if self.ways.is_empty() { default.to_vec() } else { self.ways.clone() }
    }

    pub(super) const fn takes(&self) -> Duration {
        self.takes
    }

    /// What comes of an attempt.
    pub(super) fn step(&self, before: Before, play: &Play) -> Step {
        let Some((reason, outcome)) = play.outcome() else { return lost(before) };
        let number = before.failures.saturating_add(1);
        let outcome = judged(reason, self.rule, number, self.id, outcome);
        let policy = self.policy.core();
        let delays = match policy.verdict(&outcome, before.failures, self.id) {
            Verdict::Done => return Step { end: Some(End::Done), ..Step::new(before) },
            Verdict::Cancelled => return Step { end: Some(End::Cancelled), ..Step::new(before) },
            Verdict::Snoozed { delay_ms } => {
                return Step { delays: Some(Delays::exactly(delay_ms)), ..Step::new(before) };
            }
            Verdict::GivenBack => return Step { delays: Some(Delays::exactly(0)), ..Step::new(before) },
            Verdict::Dead => None,
            Verdict::Retried { delay_ms } => Some(match (&outcome, policy.delay_bounds_ms(number)) {
                (Outcome::Failed { retry: Retry::ByPolicy, .. }, Some((shortest, longest))) => {
                    Delays::of(policy.backoff.delay_ms(number), delay_ms, shortest, longest)
                }
                _ => Delays::exactly(delay_ms),
            }),
        };
        let Outcome::Failed { failure, .. } = outcome else { unreachable!("only a failure is retried, or the end") };
        let end = delays.is_none().then(|| End::Dead(failure.clone()));
        let before = Before { attempts: before.attempts + 1, failures: number, lost: 0 };
        Step { after: before, failure: Some(failure), delays, end }
    }
}

/// What one job has behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// In a row.
    pub(super) lost: u32,
}

/// What comes of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) after: Before,
    pub(super) failure: Option<Failure>,
    pub(super) delays: Option<Delays>,
    pub(super) end: Option<End>,
}

/// How one life ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// With a success.
    Done,
    /// As a dead letter, by this failure.
    Dead(Failure),
    /// Called off by its handler.
    Cancelled,
    /// Not at all, as far as it was followed: [10,000 attempts](super::ATTEMPTS_MAX).
    Open,
}

/// The delay after an attempt: of this job, before jitter, and the shortest and longest that any job gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delays {
    pub(super) base: Duration,
    pub(super) own: Duration,
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

impl Delays {
    fn of(base: u64, own: u64, shortest: u64, longest: u64) -> Self {
        let [base, own, shortest, longest] = [base, own, shortest, longest].map(Duration::from_millis);
        Self { base, own, shortest, longest }
    }

    fn exactly(ms: u64) -> Self {
        Self::of(ms, ms, ms, ms)
    }
}

impl Step {
    /// An attempt that has ended, and was no failure.
    const fn new(before: Before) -> Self {
        let after = Before { attempts: before.attempts + 1, failures: before.failures, lost: 0 };
        Self { after, failure: None, delays: None, end: None }
    }
}

/// The process died: it runs again as soon as the journal is open, unless it is what kills the process.
fn lost(before: Before) -> Step {
    let after = Before { attempts: before.attempts + 1, lost: before.lost + 1, ..before };
    let failure = Failure::new(FailureKind::Lost, "the process died under this attempt".to_owned());
    let (delays, end) = if is_killer(after.lost, ShardSettings::LOST_MAX) {
        (None, Some(End::Dead(failure.clone())))
    } else {
        (Some(Delays::exactly(0)), None)
    };
    Step { after, failure: Some(failure), delays, end }
}

impl From<RetryPolicy> for Retries {
    fn from(policy: RetryPolicy) -> Self {
        Self::new(policy)
    }
}

impl From<&RetryPolicy> for Retries {
    fn from(policy: &RetryPolicy) -> Self {
        Self::new(policy.clone())
    }
}

impl From<&Self> for Retries {
    fn from(retries: &Self) -> Self {
        retries.clone()
    }
}

impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use windlass_scheduler::retry::Backoff;

        let core = self.policy.core();
        let time = |ms: &u64| Time(Duration::from_millis(*ms));
        match &core.backoff {
            Backoff::Fixed { delay_ms } => write!(f, "{} after each failure", time(delay_ms))?,
            Backoff::Linear { first_ms, step_ms, cap_ms } => {
                write!(f, "{}, then {} more each time, up to {}", time(first_ms), time(step_ms), time(cap_ms))?;
            }
            Backoff::Exponential { first_ms, cap_ms } => {
                write!(f, "{}, doubled each time, up to {}", time(first_ms), time(cap_ms))?;
            }
            Backoff::List { delays_ms } => write!(f, "a list of {} delays", delays_ms.len())?,
        }
        write!(
            f,
            "; up to {} % of jitter; dead after {}",
            core.jitter_percent,
            super::words::count(core.attempts_max, "failure")
        )?;
        if let Some(kind) = self.kind {
            write!(f, "; and the rule of kind `{kind}`")?;
        }
        if !self.takes.is_zero() {
            write!(f, "; each attempt takes {}", Time(self.takes))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retries({self})")
    }
}

/// Milliseconds are all that an engine tells apart.
pub(super) fn whole_ms(time: Duration) -> Duration {
    Duration::from_millis(ms(time))
}
