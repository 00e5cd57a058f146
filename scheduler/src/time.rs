//! Time as the core sees it: an argument, never a call.
//!
//! Two clocks reach the core in every [`Now`] (I5). The *monotonic* one drives leases, timeouts and, while the process
//! lives, relative delays; it never goes back and is never stored. The *wall* one drives `at`, expiry and retention; it
//! may jump both ways, and whatever survives a restart is stored in it. Two types keep the two from being mixed up.

/// A moment of the wall clock: milliseconds since the Unix epoch. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A moment of the monotonic clock: milliseconds since some origin of this process. Never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// The current time on both clocks, as the driver read it: not the deadline that fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Timestamp {
    /// This moment plus `ms` milliseconds, saturating at the far end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero where `earlier` is the later one.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Mono {
    /// This moment plus `ms` milliseconds, saturating at the far end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero where `earlier` is the later one.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
