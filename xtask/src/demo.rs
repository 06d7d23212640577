//! `cargo xtask demo`: the story of the product, in namespaces of this host.

use std::env;
use std::ffi::OsStr;

use anyhow::{Result, bail};

use crate::{build, command, privilege, setup, workspace};

/// Show what NSP does, in network namespaces; nothing of this host is changed
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments of the demo itself, after `--`
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Builds as the calling user, then runs the demo as root.
pub(crate) fn run(Arguments { rest }: &Arguments) -> Result<()> {
    let binaries = workspace::root().join("tests/src/bin");
    if !binaries.join("demo.rs").exists() && !binaries.join("demo/main.rs").exists() {
        bail!("the demo is not there yet (package nsp-tests has no binary of that name)");
    }
    setup::run(&setup::Arguments::default())?;
    let nsp = build::run(&build::Arguments { release: false })?;
    let mut build = command::cargo();
    command::run(build.args(["build", "--quiet", "--package", "nsp-tests", "--bin", "demo"]))?;

    let root = privilege::obtain()?;
    let demo = workspace::target().join("debug/demo");
    let kept = ["RUST_BACKTRACE", "RUST_LOG", "TERM", "NO_COLOR"];
    let kept = kept.iter().filter_map(|name| Some((*name, env::var_os(name)?)));
    let kept: Vec<_> = kept.chain([("NSP_BIN", nsp.into_os_string())]).collect();
    let variables = kept.iter().map(|(name, value)| (*name, OsStr::new(value)));
    let mut demo = root.command(demo.as_os_str(), variables);
    command::run(demo.current_dir(workspace::root()).args(rest))
}
