//! Ids, cursors and names, as they come in requests.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("texts", data));
