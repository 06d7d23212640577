//! Running a test harness with its output shown and its results counted.

use std::io::{BufRead as _, BufReader};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::command;

/// Results of test binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
    /// What failed, by name.
    pub(crate) failures: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { passed, failed, ignored, failures } = other;
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
        self.failures.extend(failures);
    }
}

/// Runs `command`, echoes its standard output, and counts. A command that fails without having
/// reported a failed test (a build error, a crash) counts as one failure, named `what`.
pub(crate) fn count(command: &mut Command, what: &str) -> Result<Counts> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", command::line(command)))?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        // Bytes, not text: a test may print anything.
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            counts.read(text.trim_end());
            line.clear();
        }
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
        counts.failures.push(format!("{what}: {status}"));
    }
    Ok(counts)
}

impl Counts {
    /// Takes in one line of the harness's output.
    fn read(&mut self, line: &str) {
        if let Some(results) = line.strip_prefix("test result: ") {
            // "ok. 3 passed; 0 failed; 1 ignored; …"
            let parts = results.split_once(". ").map_or("", |(_, rest)| rest).split("; ");
            for (number, word) in parts.filter_map(|part| part.split_once(' ')) {
                let Ok(number) = number.parse::<u32>() else { continue };
                match word {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_several_binaries() {
        let mut counts = Counts::default();
        for line in [
            "test a::works ... ok",
            "test a::breaks ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ] {
            counts.read(line);
        }
        let failures = vec!["a::breaks".to_owned()];
        assert_eq!(counts, Counts { passed: 41, failed: 1, ignored: 2, failures });
    }

    #[test]
    fn a_command_that_dies_without_a_word_is_one_failure() {
        let counts = count(&mut Command::new("false"), "the thing").expect("false starts");
        assert_eq!(counts.failed, 1);
        assert!(counts.failures[0].starts_with("the thing: "), "{:?}", counts.failures);
    }
}
