//! Limits at run time: what an operator sets over what the code says.
//!
//! Owns the checks of ranges. What then holds, and that it is remembered, is the core's.

use windlass_scheduler::effect::Answer;
use windlass_scheduler::limit::{LimitOf, LimitView, Override as CoreOverride};
use windlass_scheduler::rate::Rate;

use crate::config::RateLimit;
use crate::engine::Engine;
use crate::error::{ControlError, OutOfRange};
use crate::messages::Question;
use crate::range::{self, Range};

/// What an operator sets over a limit that the code says: what is not said here stays as the code says.
///
/// ```
/// # use windlass::{Override, RateLimit, SEC};
/// let slower = Override::new().rate_limit(RateLimit::new(5, SEC));
/// let nothing_for_now = Override::new().concurrency(0);     // of a key; a whole queue is paused
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Override {
    core: CoreOverride,
}

impl Override {
    /// As the code says.
    #[must_use]
    pub const fn new() -> Self {
        Self { core: CoreOverride { slots: None, rate: None, weight: None } }
    }

    /// How many attempts may run at once.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.core.slots = Some(attempts);
        self
    }

    /// How many attempts may be started in a time. It begins with nothing in hand.
    #[must_use]
    pub const fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.core.rate = Some(limit.core);
        self
    }

    /// How many starts a turn has: of a key in its queue, or of a queue among those that it shares a limit with. It means nothing for other
    /// limits.
    #[must_use]
    pub const fn weight(mut self, starts: u32) -> Self {
        self.core.weight = Some(starts);
        self
    }

    fn check(&self, of: &LimitOf) -> Result<(), OutOfRange> {
        let (concurrency, weight): (Range, Range) = match of {
            LimitOf::Queue(_) => (range::CONCURRENCY, range::SHARE_WEIGHT),
            LimitOf::Shared(_) => (range::CONCURRENCY, range::KEY_WEIGHT),
            _ => (range::KEY_CONCURRENCY, range::KEY_WEIGHT),
        };
        self.core.slots.map_or(Ok(()), |slots| concurrency.check(u64::from(slots)))?;
        self.core.weight.map_or(Ok(()), |starts| weight.check(u64::from(starts)))?;
        if let LimitOf::Key(_, key) | LimitOf::SharedKey(_, key) = of {
            range::LIMIT_KEY.check(key.len() as u64)?;
        }
        let Some(Rate { jobs, period_ms, burst }) = self.core.rate else { return Ok(()) };
        range::RATE_JOBS.check(u64::from(jobs))?;
        range::RATE_PERIOD.check(period_ms)?;
        range::RATE_BURST.check(u64::from(burst))
    }
}

impl Engine {
    /// Sets something over a limit, instead of what was set over it before: it counts from now on, and across restarts, whatever the code
    /// says then, until it is [reset](Self::reset_limit). Attempts that run go on, also where they are more than may now.
    ///
    /// ```no_run
    /// # use windlass::{Engine, LimitOf, Override};
    /// # async fn calm(engine: &Engine) -> Result<(), windlass::ControlError> {
    /// engine.override_limit(LimitOf::key("imports", "customer-7"), Override::new().concurrency(1)).await?;
    /// for limit in engine.limits().await?.iter().filter(|limit| limit.overridden.is_some()) {
    ///     println!("{}: {:?} instead of {:?}", limit.of, limit.overridden, limit.configured);
    /// }
    /// engine.reset_limit(LimitOf::key("imports", "customer-7")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ControlError::Range`], [`ControlError::Refused`] with `NoQueue`, `NoSharedLimit` or `TooManyOverrides`.
    pub async fn override_limit(&self, of: LimitOf, change: Override) -> Result<(), ControlError> {
        change.check(&of)?;
        self.door().ask(Question::Override { of, change: Some(change.core) }).await.map(|_| ())
    }

    /// A limit is as the code says, from now on. To reset one that nobody has set is no error.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn reset_limit(&self, of: LimitOf) -> Result<(), ControlError> {
        self.door().ask(Question::Override { of, change: None }).await.map(|_| ())
    }

    /// All limits: of queues, of what they share, and of the keys of which something is said; what the code says of each, what is set over
    /// it, and how many of it run. It may show what is not yet durable.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn limits(&self) -> Result<Vec<LimitView>, ControlError> {
        match self.door().ask(Question::Limits).await? {
            Answer::Limits(limits) => Ok(limits),
            other => unreachable!("limits were answered with {other:?}"),
        }
    }
}
