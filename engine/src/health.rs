//! How an engine is: whether it serves, why not, since when, and what to do.
//!
//! Owns what is told, and the few numbers that the writer leaves for it. Reading them costs some atomics and a short
//! lock: it never waits for an actor, so that it answers just when the actors do not. Never decides anything.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A call to the journal that takes longer than this is told: a healthy disk syncs in milliseconds.
const JOURNAL_SLOW: Duration = Duration::from_secs(3);

/// Whether an engine serves, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthState {
    /// It serves.
    Healthy,
    /// It is being rebuilt from its journal, for this reason; calls wait.
    Recovering(String),
    /// It gave up rebuilding, for this reason: nothing is handed out or accepted. Mend the storage and start it again.
    Unhealthy(String),
    /// The runtime that handlers ran on is gone, and so the engine has stopped.
    RuntimeGone,
    /// It has stopped, for this reason.
    Stopped(String),
}

impl HealthState {
    /// What whoever runs the service should do about it.
    #[must_use]
    pub const fn what_to_do(&self) -> &'static str {
        match self {
            Self::Healthy => "nothing",
            Self::Recovering(_) => {
                "nothing yet: calls wait, and it serves again within seconds. If this comes back, look at the journal's \
                 disk (room, permissions, the system's log)"
            }
            Self::Unhealthy(_) => {
                "mend the journal's disk (room, permissions, the device), then restart the service. What was accepted is \
                 in the journal; what still runs may end, and runs again"
            }
            Self::RuntimeGone => {
                "restart the service, and see that the tokio runtime that calls `start()` lives until `shutdown()` has \
                 returned. Nothing that was accepted is lost"
            }
            Self::Stopped(_) => "nothing, if it was meant to stop; otherwise restart the service",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Recovering(why) => write!(f, "recovering: {why}"),
            Self::Unhealthy(why) => write!(f, "unhealthy: {why}"),
            Self::RuntimeGone => f.write_str("stopped: the handlers' runtime is gone"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

/// Something that wants looking at, while the engine serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthWarning {
    /// The journal's disk has less room than is kept for acknowledgements: new jobs are refused, what runs is finished.
    DiskNearlyFull {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that have to be free for new jobs.
        free_bytes_min: u64,
        /// Since when.
        since: SystemTime,
    },
    /// Records could not be read, or made no sense: they were moved aside with their bytes, and their jobs do not run.
    Quarantined {
        /// How many, since this engine was started.
        records: u64,
        /// When the last of them was found.
        since: SystemTime,
    },
    /// A call to the journal has not come back for seconds. Whatever needs the disk waits for it.
    JournalSlow {
        /// Which one.
        call: &'static str,
        /// How long it has been under way.
        lasts: Duration,
        /// Since when.
        since: SystemTime,
    },
    /// Attempts were asked to end, their grace is over, and their code still runs: it blocks a thread, or a runtime's.
    AttemptsStuck {
        /// How many.
        attempts: u64,
        /// Since when the first of them.
        since: SystemTime,
    },
}

impl HealthWarning {
    /// What whoever runs the service should do about it.
    #[must_use]
    pub const fn what_to_do(&self) -> &'static str {
        match self {
            Self::DiskNearlyFull { .. } => {
                "free some space on the journal's disk, or move other things off it; new jobs are accepted again within a \
                 second or two. How much is kept free is set by `disk_free_bytes_min`"
            }
            Self::Quarantined { .. } => {
                "check the disk, then look at the records: take a backup, restore it somewhere, open that journal and ask \
                 `RocksJournal::quarantine`. The log names their keys and reasons. Hand the lost jobs in again"
            }
            Self::JournalSlow { .. } => {
                "look at the journal's disk: a failing device, a full write cache, or another process that writes a lot. \
                 Nothing is lost, enqueues wait"
            }
            Self::AttemptsStuck { .. } => {
                "find what their code waits for or computes: list the running jobs, whose `why` says that they are overdue. \
                 Async code must not block its thread, blocking code has to look at `is_cancelled`. Each keeps its slot until \
                 its code ends, or the process does"
            }
        }
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> SystemTime {
        match self {
            Self::DiskNearlyFull { since, .. }
            | Self::Quarantined { since, .. }
            | Self::JournalSlow { since, .. }
            | Self::AttemptsStuck { since, .. } => *since,
        }
    }
}

impl fmt::Display for HealthWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskNearlyFull { free_bytes, free_bytes_min, .. } => write!(
                f,
                "the disk is nearly full, new jobs are refused: {free_bytes} bytes free, {free_bytes_min} needed"
            ),
            Self::Quarantined { records, .. } => write!(f, "{records} unreadable records were moved to quarantine"),
            Self::JournalSlow { call, lasts, .. } => {
                write!(f, "the journal is slow: a {call} has been under way for {} ms", lasts.as_millis())
            }
            Self::AttemptsStuck { attempts, .. } => {
                write!(f, "{attempts} attempts were asked to end, and their code still runs")
            }
        }
    }
}

