//! See `nsp_tests::anything::state`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsp_tests::anything;

fuzz_target!(|bytes: &[u8]| anything::state(bytes));
