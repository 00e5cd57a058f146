//! The command line `windlass`, run as people run it: on directories that an engine has made, whole and damaged, against services that
//! run, and in a terminal.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(unix)]
mod alone;
mod damage;
mod denied;
mod exports;
mod looks;
mod online;
mod refusals;
mod served;
mod steering;
#[cfg(unix)]
mod terminal;
mod world;
