//! What fuzzing kept: every input again, through the same checks. Names and answers are in `dns`.

use std::fs;

use nsp_tests::{anything, data::workspace};

/// Runs a check on the corpus of a target, and says how many inputs it has.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let directory = workspace().join("fuzz/corpus").join(target);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        // Said first: a panic is then about the last one.
        println!("{}", path.display());
        check(&fs::read(&path).expect("it can be read"));
        inputs += 1;
    }
    println!("{inputs} inputs of target {target}");
    assert!((5..=40).contains(&inputs), "the corpus of {target} has {inputs} inputs");
}

#[test]
fn fuzzed_frames_are_read_and_judged_within_bounds() {
    replay("packet", anything::packet);
}

#[test]
fn fuzzed_policies_are_refused_or_compile() {
    replay("policy", anything::policy);
}

#[test]
fn fuzzed_requests_are_answered() {
    replay("control", anything::control);
}

#[test]
fn fuzzed_state_is_taken_over_or_set_aside() {
    replay("state", anything::state);
}

#[test]
fn fuzzed_events_are_one_line_each() {
    replay("event", anything::event);
}
