//! Measures everything and prints one table. `ONLY=group` runs one group, `LEVEL=level` one level, `--dir DIR` says where the journals go.

use std::process::ExitCode;

use windlass_bench::child;
use windlass_bench::suite::{self, Options};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = match Options::from_environment() {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match child::part(&options.dir) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(failure) => {
            eprintln!("a part of the bench failed: {failure}");
            return ExitCode::FAILURE;
        }
    }
    match suite::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a figure is void: its jobs were not delivered exactly once");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("the bench failed: {failure}");
            ExitCode::FAILURE
        }
    }
}
