//! `cargo xtask test`: all tests, by tier, as root only where a tier needs the kernel.

mod counts;
mod host;
mod privileged;
mod summary;
mod vm;

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, command, setup, workspace};
use summary::{Outcome, Row};

/// Run the tests, all tiers or the ones named: host (plain unit tests), prog (kernel programs under
/// BPF_PROG_TEST_RUN), net (namespaces and real sockets), cli (the nsp command), vm (other kernels)
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Tiers to run; when none is named all of them, but vm only in CI and with --full
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// The long form: more cases in each tier, and more kernels in the vm tier
    #[arg(long)]
    full: bool,
    /// Names of tests to run and options of the test harness, after `--`
    #[arg(last = true)]
    filter: Vec<String>,
}

/// A set of tests that needs the same things of the machine.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// Unit tests of the crates; any machine, any user
    Host,
    /// The kernel programs on built packets; root
    Prog,
    /// The daemon on virtual networks; root
    Net,
    /// The nsp command, its output and exit codes; root
    Cli,
    /// The same on other kernels
    Vm,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Prog => "prog",
            Self::Net => "net",
            Self::Cli => "cli",
            Self::Vm => "vm",
        }
    }

    /// Whether it runs against the kernel, with what `cargo xtask build` makes.
    fn is_privileged(self) -> bool {
        matches!(self, Self::Prog | Self::Net | Self::Cli)
    }

    /// Whether the test target is in the tree.
    fn exists(self) -> bool {
        let tests = workspace::root().join("tests/tests");
        let name = self.name();
        tests.join(name).join("main.rs").exists() || tests.join(format!("{name}.rs")).exists()
    }
}

/// What every tier is told.
struct Plan {
    full: bool,
    filter: Vec<String>,
}

/// Runs the tiers, prints the table, and fails if anything did, or if CI left something out.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { tiers, full, filter } = arguments;
    let tiers = if tiers.is_empty() { all(full || command::in_ci()) } else { tiers };
    let plan = Plan { full, filter };

    let privileged: Vec<Tier> = tiers.iter().copied().filter(|it| it.is_privileged()).collect();
    let in_vm = tiers.contains(&Tier::Vm);
    let ready = if privileged.is_empty() && !in_vm { Ok(()) } else { prepare() };
    let mut rows = Vec::new();
    if tiers.contains(&Tier::Host) {
        rows.push(host::run(&plan));
    }
    match &ready {
        Ok(()) => rows.extend(privileged::run(&privileged, &plan)),
        // Whatever went wrong, the run ends with its table and its last line.
        Err(error) => rows.extend(
            privileged
                .iter()
                .map(|tier| Row::new(tier.name(), Outcome::Broken(format!("{error:#}")))),
        ),
    }
    if in_vm {
        rows.push(vm::run(&ready, &plan));
    }
    let accepted = summary::print(&rows, command::in_ci());
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the privileged tiers run against.
fn prepare() -> Result<()> {
    setup::run(&setup::Arguments::default())?;
    build::run(&build::Arguments { release: false }).map(drop)
}

/// What runs when no tier is named. The machines of the vm tier take a large package and a minute:
/// nobody should wait for them who only wants to know whether a change works.
fn all(with_vm: bool) -> Vec<Tier> {
    let mut tiers = vec![Tier::Host, Tier::Prog, Tier::Net, Tier::Cli];
    if with_vm {
        tiers.push(Tier::Vm);
    }
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_kernels_run_only_where_they_are_asked_for() {
        assert!(!all(false).contains(&Tier::Vm));
        let everything = <Tier as clap::ValueEnum>::value_variants();
        assert!(everything.iter().all(|tier| all(true).contains(tier)));
    }
}
