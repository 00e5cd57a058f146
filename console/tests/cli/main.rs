//! The command line `windlass`, run as people run it: on directories that an engine has made, whole and damaged.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod exports;
mod looks;
mod refusals;
mod world;
