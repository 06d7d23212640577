//! What fuzzing kept: every input again, through the same checks.

use nsp_tests::{corpus::replay, messages::compare};

/// Of each target.
const INPUTS: std::ops::RangeInclusive<usize> = 10..=usize::MAX;

#[test]
fn fuzzed_answers_teach_what_another_reader_says() {
    replay("answer", INPUTS, |bytes| drop(compare::answer(bytes)));
}

#[test]
fn fuzzed_names_come_out_as_they_went_in() {
    replay("name", INPUTS, compare::name);
}
