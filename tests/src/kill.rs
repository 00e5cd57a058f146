//! Kills: children that work, their parent who hears them through a pipe, and who judges what each of them left.
//!
//! The oracle sits in the parent and hears what the child is about to do and what it was told: a child's own files would
//! prove nothing. What is here is shared by the tests of the target `kill` and by the program `torture`; either is its own
//! child, by [`process::Orders`].

pub mod child;
pub mod history;
pub mod image;
pub mod jobs;
pub mod lives;
pub mod matrix;
pub mod oracle;
pub mod pipe;
pub mod process;
pub mod trap;

/// Says it past the harness, which shows nothing of tests that pass: a green run tells how much it has seen.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("kill: {text}\n").as_bytes());
}
