//! Batches for the journal in memory, with closings and losses of power, against the simplest idea of one.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("journal_batches", data));
