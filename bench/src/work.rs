//! The jobs that are measured, the engine that runs them, and the check that each was delivered exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use windlass::storage::Journal;
use windlass::{Context, Draft, Durability, Engine, Job, JobError, JobId, QueueConfig, Receipt, RocksJournal};

use crate::Failure;
use crate::counting::{Counting, Tally};

/// Bytes of a job's payload as it is stored: JSON, like most jobs.
pub(crate) const PAYLOAD_BYTES: usize = 200;
/// Jobs of one bulk.
pub(crate) const BULK: u64 = 1_000;
/// The one queue.
pub(crate) const QUEUE: &str = "bench";
/// Attempts at once. A no-op ends when it starts: more of them fill larger waves.
pub(crate) const CONCURRENCY: u32 = 2_048;

/// More jobs than ever wait here.
const DEPTH_MAX: u64 = 100_000_000;

/// What `{"body":""}` takes.
const JSON_BYTES: usize = 11;

/// A job that does nothing.
#[derive(Serialize, Deserialize)]
pub(crate) struct NoOp {
    body: String,
}

impl Job for NoOp {
    const KIND: &'static str = "no-op";
    const QUEUE: &'static str = QUEUE;
    type Output = ();
}

impl NoOp {
    pub(crate) fn new() -> Self {
        Self { body: "x".repeat(PAYLOAD_BYTES - JSON_BYTES) }
    }
}

/// Ids that handlers saw, in rooms, so that handlers rarely wait for each other.
#[derive(Default)]
pub(crate) struct Seen {
    rooms: [Mutex<Vec<JobId>>; 16],
    starts: AtomicU64,
    wanted: AtomicU64,
    enough: Notify,
}

impl Seen {
    pub(crate) fn note(&self, id: JobId) {
        let room = &self.rooms[usize::from(id.0.as_bytes()[15] & 15)];
        room.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        let starts = self.starts.fetch_add(1, Ordering::AcqRel) + 1;
        if starts >= self.wanted.load(Ordering::Acquire) {
            self.enough.notify_one();
        }
    }

    /// Waits until handlers have started so many times since the last check.
    pub(crate) async fn wait_for(&self, starts: u64) {
        self.wanted.store(starts, Ordering::Release);
        while self.starts.load(Ordering::Acquire) < starts {
            self.enough.notified().await;
        }
    }

