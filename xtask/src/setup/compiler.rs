//! Getting a compiler for the kernel programs, from the distribution or from rustup.

use anyhow::{Context as _, Result, bail};

use super::{apt, distribution, rustup};
use crate::command;

/// Where a compiler for the kernel programs can come from.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// The distribution's packages
    System,
    /// A rustup toolchain with the rust-src component
    Rustup,
}

/// The ways to try, in this order: the distribution's compiler changes least between machines.
fn ways(wanted: Option<Way>) -> Result<Vec<Way>> {
    let here = |way: &Way| match way {
        Way::System => apt::available(),
        Way::Rustup => rustup::available(),
    };
    let ways: Vec<Way> = match wanted {
        Some(way) => vec![way],
        None => vec![Way::System, Way::Rustup],
    };
    let ways: Vec<Way> = ways.into_iter().filter(here).collect();
    if ways.is_empty() {
        bail!("neither apt nor rustup is here to install a compiler: install rustup and rust-src");
    }
    Ok(ways)
}

/// Says what [`install`] will try first.
pub(crate) fn describe(wanted: Option<Way>) -> Result<()> {
    let choice = if apt::available() { distribution::choose() } else { None };
    match (ways(wanted)?.as_slice(), choice) {
        ([Way::System, ..], Some(distribution::Choice { packages, version, llvm })) => {
            println!("    {}: Rust {version} and its sources, LLVM {llvm}", packages.join(" "));
        }
        ([Way::System, ..], None) if apt::lists_are_empty() => {
            println!("    a Rust with its sources, and its LLVM (chosen after apt-get update)");
        }
        _ => println!("    {}", rustup::describe()),
    }
    println!("    bpf-linker for that compiler, one or two minutes to build");
    Ok(())
}

/// Installs a compiler, the first way that works.
pub(crate) fn install(wanted: Option<Way>) -> Result<()> {
    for way in ways(wanted)? {
        let result = match way {
            Way::System => command::step("a compiler from the distribution", from_distribution),
            Way::Rustup => command::step(&rustup::describe(), rustup::add_sources),
        };
        match result {
            Ok(()) => return Ok(()),
            Err(error) => println!("    not this way: {error:#}"),
        }
    }
    bail!("no compiler for the kernel programs could be installed")
}

fn from_distribution() -> Result<()> {
    apt::update()?;
    let choice = distribution::choose()
        .context("the distribution has no Rust that is new enough, with sources and LLVM")?;
    println!("    {}", choice.packages.join(" "));
    apt::install(&choice.packages)
}