/// An engine's health. Reading it is cheap, waits for nothing, and works from any thread, also after the engine's end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// What it is.
    pub state: HealthState,
    /// Since when.
    pub since: SystemTime,
    /// What wants looking at besides.
    pub warnings: Vec<HealthWarning>,
}

impl Health {
    /// Whether jobs are handed out and calls are answered.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.state == HealthState::Healthy
    }

    /// Whether new jobs are accepted, as far as the engine as a whole is concerned: it serves, and its disk has room.
    #[must_use]
    pub fn accepts_jobs(&self) -> bool {
        self.is_serving()
            && !self.warnings.iter().any(|warning| matches!(warning, HealthWarning::DiskNearlyFull { .. }))
    }

    /// What to do about its state and each warning, one line each; empty where there is nothing to do.
    #[must_use]
    pub fn what_to_do(&self) -> Vec<&'static str> {
        let state = (!self.is_serving()).then(|| self.state.what_to_do());
        state.into_iter().chain(self.warnings.iter().map(HealthWarning::what_to_do)).collect()
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)?;
        self.warnings.iter().try_for_each(|warning| write!(f, "; {warning}"))
    }
}

/// A call to the journal, as a health report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalCall {
    Append,
    Sync,
    Watermark,
    Backup,
}

impl JournalCall {
    const ALL: [Self; 4] = [Self::Append, Self::Sync, Self::Watermark, Self::Backup];

    const fn name(self) -> &'static str {
        match self {
            Self::Append => "write",
            Self::Sync => "sync",
            Self::Watermark => "watermark",
            Self::Backup => "backup",
        }
    }
}

/// The numbers that the writer and the supervisor leave. Each may be read at any moment; 0 means none.
#[derive(Debug)]
pub(crate) struct Vitals {
    origin: Instant,
    free_bytes: AtomicU64,
    free_bytes_min: u64,
    /// Milliseconds since the origin, and 1.
    full_since: AtomicU64,
    quarantined: AtomicU64,
    quarantined_at: AtomicU64,
    /// The call that is under way: when it began, times four, and which.
    call: AtomicU64,
}

