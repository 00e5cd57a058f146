//! The JSON API: what it shows, what it does, and whom it lets in.

#![allow(clippy::unwrap_used)]

mod access;
mod bed;
mod described;
mod drawn;
mod fuzzed;
mod looks;
mod payloads;
mod served;
mod steers;
mod streams;
