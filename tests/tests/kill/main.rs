//! Kills: real processes with a real disk, killed at any moment and at chosen ones, again and again in one directory.
//!
//! The oracle sits in the parent and hears through a pipe what the child is about to do and what it was told: a child's own
//! files would prove nothing. Every run prints its seed first; `WINDLASS_SEED` repeats it (as far as a kill can be repeated).

#![allow(clippy::expect_used)]

mod alone;
mod appointments;
mod images;
mod kills;
mod matrix;
mod recovery;
mod suspects;
mod syncs;

use windlass_tests::kill::child;
use windlass_tests::kill::process::Orders;

/// Not a test by itself: the body of every child process. It returns at once in the parent.
#[test]
fn child() {
    let Some(orders) = Orders::given() else { return };
    // What the harness has printed so far is no whole line.
    println!();
    match orders.role.as_str() {
        "appointments" => child::on_a_runtime(appointments::keep_appointments(&orders)),
        "last-appointments" => child::on_a_runtime(appointments::keep_the_last(&orders)),
        "second" => child::on_a_runtime(alone::come_second(&orders)),
        "syncs" | "syncs-removed" => child::on_a_runtime(syncs::enqueue_one_by_one(&orders)),
        "crowd" => child::on_a_runtime(suspects::run_crowd(&orders)),
        _ => child::play(&orders),
    }
}
