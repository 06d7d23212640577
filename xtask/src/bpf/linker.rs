//! Finding a bpf-linker that reads the bitcode of a given compiler.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::TARGET;
use super::compiler::Compiler;
use crate::{command, workspace};

const NAME: &str = "bpf-linker";

/// The first bpf-linker that fits.
pub(crate) fn find_fitting(compiler: &Compiler) -> Option<PathBuf> {
    find_all().into_iter().find(|it| fits(it, compiler))
}

/// Every bpf-linker of this machine: the workspace's own first, then `PATH`, then cargo's.
fn find_all() -> Vec<PathBuf> {
    let own = workspace::tools().join("bin").join(NAME);
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let cargo = home.map(|it| it.join("bin").join(NAME));
    let mut found: Vec<_> = [Some(own), cargo].into_iter().flatten().collect();
    found.splice(1..1, command::find_all(NAME));
    found.retain(|it| command::is_executable(it));
    found.dedup();
    found
}

/// Whether this linker links an (empty) crate of that compiler. Takes a tenth of a second and
/// finds what version numbers hide: an LLVM too old, a missing shared library, a wrong proxy.
pub(crate) fn fits(linker: &Path, compiler: &Compiler) -> bool {
    try_link(linker, compiler).is_ok()
}

fn try_link(linker: &Path, compiler: &Compiler) -> Result<()> {
    let directory = workspace::bpf_target().join("probe");
    fs::create_dir_all(&directory)?;
    let (source, bitcode) = (directory.join("probe.rs"), directory.join("probe.bc"));
    fs::write(&source, "#![feature(no_core)]\n#![no_core]\n")?;
    let mut compile = compiler.command(&compiler.rustc);
    compile.args(["--crate-name=probe", "--crate-type=lib", "--emit=llvm-bc", "--target", TARGET]);
    command::capture(compile.arg("-o").arg(&bitcode).arg(&source))?;
    let mut link = compiler.command(linker);
    command::capture(link.arg("-o").arg(directory.join("probe.o")).arg(&bitcode))?;
    Ok(())
}
