//! Taking the library's sources from rustup.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Whether rustup is here.
pub(crate) fn available() -> bool {
    command::find("rustup").is_some()
}

/// The toolchain to add sources to: the one the kernel programs are asked to use, or the one that
/// builds everything else. A nightly works too, but its LLVM moves ahead of bpf-linker's.
fn toolchain() -> String {
    let named = env::var("NSP_BPF_TOOLCHAIN").or_else(|_| env::var("RUSTUP_TOOLCHAIN"));
    named.unwrap_or_else(|_| "stable".to_owned())
}

/// One line for people.
pub(crate) fn describe() -> String {
    format!("rust-src of the rustup toolchain {}", toolchain())
}

/// Adds the component, which installs nothing else.
pub(crate) fn add_sources() -> Result<()> {
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rust-src", "--toolchain"]).arg(toolchain());
    command::run(&mut add)
}
