//! Equipment that the demo and the tests share: a mail server that can be told to misbehave, and the shop as a child
//! process.
#![cfg(feature = "shop")]

pub mod process;
pub mod smtp;
