//! `cargo xtask bench`: NSP beside its peers, on this machine.

use std::env;
use std::ffi::OsStr;

use anyhow::Result;

use crate::setup::{self, Look, Tool};
use crate::{build, command, privilege, workspace};

/// The peers, besides nftables, which tests need as well.
const TOOLS: [Tool; 4] = [
    Tool { look: Look::Command("ipset"), package: "ipset", why: "a peer", optional: false },
    Tool {
        look: Look::Command("iptables"),
        package: "iptables",
        why: "asks ipset's sets",
        optional: false,
    },
    Tool {
        look: Look::Command("iperf3"),
        package: "iperf3",
        why: "traffic that is let through",
        optional: false,
    },
    Tool {
        look: Look::Command("xdp-filter"),
        package: "xdp-tools",
        why: "a peer; its rows are left out without",
        optional: true,
    },
];

/// Measure NSP beside its peers, in namespaces of this host; the report is in target/bench
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Two minutes, with every row that the targets need
    #[arg(long)]
    quick: bool,
    /// Arguments of the bench itself, after `--` (`-- --help` lists them)
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Builds as the calling user, then measures as root.
pub(crate) fn run(Arguments { quick, rest }: &Arguments) -> Result<()> {
    setup::run(&setup::Arguments::default())?;
    setup::ensure(&TOOLS)?;
    command::step("kernel programs", || build::object().map(drop))?;
    let object = command::step("kernel programs that measure", build::bench_object)?;
    command::step("agent and bench", || {
        let mut build = command::cargo();
        command::run(build.args(["build", "--release", "-p", "nsp-agent", "-p", "nsp-bench"]))
    })?;
    let root = privilege::obtain()?;
    let release = workspace::target().join("release");
    let bench = release.join("nsp-bench");
    let nsp = release.join("nsp");
    let kept = ["RUST_BACKTRACE", "RUST_LOG", "TERM", "NO_COLOR"];
    let kept = kept.iter().filter_map(|name| Some((*name, env::var_os(name)?)));
    let kept: Vec<_> = kept
        .chain([("NSP_BIN", nsp.into_os_string()), ("NSP_BENCH_OBJECT", object.into_os_string())])
        .collect();
    let variables = kept.iter().map(|(name, value)| (*name, OsStr::new(value)));
    let mut bench = root.command(bench.as_os_str(), variables);
    if *quick {
        bench.arg("--quick");
    }
    command::run(bench.current_dir(workspace::root()).args(rest))
}