    /// Whether exactly these jobs were seen, each once. Forgets them.
    pub(crate) fn were_exactly(&self, accepted: &[JobId]) -> bool {
        let mut times: BTreeMap<JobId, u64> = BTreeMap::new();
        let mut seen = Vec::new();
        for room in &self.rooms {
            seen.append(&mut room.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.starts.store(0, Ordering::Release);
        self.wanted.store(u64::MAX, Ordering::Release);
        seen.sort_unstable();
        let mut accepted = accepted.to_vec();
        accepted.sort_unstable();
        if seen == accepted {
            return true;
        }
        for id in &seen {
            *times.entry(*id).or_default() += 1;
        }
        let twice = times.values().filter(|times| **times > 1).count();
        let missing = accepted.iter().filter(|id| !times.contains_key(*id)).count();
        eprintln!("{} jobs accepted, {} starts: {missing} missing, {twice} more than once", accepted.len(), seen.len());
        false
    }
}

/// All levels, from the weakest.
const LEVELS: [Durability; 3] = [Durability::Memory, Durability::Process, Durability::Durable];

/// All levels, from the weakest, or the one that `LEVEL` names.
pub(crate) fn levels() -> Result<Vec<Durability>, Failure> {
    levels_or(&LEVELS)
}

/// `Process`, or the level that `LEVEL` names: for what takes long, and is the core's own, whatever the level.
pub(crate) fn one_level() -> Result<Vec<Durability>, Failure> {
    levels_or(&[Durability::Process])
}

fn levels_or(all: &[Durability]) -> Result<Vec<Durability>, Failure> {
    let only = std::env::var("LEVEL").unwrap_or_default();
    if only.is_empty() { Ok(all.into()) } else { level(&only).map(|level| vec![level]) }
}

/// The level of this name.
pub(crate) fn level(name: &str) -> Result<Durability, Failure> {
    let known = LEVELS.into_iter().find(|level| self::name(*level) == name);
    known.ok_or_else(|| {
        format!("there is no level {name:?}: LEVEL is one of {}", LEVELS.map(self::name).join(", ")).into()
    })
}

/// What handlers and producers share a runtime of: two threads, as on the machine that the targets name.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// An engine on RocksDB with one queue of this level and a no-op handler that notes ids.
pub(crate) async fn start(dir: &Path, level: Durability, seen: &Arc<Seen>) -> Result<Engine, Failure> {
    start_with(dir, queue(level), seen, None).await
}

/// An engine as [`start`] starts it, with another budget than the usual one.
pub(crate) async fn start_within(
    dir: &Path,
    level: Durability,
    seen: &Arc<Seen>,
    memory_bytes_max: Option<u64>,
) -> Result<Engine, Failure> {
    start_on(RocksJournal::at(dir), queue(level), seen, memory_bytes_max).await
}

/// The queue that is measured.
pub(crate) fn queue(level: Durability) -> QueueConfig {
    QueueConfig::new(QUEUE).durability(level).concurrency(CONCURRENCY).depth_max(DEPTH_MAX)
}

/// An engine as [`start`] starts it, whose queue has more to it, and whose journal is counted where there is a tally.
pub(crate) async fn start_with(
    dir: &Path,
    queue: QueueConfig,
    seen: &Arc<Seen>,
    tally: Option<Arc<Tally>>,
) -> Result<Engine, Failure> {
    let journal = RocksJournal::at(dir);
    match tally {
        None => start_on(journal, queue, seen, None).await,
        Some(tally) => start_on(Counting::new(journal, tally), queue, seen, None).await,
    }
}

async fn start_on(
    journal: impl Journal + 'static,
    queue: QueueConfig,
    seen: &Arc<Seen>,
    memory_bytes_max: Option<u64>,
) -> Result<Engine, Failure> {
    seen.wanted.store(u64::MAX, Ordering::Release);
    let seen = seen.clone();
    let no_op = move |_: NoOp, cx: Context<()>| {
        seen.note(cx.id());
        std::future::ready(Ok::<(), JobError>(()))
    };
    let mut builder = Engine::builder().journal(journal).queue(queue).handler(no_op);
    if let Some(bytes) = memory_bytes_max {
        builder = builder.memory_bytes_max(bytes);
    }
    Ok(builder.start().await?)
}

/// Hands in so many jobs in bulks, as so many producers that each await their bulks, and returns their ids.
///
/// In tasks, as in a service: not on the thread that only waits for the runtime.
pub(crate) async fn produce(engine: &Engine, jobs: u64, producers: u64) -> Result<Vec<JobId>, Failure> {
    let start = |_| {
        let engine = engine.clone();
        tokio::spawn(async move { bulks(&engine, jobs / producers).await })
    };
    let tasks: Vec<_> = (0..producers).map(start).collect();
    let mut ids = Vec::with_capacity(usize::try_from(jobs)?);
    for task in tasks {
        ids.extend(task.await??);
    }
    Ok(ids)
}

/// Hands in so many jobs in bulks, one after the other, and returns their ids.
pub(crate) async fn bulks(engine: &Engine, jobs: u64) -> Result<Vec<JobId>, Failure> {
    let mut ids = Vec::with_capacity(usize::try_from(jobs)?);
    for _ in 0..jobs / BULK {
        let drafts = (0..BULK).map(|_| Draft::new(&NoOp::new()));
        ids.extend(fresh(engine.enqueue_all(drafts).await?)?);
    }
    Ok(ids)
}

fn fresh(receipts: Vec<Receipt>) -> Result<impl Iterator<Item = JobId>, Failure> {
    if let Some(known) = receipts.iter().find(|receipt| !receipt.fresh) {
        return Err(format!("job {} was there already", known.id).into());
    }
    Ok(receipts.into_iter().map(|receipt| receipt.id))
}

/// Waits until everything that was accepted has been acknowledged, not only started.
pub(crate) async fn all_done(engine: &Engine, seen: &Seen, jobs: u64) -> Result<(), Failure> {
    seen.wait_for(jobs).await;
    loop {
        let stats = engine.stats().await?;
        if stats.iter().all(|queue| queue.live() == 0) {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Ends an engine whose jobs are all done.
pub(crate) async fn stop(engine: Engine) -> Result<(), Failure> {
    Ok(engine.shutdown(Duration::from_secs(30)).await?)
}

/// A level's name in the table.
pub(crate) const fn name(level: Durability) -> &'static str {
    match level {
        Durability::Memory => "Memory",
        Durability::Process => "Process",
        Durability::Durable => "Durable",
    }
}
