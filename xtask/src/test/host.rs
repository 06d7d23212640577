//! The host tier: unit and documentation tests that need nothing of the machine.

use std::process::Command;
use std::time::Instant;

use super::counts::{self, Counts};
use super::summary::{Outcome, Row};
use super::{Plan, Tier};
use crate::command;

/// Runs the tests of all crates but those of package nsp-tests that need root.
pub(crate) fn run(plan: &Plan) -> Row {
    println!("==> tests: host");
    let start = Instant::now();
    let mut total = Counts::default();
    let crates: &[&str] = &["-p", "nsp-common", "-p", "nsp-agent", "-p", "xtask"];
    for selection in [crates, &["-p", "nsp-tests", "--lib", "--test", "dns", "--test", "host"]] {
        let mut test = cargo_test(plan);
        test.args(selection);
        if !plan.filter.is_empty() {
            test.arg("--").args(&plan.filter);
        }
        match counts::count(&mut test, &format!("cargo test {}", selection.join(" "))) {
            Ok(counts) => total += counts,
            Err(error) => {
                return Row::new(Tier::Host.name(), Outcome::Broken(format!("{error:#}")));
            }
        }
    }
    Row { seconds: start.elapsed().as_secs_f64(), ..Row::new("host", Outcome::Ran(total)) }
}

fn cargo_test(plan: &Plan) -> Command {
    let mut test = command::cargo();
    test.args(["test", "--no-fail-fast"]);
    if plan.full {
        test.env("NSP_TEST_FULL", "1");
    }
    test
}
