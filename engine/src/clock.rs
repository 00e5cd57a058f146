//! Time enters here, and nowhere else (I5).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use windlass_scheduler::time::{Mono, Now, Timestamp};

use crate::config::ms;

/// Where an engine gets its wall time from. Its monotonic time is tokio's, so that a paused clock is followed.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. It may jump both ways.
    fn wall_ms(&self) -> u64;

    /// Whether it always moves along with tokio's time. Then nobody has to look now and then whether it was set.
    fn is_steady(&self) -> bool {
        false
    }
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        timestamp(SystemTime::now()).0
    }
}

/// A time of the system as the core has it: the millisecond that has begun. What is before 1970 is 1970.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let passed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

/// A moment to wait for as the core has it: the first millisecond that is not before it.
pub(crate) fn not_before(time: SystemTime) -> Timestamp {
    Timestamp(ms(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// A wall clock that a test sets: it stands still until told, or moves along with tokio's (paused) time.
#[derive(Debug)]
pub struct ManualClock {
    base_ms: AtomicU64,
    started: Instant,
}

impl ManualClock {
    /// A clock that shows this time now, and follows tokio's time from here.
    ///
    /// # Panics
    /// Outside of a tokio runtime whose clock is paused, tokio's time is the machine's.
    #[must_use]
    pub fn starting_at_ms(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { base_ms: AtomicU64::new(wall_ms), started: Instant::now() })
    }

    /// Sets the wall clock forward by so many milliseconds; tokio's time does not move.
    pub fn jump_forward_ms(&self, ms: u64) {
        self.base_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock back by so many milliseconds; tokio's time does not move.
    pub fn jump_back_ms(&self, ms: u64) {
        let _ = self.base_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |base| Some(base.saturating_sub(ms)));
    }
}

impl Clock for Arc<ManualClock> {
    fn wall_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.load(Ordering::SeqCst).saturating_add(passed)
    }
}

/// Both clocks as the core wants them.
#[derive(Clone)]
pub(crate) struct Clocks {
    wall: Arc<dyn Clock>,
    origin: Instant,
}

impl Clocks {
    pub(crate) fn new(wall: Arc<dyn Clock>) -> Self {
        Self { wall, origin: Instant::now() }
    }

    /// Whether the wall clock cannot jump.
    pub(crate) fn is_steady(&self) -> bool {
        self.wall.is_steady()
    }

    /// What waits are counted from. A millisecond that has begun counts as over, so that none of them is cut short by the
    /// part that was over already.
    pub(crate) fn now(&self) -> Now {
        Now { mono: Mono(ms(self.origin.elapsed())), wall: Timestamp(self.wall.wall_ms()) }
    }

    /// What the end of waits is judged by: only whole milliseconds have passed.
    pub(crate) fn passed(&self) -> Now {
        let mono = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), ..self.now() }
    }
}

/// Whether tokio's clock stands still here: it does not move while the machine's does.
pub(crate) fn is_paused() -> bool {
    let (tokio, machine) = (Instant::now(), std::time::Instant::now());
    while machine.elapsed().as_micros() < 50 {
        std::hint::spin_loop();
    }
    tokio.elapsed().is_zero()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_counted_from_its_next_millisecond_to_a_whole_one() {
        let clocks = Clocks::new(Arc::new(SystemClock));
        for (micros, now, passed) in [(0, 0, 0), (300, 1, 0), (700, 1, 1), (1, 2, 1)] {
            tokio::time::advance(Duration::from_micros(micros)).await;
            assert_eq!((clocks.now().mono.0, clocks.passed().mono.0), (now, passed), "after {micros} µs more");
        }
    }

    #[test]
    fn a_moment_that_is_waited_for_is_never_before_itself() {
        let moment = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        assert_eq!([1_000, 1_001, 1_999, 2_000].map(|micros| not_before(moment(micros)).0), [1, 2, 2, 2]);
        assert_eq!([1_000, 1_001, 1_999, 2_000].map(|micros| timestamp(moment(micros)).0), [1, 1, 1, 2]);
        assert_eq!([0, 1, 1_000, 1_001].map(|micros| ms(Duration::from_micros(micros))), [0, 1, 1, 2]);
    }
}
