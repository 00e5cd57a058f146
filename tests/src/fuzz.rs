//! What fuzzers feed: plain functions of bytes, which `make fuzz` drives by coverage and the tests replay over the stored
//! corpus (`fuzz/corpus`).
//!
//! Owns the list of targets. A body panics where a promise is broken, and never where bytes are merely wrong: those are the
//! daily bread. Each has to be quick, and to ask for no more memory than its bytes can fill.

mod commands;
mod config;
// What the tests of the core have as well: a driver around one shard, with the audit after each step.
#[path = "../../scheduler/tests/common/mod.rs"]
mod driver;
mod input;
mod journal;
mod retries;
mod texts;

/// A target: its name, which is that of its folder in the corpus, and its body.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `cargo fuzz` has it.
    pub name: &'static str,
    /// What is fed.
    pub body: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "record_decoding", body: windlass_storage::codec::fuzz::record },
    Target { name: "record_header", body: windlass_storage::codec::fuzz::frame },
    Target { name: "journal_keys", body: windlass_storage::codec::fuzz::key },
    Target { name: "config_files", body: config::files },
    Target { name: "retry_policies", body: retries::policies },
    Target { name: "texts", body: texts::texts },
    Target { name: "core_commands", body: commands::commands },
    Target { name: "journal_batches", body: journal::batches },
];

/// Feeds these bytes to the target of this name.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.body)(bytes);
}
