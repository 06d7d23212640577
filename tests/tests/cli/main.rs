//! The binary as a person meets it: what it prints, where, and how it exits. No privileges needed.

mod check;
mod contract;
mod lists;
mod progress;
mod unit;

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use nsp_tests::{agent::nsp_binary, data::workspace};

/// Runs `nsp` from the folder of policy fixtures, with no environment of the agent's own.
fn nsp(arguments: &[&str]) -> Output {
    let mut command = Command::new(nsp_binary());
    clear_environment(&mut command);
    // Whatever this machine has pinned is none of our business.
    command.env("NSP_PIN_DIR", "none");
    command.args(arguments).current_dir(fixtures()).output().expect("the binary runs")
}

fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NSP_")) {
        command.env_remove(name);
    }
}

fn fixtures() -> PathBuf {
    workspace().join("tests/fixtures/policies")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the command prints UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the command prints UTF-8")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}
