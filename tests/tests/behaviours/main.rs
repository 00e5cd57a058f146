//! The engine's behaviour, seen from outside: one module a behaviour, on paused clocks unless it says otherwise.
// Helpers of tests are not tests to clippy.
#![allow(clippy::unwrap_used)]

mod cancel;
mod delay;
mod lease;
mod lifecycle;
mod priority;
mod retry;
