//! The tiers that need the kernel: built as the calling user, run as root.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::counts;
use super::summary::{Outcome, Row};
use super::{Plan, Tier};
use crate::privilege::{self, Privilege};
use crate::{command, workspace};

/// How many tests run at a time, for libtest.
const THREADS: &str = "RUST_TEST_THREADS";

/// Builds the test binaries of these tiers, then runs one after the other.
pub(crate) fn run(tiers: &[Tier], plan: &Plan) -> Vec<Row> {
    let present: Vec<Tier> = tiers.iter().copied().filter(|it| it.exists()).collect();
    let ready = if present.is_empty() { Ok(Vec::new()) } else { build(&present) };
    let root = privilege::obtain();
    let outcome = |tier: &Tier| {
        if !tier.exists() {
            return Row::new(tier.name(), Outcome::Absent("has no tests yet".to_owned()));
        }
        match (&ready, &root) {
            (Ok(binaries), Ok(root)) => run_tier(*tier, binaries, *root, plan),
            (Err(error), _) => Row::new(tier.name(), Outcome::Broken(format!("{error:#}"))),
            (_, Err(error)) => Row::new(tier.name(), Outcome::NotRun(format!("{error:#}"))),
        }
    };
    tiers.iter().map(outcome).collect()
}

/// Builds the tiers' test targets and returns their executables.
fn build(tiers: &[Tier]) -> Result<Vec<(Tier, PathBuf)>> {
    println!("==> tests: build");
    let mut cargo = command::cargo();
    cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics", "-p", "nsp-tests"]);
    for tier in tiers {
        cargo.args(["--test", tier.name()]);
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start {}", command::line(&cargo)))?;
    if !output.status.success() {
        bail!("{} failed ({})", command::line(&cargo), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    tiers
        .iter()
        .map(|&tier| {
            let executable = messages.lines().find_map(|line| executable_of(line, tier.name()));
            Ok((tier, executable.with_context(|| format!("cargo built no test {}", tier.name()))?))
        })
        .collect()
}

/// The executable in one of cargo's messages, if it is this test target's.
fn executable_of(message: &str, target: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let wanted = message["reason"] == "compiler-artifact"
        && message["profile"]["test"] == true
        && message["target"]["name"] == target
        && message["target"]["kind"][0] == "test";
    if !wanted {
        return None;
    }
    Some(PathBuf::from(message["executable"].as_str()?))
}

fn run_tier(tier: Tier, binaries: &[(Tier, PathBuf)], root: Privilege, plan: &Plan) -> Row {
    let name = tier.name();
    println!("==> tests: {name}");
    let start = Instant::now();
    let Some((_, binary)) = binaries.iter().find(|(of, _)| *of == tier) else {
        return Row::new(name, Outcome::Broken("was not built".to_owned()));
    };
    let package = workspace::root().join("tests");
    let mut variables = variables(plan, &package);
    if tier == Tier::Net && !plan.full && env::var_os(THREADS).is_none() {
        variables.push((THREADS.to_owned(), threads_that_wait().to_string().into()));
    }
    let pairs = variables.iter().map(|(name, value)| (name.as_str(), value.as_os_str()));
    let mut test = root.command(binary.as_os_str(), pairs);
    test.current_dir(package).args(&plan.filter);
    let outcome = match counts::count(&mut test, name) {
        Ok(counts) => Outcome::Ran(counts),
        Err(error) => Outcome::Broken(format!("{error:#}")),
    };
    Row { seconds: start.elapsed().as_secs_f64(), ..Row::new(name, outcome) }
}

/// As many as the processors, and half as many again: what goes on between namespaces is waited for most of the
/// time.
fn threads_that_wait() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors + processors.div_ceil(2)
}

/// What the tests read from their environment, which sudo would drop.
fn variables(plan: &Plan, package: &Path) -> Vec<(String, OsString)> {
    let binary = workspace::target().join("debug/nsp");
    let mut variables = vec![
        ("NSP_BIN".to_owned(), binary.into_os_string()),
        ("CARGO_MANIFEST_DIR".to_owned(), package.as_os_str().to_owned()),
    ];
    if plan.full {
        variables.push(("NSP_TEST_FULL".to_owned(), OsStr::new("1").to_owned()));
    }
    let passed = |name: &str| {
        matches!(name, "CI" | "RUST_BACKTRACE" | "RUST_LOG" | THREADS | "TMPDIR")
            || (name.starts_with("NSP_") && !matches!(name, "NSP_BIN" | "NSP_TEST_FULL"))
    };
    variables.extend(env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        passed(&name).then_some((name, value))
    }));
    variables
}
