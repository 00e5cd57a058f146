//! Any bytes at all may stand on a damaged disk: decoding answers with a record or with an error, and never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_storage::fuzz_decode(data));
