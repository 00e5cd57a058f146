//! Faults that need a process of their own: a disk that fails below RocksDB, limits of the system, code that takes its
//! process along, and processes that stand still.
//!
//! Every child is this test program again; what is believed is what it told its parent, and what the journal holds after it.
//! The list of all faults and of their tests is `tests/FAULTS.md`.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

mod control;
mod deadly;
mod disk;
mod files;
mod limits;
mod open;
mod process;
mod serve;
mod slow;
mod zombie;

use std::io::Write as _;

use process::Orders;

/// Not a test by itself: the body of every child process. It returns at once in the parent.
#[test]
fn child() {
    let Some(orders) = Orders::given() else { return };
    // What the harness has printed so far is no whole line.
    println!();
    let (role, how) = orders.role.split_once(' ').unwrap_or((&orders.role, ""));
    process::tell_panics(if role == "deadly" { &deadly::AS_SCRIPTED } else { &[] });
    let mut runtime = match how {
        "single" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        match role {
            "serve" => serve::serve(&orders).await,
            "open" => open::open(&orders),
            "files" => files::open_without_files(&orders),
            "slow" => slow::wait_for_a_slow_sync(&orders).await,
            "deadly" => deadly::live(&orders, how).await,
            "zombie" => zombie::stand_still(&orders).await,
            role => panic!("nobody knows the role {role}"),
        }
    });
}

/// Says it past the harness, which shows nothing of tests that pass.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("faults: {text}\n").as_bytes());
}
