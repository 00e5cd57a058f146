//! Limits of keys, and of several queues together, as a user says them.
//!
//! Owns what makes them sound. How they are kept is the core's: see [`windlass_scheduler::limit`].

use windlass_scheduler::job::Name;
use windlass_scheduler::limit::{Draw, KeyLimits, Limit as CoreLimit, SharedLimit as CoreShared};

use super::breaker::{self, CircuitBreaker};
use super::rate::{self, RateLimit};
use crate::error::ConfigError;
use crate::range::{self, Range, in_range};

/// How many attempts may run at once, how many may start in a time, and when none may: of each key, of one of them, or of several queues together.
/// What is not said is not limited.
///
/// ```
/// # use windlass::{Limit, QueueConfig, RateLimit, SEC};
/// let calls = QueueConfig::new("api-calls")
///     .per_key(Limit::new().concurrency(2).rate_limit(RateLimit::new(5, SEC)))
///     .key("our-largest-customer", Limit::new().concurrency(8))
///     .key_weight("our-largest-customer", 4);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub(crate) core: CoreLimit,
}

impl Limit {
    /// No limit.
    #[must_use]
    pub const fn new() -> Self {
        Self { core: CoreLimit::NONE }
    }

    /// How many attempts may run at once; 0 holds up all of them.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.core.slots = Some(attempts);
        self
    }

    /// How many attempts may be started in a time.
    #[must_use]
    pub const fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.core.rate = Some(limit.core);
        self
    }

    /// When most attempts of a key fail, nothing more of it is started for a while. The other keys go on.
    #[must_use]
    pub const fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.core.breaker = Some(breaker.core);
        self
    }
}

/// A limit that several queues share by naming it ([`QueueConfig::shares`](crate::QueueConfig::shares)): a database that takes ten
/// connections, an API that takes fifty calls a second, whoever calls.
///
/// ```
/// # use windlass::{Engine, QueueConfig, RateLimit, SEC, SharedLimit};
/// let builder = Engine::builder()
///     .shared_limit(SharedLimit::new("payments-api").concurrency(10).rate_limit(RateLimit::new(50, SEC)))
///     .queue(QueueConfig::new("charges").shares("payments-api").share_weight(9))
///     .queue(QueueConfig::new("refunds").shares("payments-api"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimit {
    pub(crate) core: CoreShared,
    name: String,
}

impl SharedLimit {
    /// One that limits nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (all, keys) = (CoreLimit::NONE, KeyLimits::default());
        let core = CoreShared { name: Name::from(name), all, keys, draw: Draw::Weighted };
        Self { core, name: name.to_owned() }
    }

    /// How many attempts of its queues may run at once.
    #[must_use]
    pub const fn concurrency(mut self, attempts: u32) -> Self {
        self.core.all.slots = Some(attempts);
        self
    }

    /// How many attempts of its queues may be started in a time.
    #[must_use]
    pub const fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.core.all.rate = Some(limit.core);
        self
    }

    /// When most attempts of its queues fail, nothing more of any of them is started for a while.
    #[must_use]
    pub const fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.core.all.breaker = Some(breaker.core);
        self
    }

    /// The limit of each key, over all its queues.
    #[must_use]
    pub const fn per_key(mut self, limit: Limit) -> Self {
        self.core.keys.each = limit.core;
        self
    }

    /// The limit of this key, instead of that of each.
    #[must_use]
    pub fn key(mut self, key: &str, limit: Limit) -> Self {
        self.core.keys.of.insert(key.into(), limit.core);
        self
    }

    /// Its queues do not take turns: one that is configured before others goes first, as long as it has something that may go.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.core.draw = Draw::Strict;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const WHAT: &str = "shared limit";
        if !Name::is_valid(&self.name) {
            return Err(ConfigError::Name { what: WHAT, name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        let slots = u64::from(self.core.all.slots.unwrap_or(1));
        in_range(WHAT, &self.name, &[(range::CONCURRENCY, slots)])?;
        in_range(WHAT, &self.name, &rate::values(self.core.all.rate))?;
        in_range(WHAT, &self.name, &breaker::values(self.core.all.breaker))?;
        check_keys(WHAT, &self.name, &self.core.keys)
    }
}

/// Checks the limits of keys.
pub(super) fn check_keys(what: &'static str, name: &str, keys: &KeyLimits) -> Result<(), ConfigError> {
    in_range(what, name, &[(range::KEYS, keys.of.len() as u64)])?;
    for (key, limit) in keys.of.iter().map(|(key, limit)| (&**key, limit)).chain([("each", &keys.each)]) {
        let slots = u64::from(limit.slots.unwrap_or_default());
        let values: [(Range, u64); 2] = [(range::LIMIT_KEY, key.len() as u64), (range::KEY_CONCURRENCY, slots)];
        in_range(what, name, &values)?;
        in_range(what, name, &rate::values(limit.rate))?;
        in_range(what, name, &breaker::values(limit.breaker))?;
    }
    Ok(())
}
