//! Configuration, as people write it: taken or refused with a reason, and what is taken comes back as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("config_files", data));
