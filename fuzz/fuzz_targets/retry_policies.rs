//! Retry policies, whatever their numbers: no delay beyond the cap and the jitter, none after the last attempt.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| windlass_tests::fuzz::feed("retry_policies", data));
