//! First figures: how fast the engine is on this machine, each figure beside an exact-delivery check and beside what the
//! machine itself can do in the same run.
//!
//! Two programs use this library: `windlass-bench` measures, and `windlass-bench-memory` is the part of it that needs a
//! counting allocator, which would slow down everything else.

#[cfg(feature = "rocksdb")]
mod backlog;
#[cfg(feature = "rocksdb")]
mod ceilings;
#[cfg(feature = "rocksdb")]
pub mod child;
#[cfg(feature = "rocksdb")]
mod claims;
#[cfg(feature = "rocksdb")]
mod console;
#[cfg(feature = "rocksdb")]
mod counted;
#[cfg(feature = "rocksdb")]
mod counting;
#[cfg(feature = "rocksdb")]
mod delays;
#[cfg(feature = "rocksdb")]
mod enqueue;
#[cfg(feature = "rocksdb")]
mod figure;
#[cfg(feature = "rocksdb")]
mod flows;
#[cfg(feature = "rocksdb")]
mod latency;
#[cfg(feature = "rocksdb")]
mod life;
#[cfg(feature = "rocksdb")]
pub mod memory;
#[cfg(feature = "rocksdb")]
mod records;
#[cfg(feature = "rocksdb")]
mod recovery;
#[cfg(feature = "rocksdb")]
mod schedules;
#[cfg(feature = "rocksdb")]
mod soak;
#[cfg(feature = "rocksdb")]
pub mod suite;
#[cfg(feature = "rocksdb")]
mod turns;
#[cfg(feature = "rocksdb")]
mod unique;
#[cfg(feature = "rocksdb")]
mod urgent;
#[cfg(feature = "rocksdb")]
mod work;

/// Whatever went wrong: a bench stops at the first thing.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
