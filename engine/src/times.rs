//! How long attempts wait and run, by queue and kind, and how long the journal takes: counted for whoever asks the engine itself, beside
//! what is told to a recorder.
//!
//! Owns the counts. Until somebody has asked for the first time nothing is counted, and no clock is looked at; from then on an attempt
//! costs one look at a clock and two counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::command::QueueNo;
use windlass_scheduler::job::Name;
use windlass_scheduler::settings::ShardSettings;

use crate::engine::Engine;
use crate::error::ControlError;
use crate::spread::{Counts, Spread};

/// How long attempts of one kind waited and ran in one queue: see [`Engine::attempt_times`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptTimes {
    /// The queue.
    pub queue: String,
    /// The kind; `None`: those without a handler in this build.
    pub kind: Option<String>,
    /// How long each job had been ready when its attempt started, in microseconds, to the millisecond: one for each start.
    pub waits: Spread,
    /// How long attempts took that succeeded, in microseconds, from their start until their code had ended.
    pub succeeded: Spread,
    /// How long those took that failed.
    pub failed: Spread,
    /// How long those took that ended otherwise: snoozed, cancelled, or given back.
    pub others: Spread,
}

/// How the journal is, as far as the engine sees it: see [`Engine::journal_stats`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalStats {
    /// How long writes took, in microseconds.
    pub writes: Spread,
    /// How long syncs took, in microseconds.
    pub syncs: Spread,
    /// Changes of records that each write had in it: how many share one.
    pub batch_changes: Spread,
    /// Bytes of each write, within a factor of two.
    pub batch_bytes: Spread,
    /// Bytes of its tables, where it is on a disk.
    pub tables_bytes: Option<u64>,
    /// Bytes of its log, where it is on a disk.
    pub log_bytes: Option<u64>,
    /// Free bytes on its disk, as they were when it was looked at last.
    pub free_bytes: Option<u64>,
    /// How often this process has opened and loaded it: once at the start, and once for each rebuild.
    pub loads: u64,
    /// Records that could not be read, since the start.
    pub quarantined: u64,
}

/// All that is counted.
#[derive(Default)]
pub(crate) struct Book {
    is_open: AtomicBool,
    queues: Vec<OfQueue>,
    writes: Counts,
    syncs: Counts,
    batch_changes: Counts,
    batch_bytes: Counts,
    loads: AtomicU64,
}

struct OfQueue {
    name: Name,
    /// By the numbers of their handlers; made at the first attempt, so that a queue has none of kinds that never come. The last one is for
    /// kinds without a handler.
    kinds: Vec<OnceLock<Box<OfKind>>>,
}

struct OfKind {
    name: Option<Name>,
    waits: Counts,
    /// Succeeded, failed, and others.
    runs: [Counts; 3],
}

/// What an attempt is counted under: its queue and its handler, and when it began.
#[derive(Clone, Copy)]
pub(crate) struct Timed {
    queue: QueueNo,
    handler: usize,
    began: Instant,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Book {
    pub(crate) fn new(settings: &ShardSettings) -> Self {
        let kinds = || (0..=settings.kinds.len()).map(|_| OnceLock::new()).collect();
        let of_queue = |name: &Name| OfQueue { name: name.clone(), kinds: kinds() };
        Self { queues: settings.queues.iter().map(|queue| of_queue(&queue.name)).collect(), ..Self::default() }
    }

    /// The moment, where somebody has asked.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.is_open.load(Ordering::Relaxed).then(Instant::now)
    }

    /// An attempt starts, of the handler with this number, for a job that had been ready for so long.
    pub(crate) fn started(
        &self,
        began: Option<Instant>,
        queue: QueueNo,
        handler: Option<usize>,
        kind: &Name,
        waited_ms: u64,
    ) -> Option<Timed> {
        let began = began?;
        let kinds = &self.queues.get(queue.0 as usize)?.kinds;
        let others = kinds.len() - 1;
        let handler = handler.unwrap_or(others).min(others);
        let name = || (handler < others).then(|| kind.clone());
        let of_kind = || Box::new(OfKind { name: name(), waits: Counts::default(), runs: <[Counts; 3]>::default() });
        kinds[handler].get_or_init(of_kind).waits.add(waited_ms.saturating_mul(1_000));
        Some(Timed { queue, handler, began })
    }

