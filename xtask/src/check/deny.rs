//! Licences and origins of dependencies, by cargo-deny.

use std::process::Command;

use anyhow::Result;

use super::Context;
use crate::tool::Tool;
use crate::{command, workspace};

const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Without the advisories: their database needs a network, and CI must not depend on its day.
const ASPECTS: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs cargo-deny where it is installed; the long form installs it into `target/tools`.
pub(crate) fn run(context: &Context) -> Result<()> {
    let deny = match CARGO_DENY.find() {
        Some(deny) => deny,
        None if context.full => CARGO_DENY.get()?,
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
