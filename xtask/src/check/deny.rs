//! Licences and origins of dependencies, by cargo-deny.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Context;
use crate::{command, workspace};

/// Without the advisories: their database needs a network, and CI must not depend on its day.
const ASPECTS: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs cargo-deny where it is installed; the long form installs it into `target/tools`.
pub(crate) fn run(context: &Context) -> Result<()> {
    let deny = match find() {
        Some(deny) => deny,
        None if context.full => command::step("cargo-deny, some minutes to build", install)?,
        None => {
            println!("    skipped: cargo-deny is not installed (cargo xtask check --full does it)");
            return Ok(());
        }
    };
    let mut check = Command::new(deny);
    check.current_dir(workspace::root()).args([
        "--log-level",
        "warn",
        "check",
        "--hide-inclusion-graph",
    ]);
    command::run(check.args(ASPECTS))
}

fn find() -> Option<PathBuf> {
    let own = workspace::tools().join("bin/cargo-deny");
    if command::is_executable(&own) { Some(own) } else { command::find("cargo-deny") }
}

fn install() -> Result<PathBuf> {
    let mut install = command::cargo();
    install.args(["install", "cargo-deny", "--quiet", "--locked", "--root"]);
    command::run(install.arg(workspace::tools()))?;
    Ok(workspace::tools().join("bin/cargo-deny"))
}
