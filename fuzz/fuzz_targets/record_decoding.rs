//! Any bytes at all may stand on a damaged disk: decoding answers with a record, which comes back as the same, or with an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("record_decoding", data));
