//! What fuzzing kept: every input again, through the same checks. Names and answers are in `dns`.

use nsp_tests::{anything, corpus::replay};

/// Of each target.
const INPUTS: std::ops::RangeInclusive<usize> = 5..=40;

#[test]
fn fuzzed_frames_are_read_and_judged_within_bounds() {
    replay("packet", INPUTS, anything::packet);
}

#[test]
fn fuzzed_policies_are_refused_or_compile() {
    replay("policy", INPUTS, anything::policy);
}

#[test]
fn fuzzed_requests_are_answered() {
    replay("control", INPUTS, anything::control);
}

#[test]
fn fuzzed_state_is_taken_over_or_set_aside() {
    replay("state", INPUTS, anything::state);
}

#[test]
fn fuzzed_events_are_one_line_each() {
    replay("event", INPUTS, anything::event);
}
