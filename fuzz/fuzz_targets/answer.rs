//! Any bytes as an answer: both readers come to an end and learn the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsp_tests::messages::compare;

fuzz_target!(|bytes: &[u8]| {
    let _reading = compare::answer(bytes);
});
