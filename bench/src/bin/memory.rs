//! Counts the bytes of queued jobs in a process of its own: a counting allocator would slow down what the others measure.
//! Called by `windlass-bench` with a directory and a level; prints bytes a job and whether delivery was exact.

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use windlass_bench::memory;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    match memory::child(std::env::args().skip(1), &|| ALLOCATED.current_usage()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
