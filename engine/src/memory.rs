//! What an engine's memory is used for, and how its budget is divided.
//!
//! Owns the shares. One number bounds heads, stubs, payloads, and what the journal keeps in memory; payloads over it are on
//! disk only.

use windlass_scheduler::effect::Answer;
use windlass_scheduler::view::MemoryUse;
use windlass_storage::{Journal, JournalMemory};

use crate::engine::Engine;
use crate::error::{ConfigError, ControlError};
use crate::messages::Question;
use crate::range::MEMORY;

const MIB: u64 = 1 << 20;
/// What a service can spare, and room for 850,000 waiting jobs of 200 bytes without reading one back.
pub(crate) const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// The journal's part of the budget: what it reads again is little, what it writes leaves soon.
const JOURNAL_SHARE: u64 = 8;
const JOURNAL_MIN: u64 = 8 * MIB;
const JOURNAL_MAX: u64 = 512 * MIB;

/// What an engine's memory is used for, in bytes and in counts. Read from counters: its cost does not grow with the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The budget: see [`EngineBuilder::memory_bytes_max`](crate::EngineBuilder::memory_bytes_max).
    pub bytes_max: u64,
    /// Live jobs.
    pub jobs: u64,
    /// Bytes of their heads, with timers and the index of all ids.
    pub heads_bytes: u64,
    /// Retained jobs.
    pub retained: u64,
    /// Bytes of their stubs.
    pub stubs_bytes: u64,
    /// Bytes of what queues at level `Memory` keep beside live jobs: payloads, outputs and last errors of retained ones, and
    /// checkpoints.
    pub volatile_bytes: u64,
    /// Live jobs whose payloads are in memory.
    pub payloads: u64,
    /// Bytes of those payloads, labels and what holding them takes included.
    pub payloads_bytes: u64,
    /// Live jobs whose payloads are on disk only.
    pub paged_out: u64,
    /// Bytes of those payloads on disk. They are no memory.
    pub paged_out_bytes: u64,
    /// What the journal has read and keeps, in bytes.
    pub journal_cache_bytes: u64,
    /// What the journal has written and not yet put into tables, in bytes.
    pub journal_buffers_bytes: u64,
}

impl Memory {
    pub(crate) const fn new(bytes_max: u64, core: &MemoryUse, journal: JournalMemory) -> Self {
        Self {
            bytes_max,
            jobs: core.jobs,
            heads_bytes: core.heads_bytes,
            retained: core.retained,
            stubs_bytes: core.stubs_bytes,
            volatile_bytes: core.volatile_bytes,
            payloads: core.bodies,
            payloads_bytes: core.bodies_bytes,
            paged_out: core.paged_out,
            paged_out_bytes: core.paged_out_bytes,
            journal_cache_bytes: journal.cache_bytes,
            journal_buffers_bytes: journal.buffers_bytes,
        }
    }

    /// All of it, in bytes: what the budget is about.
    #[must_use]
    pub const fn used_bytes(&self) -> u64 {
        self.heads_bytes
            + self.stubs_bytes
            + self.volatile_bytes
            + self.payloads_bytes
            + self.journal_cache_bytes
            + self.journal_buffers_bytes
    }
}

impl Engine {
    /// What the memory is used for: heads, stubs, payloads, and the journal's own. Its cost does not grow with the jobs.
    ///
    /// ```
    /// # async fn example(engine: windlass::Engine) -> Result<(), windlass::ControlError> {
    /// let memory = engine.memory().await?;
    /// println!("{} of {} bytes; {} payloads on disk only", memory.used_bytes(), memory.bytes_max, memory.paged_out);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`]; [`ControlError::Storage`] where the journal is closed.
    pub async fn memory(&self) -> Result<Memory, ControlError> {
        let core = match self.door().ask(Question::Memory).await? {
            Answer::Memory(core) => core,
            other => unreachable!("a question about memory was answered with {other:?}"),
        };
        let door = self.door().clone();
        let read = self.door().read_on(self.handlers(), move || door.journal_reader()?.memory());
        let journal =
            read.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))??;
        Ok(Memory::new(self.config().memory_bytes_max(), &core, journal))
    }
}

/// Gives the journal its part of the budget, and answers what is left for the core.
pub(crate) fn share(bytes_max: u64, journal: &mut dyn Journal) -> Result<u64, ConfigError> {
    let journal_bytes = journal.set_memory((bytes_max / JOURNAL_SHARE).clamp(JOURNAL_MIN, JOURNAL_MAX));
    let core_bytes = bytes_max.saturating_sub(journal_bytes);
    let least_bytes = MEMORY.min - JOURNAL_MIN;
    if core_bytes < least_bytes {
        return Err(ConfigError::JournalMemory { bytes: bytes_max, journal_bytes, least_bytes });
    }
    // Where nothing is on a disk, nothing can be read back from it.
    Ok(if journal.capabilities().survives_process { core_bytes } else { u64::MAX })
}
