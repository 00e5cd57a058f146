//! Until when a layer of tests goes on: an instant, or the moment at which somebody asks it to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Until(Option<Instant>);

impl Until {
    /// Only when it is asked to.
    pub const fn never() -> Self {
        Self(None)
    }

    /// Until this instant.
    pub const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The earlier of both.
    #[must_use]
    pub fn or(self, instant: Instant) -> Self {
        Self(Some(self.0.map_or(instant, |mine| mine.min(instant))))
    }

    /// Whether it is time to stop.
    pub fn is_over(self) -> bool {
        is_stopped() || self.0.is_some_and(|until| Instant::now() >= until)
    }
}

/// Asks all layers of this process to stop.
pub fn stop() {
    STOPPED.store(true, Ordering::SeqCst);
}

/// Whether they were asked to.
pub fn is_stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}
