//! What fuzzing kept: every input again, through the same checks.

use std::{fs, ops::RangeInclusive};

use crate::data::workspace;

/// Runs a check on the corpus of a target, and says how many inputs it has.
///
/// # Panics
/// When it has not so many as it should, or cannot be read.
pub fn replay(target: &str, expected: RangeInclusive<usize>, check: impl Fn(&[u8])) {
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
    assert!(expected.contains(&inputs), "the corpus of {target} has {inputs} inputs");
}
