//! The toolchain of the kernel programs: a compiler with its library sources, and a linker that
//! understands that compiler's LLVM.
//!
//! Nothing is guessed from version numbers alone: a linker fits when it links what the compiler
//! made ([`linker::fits`]).

pub(crate) mod compiler;
pub(crate) mod linker;

use std::path::PathBuf;

use anyhow::{Result, bail};

use compiler::Compiler;

/// Everything that a BPF build needs.
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
}

/// What this machine offers, or what is missing and the cure.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let compilers = compiler::find_all();
    if compilers.is_empty() {
        bail!(
            "no compiler with library sources for the BPF target: run `cargo xtask setup` \
             (it takes a rustup toolchain with rust-src, or the distribution's packages)"
        );
    }
    let names = compilers.iter().map(Compiler::to_string).collect::<Vec<_>>().join(", ");
    match compilers.into_iter().find_map(with_linker) {
        Some(toolchain) => Ok(toolchain),
        None => bail!("no bpf-linker fits {names}: run `cargo xtask setup`"),
    }
}

fn with_linker(compiler: Compiler) -> Option<Toolchain> {
    let linker = linker::find_fitting(&compiler)?;
    Some(Toolchain { compiler, linker })
}

/// The target of this machine's byte order.
pub(crate) const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
