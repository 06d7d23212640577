//! What fuzzing kept: every input again, through the same checks.

use std::fs;

use nsp_tests::{data::workspace, messages::compare};

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
    assert!(inputs >= 10, "the corpus of {target} is gone: {inputs} inputs");
}

#[test]
fn fuzzed_answers_teach_what_another_reader_says() {
    replay("answer", |bytes| drop(compare::answer(bytes)));
}

#[test]
fn fuzzed_names_come_out_as_they_went_in() {
    replay("name", compare::name);
}
