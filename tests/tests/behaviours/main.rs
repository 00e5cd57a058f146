//! The engine's behaviour, seen from outside: one module a behaviour, on paused clocks unless it says otherwise.
// Helpers of tests are not tests to clippy.
#![allow(clippy::unwrap_used)]

mod cancel;
mod dead_letters;
mod delay;
mod drain;
mod lease;
mod lifecycle;
mod limits;
mod pause;
mod priority;
mod rebuild;
mod recovery;
mod retry;
mod supervision;
