//! The harness: what the behaviour tests of this package share.
//!
//! - [`script`]: jobs whose attempts do what a test says, when it says so, and a history of what ran.
//! - [`fault`]: a journal that fails, waits and panics on demand, around one in memory.
//! - [`fuzz`]: what fuzzers feed, as plain functions of bytes.
//! - [`bugs`]: the list of known bugs that the suite has to catch.
//! - [`world`]: a simulated disk that outlives processes, and the lives of processes on it, each on a paused clock.
//!
//! - [`chance`]: chance from a seed.
//! - [`simulation`]: the real engine on a virtual clock, all that happens to it drawn from a seed.
//! - `kill` (with the feature `rocksdb`): processes that are killed, on a real disk.
//! - `images` (with it, too): disks after a cut of the power, from the record of a real run.
//! - `torture` (with it, too): these two and the simulation, for minutes.
//!
//! Everything here waits for signals and never for time.
// A harness that cannot go on has to say where: this crate is compiled for tests alone.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc, clippy::must_use_candidate)]

// The list itself, whatever this was built with: only the crates that have the bugs know which one is on.
#[path = "../../scheduler/src/bugs.rs"]
pub mod bugs;
pub mod chance;
mod collector;
pub mod fault;
pub mod fuzz;
#[cfg(feature = "rocksdb")]
pub mod images;
#[cfg(feature = "rocksdb")]
pub mod kill;
pub mod script;
pub mod simulation;
#[cfg(feature = "rocksdb")]
pub mod torture;
pub mod until;
pub mod world;

/// The examples of the house's README are tests, too.
#[cfg(all(doctest, feature = "rocksdb"))]
#[doc = include_str!("../../README.md")]
struct Readme;
