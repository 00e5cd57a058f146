//! Windlass decides here.
#![no_std]
extern crate alloc;
pub mod attempt;
pub mod change;
pub mod job;
pub mod lease;
pub mod retry;
pub mod state;
pub mod time;
