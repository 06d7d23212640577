//! `nsp-bench`: NSP beside its peers, on this machine, in one run.
//!
//! Every case is a file below [`case`]; subjects take turns within a case, so that what disturbs the
//! machine disturbs them all. What is printed are medians with their spread, and ratios within the run; what
//! a machine without network cards cannot tell is said.

mod abba;
mod arm;
mod cable;
mod case;
mod compared;
mod crowd;
mod filter;
mod frame;
mod kernel;
mod live;
mod peer;
mod peers;
mod policy;
mod prefixes;
mod priority;
mod report;
mod sample;
mod trace;
mod turns;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use report::Report;

/// Measure NSP beside nftables, ipset, xdp-filter and no filter at all. Needs root; touches nothing of this
/// host but namespaces of its own.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
struct Arguments {
    /// Two minutes: fewer samples and sizes, every row that the targets need
    #[arg(long)]
    quick: bool,
    /// Only these cases
    #[arg(long = "case", value_name = "NAME", value_enum)]
    cases: Vec<case::Name>,
    /// Only these numbers of prefixes, where a case has several
    #[arg(long = "size", value_name = "N")]
    sizes: Vec<usize>,
    /// Kernel programs with those that measure
    #[arg(long, value_name = "FILE", env = "NSP_BENCH_OBJECT", hide = true)]
    object: PathBuf,
    /// Where report.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    output: PathBuf,
}

/// How much is measured.
#[derive(Clone, Debug)]
struct Plan {
    quick: bool,
    sizes: Vec<usize>,
    object: PathBuf,
}

impl Plan {
    /// Whether rows of this size were asked for.
    fn wants(&self, size: usize) -> bool {
        self.sizes.is_empty() || self.sizes.contains(&size)
    }
}

fn main() -> Result<()> {
    let Arguments { quick, cases, sizes, object, output } = Arguments::parse();
    let plan = Plan { quick, sizes, object };
    let mut report = Report::new(quick);
    for name in case::Name::chosen(&cases) {
        name.run(&plan, &mut report)?;
    }
    report.write(&output)
}
