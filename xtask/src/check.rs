//! `cargo xtask check`: the conventions that a program can verify.
//!
//! Each check says ok or failed with the cure, and all of them run before the verdict.

mod attributes;
mod catalogue;
mod deny;
mod imports;
mod lengths;
mod links;
mod lints;
mod paths;
mod source;
mod unsafety;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use source::Tree;

/// Check formatting, lints, documentation, licences, and the house rules
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the checks of these names
    names: Vec<String>,
    /// Also what takes minutes the first time: installs cargo-deny if it is missing
    #[arg(long)]
    full: bool,
}

/// One convention.
struct Check {
    name: &'static str,
    /// What to do when it fails.
    cure: &'static str,
    run: fn(&Context) -> Result<()>,
}

/// What a check may look at.
struct Context {
    tree: Tree,
    full: bool,
}

/// In the order of what one wants to know first: the own rules take no time at all.
const CHECKS: [Check; 13] = [
    Check { name: "lengths", cure: "split the file by concept", run: lengths::run },
    Check {
        name: "imports",
        cure: "go through the module that owns the library",
        run: imports::run,
    },
    Check {
        name: "attributes",
        cure: "write #[expect(lint, reason = \"…\")]",
        run: attributes::run,
    },
    Check {
        name: "unsafe",
        cure: "say above it, after SAFETY:, what makes it sound",
        run: unsafety::run,
    },
    Check { name: "links", cure: "correct the link, or write the page", run: links::run },
    Check {
        name: "catalogue",
        cure: "name the test as it is called now, or write it",
        run: catalogue::run,
    },
    Check { name: "paths", cure: "write a path relative to the workspace", run: paths::run },
    Check { name: "fmt", cure: "run cargo fmt --all", run: lints::fmt },
    Check {
        name: "clippy",
        cure: "take clippy's advice, or #[expect] with a reason",
        run: lints::clippy,
    },
    Check { name: "clippy-bpf", cure: "the same, in nsp-ebpf", run: lints::clippy_bpf },
    Check { name: "bpf", cure: "the kernel programs must build without warnings", run: lints::bpf },
    Check { name: "doc", cure: "correct the documentation comments", run: lints::doc },
    Check { name: "deny", cure: "see deny.toml: licences, sources, banned crates", run: deny::run },
];

/// Runs the checks and prints the verdict on each.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments { names, full } = arguments;
    if let Some(unknown) = names.iter().find(|name| CHECKS.iter().all(|it| it.name != **name)) {
        let known: Vec<_> = CHECKS.iter().map(|it| it.name).collect();
        bail!("there is no check {unknown}: take from {}", known.join(", "));
    }
    let context = Context { tree: Tree::read()?, full: *full };
    let wanted = |it: &&Check| names.is_empty() || names.iter().any(|name| name == it.name);
    let mut failed = Vec::new();
    for check in CHECKS.iter().filter(wanted) {
        let Check { name, cure, run } = check;
        let start = Instant::now();
        let result = run(&context);
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("{name:<12} ok      {seconds:6.1} s"),
            Err(error) => {
                println!("{name:<12} FAILED  {seconds:6.1} s\n{error:#}\ncure: {cure}\n");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        println!("check: all ok");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "check: failed: {} (again: cargo xtask check {})",
        failed.join(", "),
        failed.join(" ")
    );
    Ok(ExitCode::FAILURE)
}

/// Turns a list of findings into the result of a check.
fn verdict(findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}