    /// Its code has ended.
    pub(crate) fn ended(&self, timed: Timed, outcome: &Outcome) {
        let place = match outcome {
            Outcome::Done { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::Snoozed { .. } | Outcome::Cancelled { .. } | Outcome::Released => 2,
        };
        let kinds = self.queues.get(timed.queue.0 as usize).map(|queue| &queue.kinds);
        if let Some(of_kind) = kinds.and_then(|kinds| kinds.get(timed.handler)?.get()) {
            of_kind.runs[place].add(micros(timed.began.elapsed()));
        }
    }

    /// A batch was written.
    pub(crate) fn written(&self, began: Option<Instant>, changes: usize, bytes: usize) {
        if let Some(began) = began {
            self.writes.add(micros(began.elapsed()));
            self.batch_changes.add(changes as u64);
            self.batch_bytes.add(bytes as u64);
        }
    }

    /// All that was written is synced.
    pub(crate) fn synced(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.syncs.add(micros(began.elapsed()));
        }
    }

    /// The journal was opened and loaded.
    pub(crate) fn loaded(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    fn attempts(&self) -> Vec<AttemptTimes> {
        let of = |queue: &OfQueue, kind: &OfKind| {
            let [succeeded, failed, others] = &kind.runs;
            AttemptTimes {
                queue: queue.name.to_string(),
                kind: kind.name.as_ref().map(ToString::to_string),
                waits: kind.waits.read(),
                succeeded: succeeded.read(),
                failed: failed.read(),
                others: others.read(),
            }
        };
        let queues = self.queues.iter();
        queues.flat_map(|queue| queue.kinds.iter().filter_map(move |kind| Some(of(queue, kind.get()?)))).collect()
    }
}

impl Engine {
    /// How long attempts waited and ran, by queue and kind, and how many started and ended how: of those that started since this was
    /// called for the first time. Queues and kinds of which none did are left out.
    ///
    /// Waits for nothing, from any thread. Nothing is counted before the first call; from then on, until the engine's end, each attempt
    /// costs one look at a clock and two counts.
    ///
    /// ```
    /// # fn example(engine: &windlass::Engine) {
    /// for times in engine.attempt_times() {
    ///     if let Some(waited) = times.waits.quantile(0.99) {
    ///         println!("{}: 99 of 100 waited up to {waited} µs", times.queue);
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn attempt_times(&self) -> Vec<AttemptTimes> {
        let book = &self.door().book;
        book.is_open.store(true, Ordering::Relaxed);
        book.attempts()
    }

    /// How the journal is: times of writes and syncs, and what a write has in it, since this or [`attempt_times`](Self::attempt_times) was
    /// called for the first time; and what it takes on its disk. Its cost does not grow with the jobs.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`]; [`ControlError::Storage`] where the journal is closed.
    pub async fn journal_stats(&self) -> Result<JournalStats, ControlError> {
        let book = &self.door().book;
        book.is_open.store(true, Ordering::Relaxed);
        let door = self.door().clone();
        let read = self.door().read_on(self.handlers(), move || door.journal_reader()?.disk());
        let disk = read.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))??;
        Ok(JournalStats {
            writes: book.writes.read(),
            syncs: book.syncs.read(),
            batch_changes: book.batch_changes.read(),
            batch_bytes: book.batch_bytes.read(),
            tables_bytes: disk.map(|disk| disk.tables_bytes),
            log_bytes: disk.map(|disk| disk.log_bytes),
            free_bytes: self.door().vitals.free_bytes(),
            loads: book.loads.load(Ordering::Relaxed),
            quarantined: self.door().vitals.quarantined(),
        })
    }
}
