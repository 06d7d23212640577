//! See `nsp_tests::anything::packet`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsp_tests::anything;

fuzz_target!(|bytes: &[u8]| anything::packet(bytes));
