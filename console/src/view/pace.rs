//! How fast jobs go, and how the journal does.

use serde::Serialize;
use utoipa::ToSchema;
use windlass::{JournalStats, Spread};

/// How large most values are, in microseconds; each is told to a sixteenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a number says what unit it has")]
pub(crate) struct Quantiles {
    /// Half of them are up to this.
    pub(crate) p50_us: u64,
    /// 95 of 100 are.
    pub(crate) p95_us: u64,
    /// 99 of 100 are.
    pub(crate) p99_us: u64,
}

impl Quantiles {
    /// Of none there are none.
    fn of(spread: &Spread) -> Option<Self> {
        let [p50_us, p95_us, p99_us] = [0.5, 0.95, 0.99].map(|part| spread.quantile(part));
        Some(Self { p50_us: p50_us?, p95_us: p95_us?, p99_us: p99_us? })
    }
}

/// How fast attempts start and end, over the last five minutes, or since the console looked first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct PaceView {
    /// Over how many milliseconds that is.
    pub(crate) window_ms: u64,
    /// Attempts that started.
    pub(crate) started: u64,
    /// Attempts that succeeded.
    pub(crate) succeeded: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Attempts that started, a minute.
    pub(crate) started_per_minute: f64,
    /// Attempts that succeeded, a minute.
    pub(crate) succeeded_per_minute: f64,
    /// Attempts that failed, a minute.
    pub(crate) failed_per_minute: f64,
    /// For how long jobs had been ready when their attempts started; absent where none did.
    pub(crate) wait: Option<Quantiles>,
    /// How long attempts ran that succeeded or failed; absent where none did.
    pub(crate) run: Option<Quantiles>,
}

impl PaceView {
    pub(crate) fn new(window_ms: u64, waits: &Spread, [succeeded, failed]: [&Spread; 2]) -> Self {
        let [started_no, succeeded_no, failed_no] = [waits, succeeded, failed].map(Spread::count);
        Self {
            window_ms,
            started: started_no,
            succeeded: succeeded_no,
            failed: failed_no,
            started_per_minute: per_minute(started_no, window_ms),
            succeeded_per_minute: per_minute(succeeded_no, window_ms),
            failed_per_minute: per_minute(failed_no, window_ms),
            wait: Quantiles::of(waits),
            run: Quantiles::of(&succeeded.and(failed)),
        }
    }
}

/// To a tenth. Of less than a second it would be a guess: that is taken for a whole one.
#[expect(clippy::cast_precision_loss, reason = "a rate to a tenth")]
fn per_minute(count: u64, window_ms: u64) -> f64 {
    let tenths = count.saturating_mul(600_000) / window_ms.max(1_000);
    tenths as f64 / 10.0
}

/// How fast attempts of one kind start and end in one queue.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct KindView {
    /// The queue.
    pub(crate) queue: String,
    /// The kind; absent: those that no handler of this build serves.
    pub(crate) kind: Option<String>,
    /// How fast.
    #[serde(flatten)]
    pub(crate) pace: PaceView,
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct JournalView {
    /// Writes of the last five minutes, or since the console looked first.
    pub(crate) writes: u64,
    /// How long they took.
    pub(crate) write: Option<Quantiles>,
    /// Syncs in that time.
    pub(crate) syncs: u64,
    /// How long they took.
    pub(crate) sync: Option<Quantiles>,
    /// Changes of records that half of the writes had at most: how many share one.
    pub(crate) changes_p50: Option<u64>,
    /// Changes that 99 of 100 writes had at most.
    pub(crate) changes_p99: Option<u64>,
    /// Bytes of its tables, where it is on a disk.
    pub(crate) tables_bytes: Option<u64>,
    /// Bytes of its log, where it is on a disk.
    pub(crate) log_bytes: Option<u64>,
    /// Free bytes on its disk, where that is known.
    pub(crate) free_bytes: Option<u64>,
    /// How often this process has loaded it: once at the start, and once for each rebuild.
    pub(crate) loads: u64,
    /// Records that could not be read, since the start.
    pub(crate) quarantined: u64,
}

impl JournalView {
    pub(crate) fn new(now: &JournalStats, before: Option<&JournalStats>) -> Self {
        let more = |of: fn(&JournalStats) -> &Spread| {
            before.map_or_else(|| of(now).clone(), |before| of(now).since(of(before)))
        };
        let (writes, syncs) = (more(|stats| &stats.writes), more(|stats| &stats.syncs));
        let changes = more(|stats| &stats.batch_changes);
        Self {
            writes: writes.count(),
            write: Quantiles::of(&writes),
            syncs: syncs.count(),
            sync: Quantiles::of(&syncs),
            changes_p50: changes.quantile(0.5),
            changes_p99: changes.quantile(0.99),
            tables_bytes: now.tables_bytes,
            log_bytes: now.log_bytes,
            free_bytes: now.free_bytes,
            loads: now.loads,
            quarantined: now.quarantined,
        }
    }
}
