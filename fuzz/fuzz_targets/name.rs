//! Any bytes as a name on the wire, the text of a key, and a name in a policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsp_tests::messages::compare;

fuzz_target!(|bytes: &[u8]| compare::name(bytes));
