//! A disk that outlives processes, and the lives of processes on it.
//!
//! A life is a runtime of its own on a paused clock. When it ends, everything in it is dropped where it stands, as if the
//! process had been killed; only what was appended to the journal is there in the next one.

use std::sync::Arc;
use std::time::Duration;

use windlass::{Clock, Engine, EngineBuilder, ManualClock, MemoryJournal, QueueConfig};

use crate::collector;
use crate::fault::{FaultJournal, Faults};
use crate::script::{Script, run_block, run_step};

/// The wall clock's first moment: some day in 2023.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// An engine with the scripted handlers and a queue `work` of these settings, on this journal.
pub fn builder(script: &Script, journal: impl windlass::storage::Journal + 'static) -> EngineBuilder<Script> {
    collector::install();
    Engine::builder().journal(journal).app(script.clone()).handler(run_step).blocking_handler(run_block)
}

/// The default queue of the scripted jobs.
pub fn work() -> QueueConfig {
    collector::install();
    QueueConfig::new("work")
}

/// Starts an engine with this queue on a journal in memory.
pub async fn start(script: &Script, queue: QueueConfig) -> Engine {
    builder(script, MemoryJournal::new()).queue(queue).start().await.expect("it starts")
}

/// Starts an engine with this queue on a journal that fails on demand.
pub async fn start_with_faults(script: &Script, queue: QueueConfig) -> (Engine, Faults) {
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    (builder(script, journal).queue(queue).start().await.expect("it starts"), faults)
}

/// A simulated disk, a script whose history goes on through all lives, and the wall clock.
pub struct World {
    /// The disk.
    pub disk: MemoryJournal,
    /// The script.
    pub script: Script,
    wall_ms: u64,
}

/// What one life has.
pub struct Life {
    /// The script.
    pub script: Script,
    /// The wall clock, which follows the paused one.
    pub clock: Arc<ManualClock>,
    /// What the journal of this life does on demand.
    pub faults: Faults,
    disk: MemoryJournal,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty disk.
    pub fn new() -> Self {
        Self { disk: MemoryJournal::simulated_disk(), script: Script::new(), wall_ms: EPOCH_MS }
    }

    /// One life of a process: it ends where `live` ends, and whatever still goes on is gone.
    pub fn life<T>(&mut self, live: impl AsyncFnOnce(&Life) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let (script, disk, wall_ms) = (self.script.clone(), self.disk.second_handle(), self.wall_ms);
        let (result, wall_ms) = runtime.block_on(async move {
            let clock = ManualClock::starting_at_ms(wall_ms);
            let life = Life { script, clock, faults: Faults::default(), disk };
            let result = live(&life).await;
            (result, life.clock.wall_ms())
        });
        self.wall_ms = wall_ms;
        runtime.shutdown_background();
        self.script.bury();
        result
    }

    /// As [`life`](Self::life), and the power fails at its end: what was not synced is gone.
    pub fn life_without_power_at_its_end<T>(&mut self, live: impl AsyncFnOnce(&Life) -> T) -> T {
        let result = self.life(live);
        self.disk.lose_power();
        result
    }

    /// The time between two lives.
    pub fn pass(&mut self, time: Duration) {
        self.wall_ms += u64::try_from(time.as_millis()).expect("a time that ends");
    }
}

impl Life {
    /// An engine on the world's disk, clock and script; it lacks queues.
    pub fn builder(&self) -> EngineBuilder<Script> {
        let journal = FaultJournal::with_faults(self.disk.second_handle(), self.faults.clone());
        builder(&self.script, journal).clock(self.clock.clone())
    }

    /// Starts an engine with this queue.
    pub async fn start(&self, queue: QueueConfig) -> Engine {
        self.builder().queue(queue).start().await.expect("it starts")
    }
}

/// Whether this took as long as it should, to some milliseconds of a clock that counts in them.
pub fn took(since: tokio::time::Instant, until: tokio::time::Instant, expected: Duration) -> bool {
    let took = until.duration_since(since);
    expected <= took && took < expected + Duration::from_millis(10)
}

/// A moment of the world's wall clock.
pub fn wall(after_epoch: Duration) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::from_millis(EPOCH_MS) + after_epoch
}
