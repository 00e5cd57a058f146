//! Windlass remembers here: the journal's contract, and two journals that keep it.
//!
//! This crate turns facts into bytes and back. It is blocking, has no clock and no thread that outlives a call, and decides
//! nothing: what a record means is the scheduler's affair, when to sync is the engine's.
//!
//! # What each level promises
//!
//! | level | Ok means | process killed | power lost |
//! |---|---|---|---|
//! | memory | the record is in RAM ([`MemoryJournal`]) | lost | lost |
//! | process | [`Journal::append`] answered Ok | kept | lost back to the last sync, or less |
//! | durable | [`Journal::sync`] answered Ok after it | kept | kept, if the device honours a flush |
//!
//! A batch is there whole or not at all, and what is there is always a prefix of what was appended: no level leaves a
//! hole. What nobody can promise: devices that lie about flushing, and the loss of the only copy.
//!
//! # The rooms
//!
//! [`journal`] is the trait with its musts, [`memory`] and `rocks` keep it, `conformance` checks any that claims
//! to. `record`, `codec` and `keys` say how a record looks in bytes, and `FORMAT.md` tells it to people.

pub mod backup;
pub mod error;
pub mod journal;
pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocks;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

#[doc(hidden)]
pub mod codec;
#[doc(hidden)]
pub mod keys;
mod record;
mod terms;

pub use backup::{BackupReport, PendingBackup};
pub use error::{BackupError, LoadError, OpenError, StorageError};
pub use journal::{
    Append, Batch, Capabilities, CommitNo, Journal, JournalDisk, JournalMemory, Loaded, Opened, Quarantined, Reader,
    Resolution,
};
#[cfg(feature = "rocksdb")]
pub use keys::Family;
pub use memory::MemoryJournal;
#[cfg(feature = "rocksdb")]
pub use rocks::{Content, Entry, Gap, RocksJournal, RocksLook, RocksOptions, SalvageReport, Salvager};
