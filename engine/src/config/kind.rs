//! One kind of job where its queue's settings do not fit, as a user says it.
//!
//! Owns what makes a kind's settings sound. Never looks for its queue or its handler: that is seen where all come together.

use std::time::Duration;

use windlass_scheduler::job::Name;
use windlass_scheduler::settings::KindSettings;

use super::ms;
use super::retry::{self, RetryPolicy};
use crate::error::ConfigError;
use crate::range::{self, in_range};

/// What the jobs of one kind go by instead of what their queue says, in whichever queue they are: before the queue's settings,
/// and after what the job itself was given.
#[derive(Clone, Debug, PartialEq)]
pub struct KindConfig {
    pub(crate) settings: KindSettings,
    pub(crate) queue: Option<String>,
    name: String,
}

impl KindConfig {
    /// A kind that goes by its queue's settings so far.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { settings: KindSettings::new(Name::from(kind)), queue: None, name: kind.to_owned() }
    }

    /// How many attempts of the kind may run at once, over all queues; unset: as many as their queues let. What has to wait
    /// for it is in nobody's way.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.settings.slots = Some(attempts);
        self
    }

    /// The queue that its jobs go to unless they are told otherwise, instead of [`Job::QUEUE`](crate::Job::QUEUE).
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// The retry policy of its jobs that bring none, looked up at each failure.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = Some(policy.into_core());
        self
    }

    /// How long an attempt may run before it is cancelled.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_ms = Some(ms(timeout));
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !Name::is_valid(&self.name) {
            return Err(ConfigError::Name { what: "kind", name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        let values = [
            (range::CONCURRENCY, u64::from(self.settings.slots.unwrap_or(1))),
            (range::TIMEOUT, self.settings.timeout_ms.unwrap_or(range::TIMEOUT.min)),
        ];
        in_range("kind", &self.name, &values)?;
        self.settings.retry.as_ref().map_or(Ok(()), |policy| retry::check("kind", &self.name, policy))
    }
}
