//! `cargo xtask setup`: makes sure that everything a build or a test calls is on this machine.
//!
//! It looks first and changes only what is missing, so a second run costs nothing. Nothing outside
//! `target/` and the package manager's (or rustup's) own directories is written.

pub(crate) mod apt;
mod compiler;
mod distribution;
mod linker;
mod packages;
mod rustup;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::bpf::{self, Toolchain};
use crate::command;
use compiler::Way;
use packages::TOOLS;
pub(crate) use packages::{Look, Tool};

/// Install what builds, tests and the demo need: the BPF toolchain and some system packages
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Do not ask before installing (CI=true means the same)
    #[arg(long)]
    yes: bool,
    /// Only say what is missing, and fail if anything is
    #[arg(long, conflicts_with = "yes")]
    check: bool,
    /// Where a missing compiler comes from [default: the distribution if it can, else rustup]
    #[arg(long, value_enum)]
    way: Option<Way>,
}

/// Looks, asks, installs, looks again.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { yes, check, way } = arguments;
    let start = Instant::now();
    let tools: Vec<&Tool> = TOOLS.iter().filter(|it| !it.present()).collect();
    let toolchain = bpf::toolchain();
    if let (Ok(toolchain), true) = (&toolchain, tools.iter().all(|it| it.optional)) {
        report("all there", toolchain, start);
        return Ok(());
    }

    describe_tools(&tools);
    if toolchain.is_err() {
        describe_toolchain(*way)?;
    }
    if *check {
        bail!("run `cargo xtask setup` to install it");
    }
    consent(*yes)?;

    install_tools(&tools)?;
    if toolchain.is_err() {
        install_toolchain(*way)?;
    }
    report("done", &bpf::toolchain()?, start);
    Ok(())
}

/// Looks for the tools of one chore, asks, and installs what is missing.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|it| !it.present()).collect();
    if missing.iter().all(|it| it.optional) {
        return Ok(());
    }
    describe_tools(&missing);
    consent(false)?;
    install_tools(&missing)
}

fn describe_tools(missing: &[&Tool]) {
    println!("setup: this machine lacks");
    for Tool { look: _, package, why, optional } in missing {
        println!("    {package}: {why}{}", if *optional { " (optional)" } else { "" });
    }
}

fn report(word: &str, Toolchain { compiler, linker }: &Toolchain, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("setup: {word}: {compiler}, {} ({seconds:.1} s)", linker.display());
}

fn describe_toolchain(way: Option<Way>) -> Result<()> {
    match bpf::compiler::find_all().first() {
        Some(found) => println!("    {}", linker::recipe_for(found)?.describe()),
        None => compiler::describe(way)?,
    }
    Ok(())
}

/// Asks on a terminal; CI and `--yes` have agreed already.
fn consent(yes: bool) -> Result<()> {
    if yes || command::in_ci() {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!(
            "something must be installed and there is no terminal to ask on: run `cargo xtask setup --yes` first"
        );
    }
    print!("Install it? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was installed");
    }
    Ok(())
}

fn install_tools(tools: &[&Tool]) -> Result<()> {
    if tools.iter().all(|it| it.optional) {
        return Ok(());
    }
    if !apt::available() {
        let names: Vec<_> = tools.iter().map(|it| it.package).collect();
        bail!("there is no apt here: install {} by other means", names.join(" "));
    }
    command::step("apt-get update", apt::update)?;
    let known = |tool: &&&Tool| !tool.optional || apt::candidate(tool.package).is_some();
    let names: Vec<_> = tools.iter().filter(known).map(|it| it.package.to_owned()).collect();
    command::step(&format!("apt-get install {}", names.join(" ")), || apt::install(&names))
}

fn install_toolchain(way: Option<Way>) -> Result<()> {
    if bpf::compiler::find_all().is_empty() {
        compiler::install(way)?;
    }
    if bpf::toolchain().is_ok() {
        return Ok(());
    }
    let compilers = bpf::compiler::find_all();
    let compiler = compilers.first().context(
        "no usable compiler although one was installed (NSP_BPF_TOOLCHAIN may ask for another)",
    )?;
    let recipe = linker::recipe_for(compiler)?;
    if let Some(package) = recipe.missing_package() {
        command::step("apt-get update", apt::update)?;
        command::step(&format!("apt-get install {package}"), || apt::install(&[package]))?;
    }
    command::step(&recipe.describe(), || recipe.install(compiler))
}
