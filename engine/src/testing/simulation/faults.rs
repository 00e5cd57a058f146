//! What goes wrong in a simulation, and how often.

use std::time::Duration;

/// What goes wrong in a [`Simulation`](super::Simulation), and how often. Nothing, unless said.
///
/// ```
/// use windlass::testing::Faults;
/// use windlass::{HOUR, MIN};
///
/// let rough = Faults::new()
///     .handlers_fail(200) // a fifth of all attempts
///     .crashes_every(HOUR * 6)
///     .power_fails(300) // and of the crashes, three in ten take the power along
///     .store_fails(5);
/// # let _ = rough;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub(crate) fail_permille: u32,
    pub(crate) fail_after_permille: u32,
    pub(crate) panic_permille: u32,
    pub(crate) hang_permille: u32,
    pub(crate) store_permille: u32,
    pub(crate) store_pause_max: Option<Duration>,
    pub(crate) crash_every: Option<Duration>,
    pub(crate) power_permille: u32,
    pub(crate) restart_every: Option<Duration>,
}

impl Faults {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many attempts in a thousand fail instead of running their handler.
    #[must_use]
    pub const fn handlers_fail(mut self, permille: u32) -> Self {
        self.fail_permille = permille;
        self
    }

    /// So many attempts in a thousand run their handler and then fail all the same: what it did, it did, and is done again.
    #[must_use]
    pub const fn handlers_fail_after_their_work(mut self, permille: u32) -> Self {
        self.fail_after_permille = permille;
        self
    }

    /// So many attempts in a thousand panic instead of running their handler.
    #[must_use]
    pub const fn handlers_panic(mut self, permille: u32) -> Self {
        self.panic_permille = permille;
        self
    }

    /// So many async attempts in a thousand hang until they are cancelled: give the queue an attempt timeout, or they hang for
    /// ever, and the simulation tells. (A blocking handler that does not look at its cancellation cannot be ended at all, so
    /// none is made to hang.)
    #[must_use]
    pub const fn handlers_hang(mut self, permille: u32) -> Self {
        self.hang_permille = permille;
        self
    }

    /// So many calls of the journal in a thousand fail: refused, with an outcome that nobody knows, or by a panic.
    #[must_use]
    pub const fn store_fails(mut self, permille: u32) -> Self {
        self.store_permille = permille;
        self
    }

    /// Every write takes up to so long.
    #[must_use]
    pub const fn store_is_slow(mut self, pause_max: Duration) -> Self {
        self.store_pause_max = Some(pause_max);
        self
    }

    /// The process dies about so often, at any moment: between two steps, before or after a call of the journal, when a
    /// handler begins or ends.
    #[must_use]
    pub const fn crashes_every(mut self, mean: Duration) -> Self {
        self.crash_every = Some(mean);
        self
    }

    /// So many crashes in a thousand take the power along: what was not synced is gone.
    #[must_use]
    pub const fn power_fails(mut self, permille: u32) -> Self {
        self.power_permille = permille;
        self
    }

    /// The service is shut down and started again about so often, as by a deploy.
    #[must_use]
    pub const fn restarts_every(mut self, mean: Duration) -> Self {
        self.restart_every = Some(mean);
        self
    }
}

/// A place at which a process can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    BeforeAppend,
    AfterAppend,
    BeforeSync,
    AfterSync,
    Start,
    End,
}

impl Place {
    pub(crate) const ALL: [Self; 6] =
        [Self::BeforeAppend, Self::AfterAppend, Self::BeforeSync, Self::AfterSync, Self::Start, Self::End];
}

/// A death that waits for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fuse {
    pub(crate) place: Place,
    pub(crate) power_lost: bool,
}
