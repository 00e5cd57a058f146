//! Commands for a shard, with clocks, progress and crashes between them; the whole state is audited after each.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("core_commands", data));