impl Vitals {
    /// Free bytes on the journal's disk, as far as it is on one.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != u64::MAX)
    }

    /// Records that were moved aside since the start.
    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    pub(crate) fn new(free_bytes_min: u64) -> Self {
        Self {
            origin: Instant::now(),
            free_bytes: AtomicU64::new(u64::MAX),
            free_bytes_min,
            full_since: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            quarantined_at: AtomicU64::new(0),
            call: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX >> 3).saturating_add(1)
    }

    pub(crate) fn set_free_bytes(&self, free_bytes: Option<u64>) {
        self.free_bytes.store(free_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
        let is_full = self.nearly_full().is_some();
        if is_full != (self.full_since.load(Ordering::Relaxed) != 0) {
            self.full_since.store(if is_full { self.now() } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Bytes free and bytes needed, where there are too few.
    pub(crate) fn nearly_full(&self) -> Option<(u64, u64)> {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        (free_bytes < self.free_bytes_min).then_some((free_bytes, self.free_bytes_min))
    }

    pub(crate) fn add_quarantined(&self, records: u64) {
        if records > 0 {
            self.quarantined.fetch_add(records, Ordering::Relaxed);
            self.quarantined_at.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes that a call is under way, until the answer is dropped.
    pub(crate) fn begin(&self, call: JournalCall) -> Underway<'_> {
        self.call.store(self.now() << 2 | call as u64, Ordering::Relaxed);
        Underway(self)
    }

    pub(crate) fn warnings(&self) -> Vec<HealthWarning> {
        self.warnings_at(self.now(), SystemTime::now())
    }

    fn warnings_at(&self, now: u64, wall: SystemTime) -> Vec<HealthWarning> {
        let lasts = |at: u64| Duration::from_millis(now.saturating_sub(at));
        let since = |at: u64| wall.checked_sub(lasts(at)).unwrap_or(wall);
        let mut warnings = Vec::new();
        if let Some((free_bytes, free_bytes_min)) = self.nearly_full() {
            let since = since(self.full_since.load(Ordering::Relaxed));
            warnings.push(HealthWarning::DiskNearlyFull { free_bytes, free_bytes_min, since });
        }
        let call = self.call.load(Ordering::Relaxed);
        if call != 0 && lasts(call >> 2) >= JOURNAL_SLOW {
            let name = JournalCall::ALL[(call & 3) as usize].name();
            warnings.push(HealthWarning::JournalSlow { call: name, lasts: lasts(call >> 2), since: since(call >> 2) });
        }
        let records = self.quarantined.load(Ordering::Relaxed);
        if records > 0 {
            let since = since(self.quarantined_at.load(Ordering::Relaxed));
            warnings.push(HealthWarning::Quarantined { records, since });
        }
        warnings
    }
}

/// A call to the journal that is under way.
#[must_use]
pub(crate) struct Underway<'a>(&'a Vitals);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.call.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_to_the_journal_is_told_once_it_takes_long_and_not_before_nor_afterwards() {
        let vitals = Vitals::new(0);
        let wall = SystemTime::now();
        for call in JournalCall::ALL {
            let began = vitals.now();
            let underway = vitals.begin(call);
            assert_eq!(vitals.warnings_at(began + 2_999, wall), []);
            let late = began + 3_500;
            let [HealthWarning::JournalSlow { call: name, lasts, since }] = vitals.warnings_at(late, wall)[..] else {
                panic!("it is slow");
            };
            assert_eq!(name, call.name());
            assert!(lasts <= Duration::from_millis(3_500) && lasts > Duration::from_millis(2_900), "{lasts:?}");
            assert_eq!(since, wall - lasts);
            drop(underway);
            assert_eq!(vitals.warnings_at(late, wall), []);
        }
    }

    #[test]
    fn a_full_disk_keeps_the_moment_at_which_it_became_full() {
        let vitals = Vitals::new(100);
        let wall = SystemTime::now();
        assert_eq!(vitals.warnings(), []);
        vitals.set_free_bytes(Some(99));
        let full_since = vitals.full_since.load(Ordering::Relaxed);
        vitals.set_free_bytes(Some(98));
        let since = wall - Duration::from_secs(5);
        let full = HealthWarning::DiskNearlyFull { free_bytes: 98, free_bytes_min: 100, since };
        assert_eq!(vitals.warnings_at(full_since + 5_000, wall), [full]);
        vitals.set_free_bytes(Some(100));
        assert_eq!(vitals.warnings(), []);
    }

    #[test]
    fn every_state_and_every_warning_says_what_to_do() {
        let why = || "the disk is gone".to_owned();
        let states = [HealthState::Recovering(why()), HealthState::Unhealthy(why()), HealthState::Stopped(why())];
        for state in states {
            assert!(state.to_string().ends_with("the disk is gone"), "{state}");
            assert!(!state.what_to_do().is_empty());
        }
        let vitals = Vitals::new(100);
        vitals.set_free_bytes(Some(1));
        vitals.add_quarantined(2);
        vitals.add_quarantined(3);
        let health = Health { state: HealthState::Healthy, since: SystemTime::now(), warnings: vitals.warnings() };
        assert!(health.is_serving() && !health.accepts_jobs());
        assert_eq!(health.what_to_do().len(), 2);
        let text = health.to_string();
        assert!(text.starts_with("healthy; the disk is nearly full"), "{text}");
        assert!(text.ends_with("5 unreadable records were moved to quarantine"), "{text}");
    }
}
