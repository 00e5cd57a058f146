//! The engine's behaviour, seen from outside: one module a behaviour, on paused clocks unless it says otherwise.
// Helpers of tests are not tests to clippy.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod actors;
mod bulk;
mod cancel;
mod checkpoint;
mod dead_letters;
mod delay;
mod drain;
mod evolution;
mod find;
mod follow_ups;
mod gate;
mod hooks;
mod kinds;
mod lease;
mod lifecycle;
mod limits;
mod middleware;
mod orders;
mod overdraft;
mod pause;
mod priority;
mod rebuild;
mod recovery;
mod retention;
mod retry;
mod runtimes;
mod same_id;
mod several_engines;
mod steer;
mod supervision;
mod suspects;
mod tower_layers;
mod two_clocks;
mod wait;
