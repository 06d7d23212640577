//! `cargo xtask`: one verb for every chore, so that people and CI run the same code.
//!
//! Each verb is a file of its name. Nothing here becomes part of the product.

mod bench;
mod bpf;
mod build;
mod check;
mod command;
mod demo;
mod fuzz;
mod privilege;
mod sbom;
mod setup;
mod test;
mod tool;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests and checks NSP.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Arguments),
    Build(build::Arguments),
    Test(test::Arguments),
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    Check(check::Arguments),
    Fuzz(fuzz::Arguments),
    Sbom(sbom::Arguments),
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    match run(verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Setup(arguments) => setup::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Build(arguments) => build::run(&arguments).map(|_| ExitCode::SUCCESS),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Sbom(arguments) => sbom::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
    }
}
