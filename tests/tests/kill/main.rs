//! Kills: real processes with a real disk, killed at any moment and at chosen ones, again and again in one directory.
//!
//! The oracle sits in the parent and hears through a pipe what the child is about to do and what it was told: a child's own
//! files would prove nothing. Every run prints its seed first; `WINDLASS_SEED` repeats it (as far as a kill can be repeated).

#![allow(clippy::expect_used)]

mod alone;
mod chance;
mod child;
mod image;
mod jobs;
mod kills;
mod oracle;
mod pipe;
mod process;
mod recovery;
mod suspects;
mod syncs;
mod trap;

use process::Orders;

/// Not a test by itself: the body of every child process. It returns at once in the parent.
#[test]
fn child() {
    let Some(orders) = Orders::given() else { return };
    // What the harness has printed so far is no whole line.
    println!();
    match orders.role.as_str() {
        "work" => child::on_a_runtime(child::work_for_ever(&orders)),
        "drain" => child::on_a_runtime(child::drain(&orders)),
        "idle" => child::on_a_runtime(child::run_only(&orders)),
        "second" => child::on_a_runtime(alone::come_second(&orders)),
        "syncs" | "syncs-removed" => child::on_a_runtime(syncs::enqueue_one_by_one(&orders)),
        "crowd" => child::on_a_runtime(suspects::run_crowd(&orders)),
        role => panic!("nobody knows the role {role}"),
    }
}

/// Says it past the harness, which shows nothing of tests that pass: a green run tells how much it has seen.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("kill: {text}\n").as_bytes());
}
