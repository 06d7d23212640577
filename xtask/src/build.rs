//! `cargo xtask build`: the kernel programs first, then the agent that carries them.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::bpf::{self, Toolchain};
use crate::{command, workspace};

/// Build the kernel programs and the nsp binary (target/debug/nsp or target/release/nsp)
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Optimise the agent; the kernel programs always are
    #[arg(long)]
    pub(crate) release: bool,
}

/// Architectures whose kernel headers aya-ebpf knows; code may ask `cfg(bpf_target_arch)`.
const ARCHITECTURES: [&str; 6] =
    ["aarch64", "loongarch64", "powerpc64", "riscv64", "s390x", "x86_64"];

/// Builds all and returns the path of the binary.
pub(crate) fn run(arguments: &Arguments) -> Result<PathBuf> {
    command::step("kernel programs", || object().map(|_| ()))?;
    command::step("agent", || agent(arguments.release))
}

/// Builds the kernel programs and returns the path of the object.
pub(crate) fn object() -> Result<PathBuf> {
    let toolchain = bpf::toolchain()?;
    let Toolchain { compiler, linker } = &toolchain;
    println!("    {compiler}, {}", linker.display());
    command::run(cargo(&toolchain, "build").args(["--bin", "nsp"]))?;
    let object = workspace::bpf_target().join(bpf::TARGET).join("release/nsp");
    let size = fs::metadata(&object).with_context(|| object.display().to_string())?.len();
    if size == 0 {
        bail!("{} is empty: remove it and build again", object.display());
    }
    Ok(object)
}

/// Builds the kernel programs with those that measure, and returns the path of the object.
pub(crate) fn bench_object() -> Result<PathBuf> {
    let toolchain = bpf::toolchain()?;
    let target = workspace::bpf_target().join("bench");
    let mut cargo = cargo_in(&target, &toolchain, "build");
    command::run(cargo.args(["--bin", "nsp", "--features", "bench"]))?;
    Ok(target.join(bpf::TARGET).join("release/nsp"))
}

/// cargo for package `nsp-ebpf` and the BPF target, with the given verb.
///
/// Its directory is `target/bpf`, where `nsp-agent/build.rs` picks the object up. No variable
/// tells it, so that a plain `cargo test` and this tool do not take turns in rebuilding the agent.
pub(crate) fn cargo(toolchain: &Toolchain, verb: &str) -> std::process::Command {
    cargo_in(&workspace::bpf_target(), toolchain, verb)
}

fn cargo_in(target: &Path, toolchain: &Toolchain, verb: &str) -> std::process::Command {
    let Toolchain { compiler, linker } = toolchain;
    let mut cargo = compiler.command(&compiler.cargo);
    cargo
        .current_dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(linker).join("\x1f"))
        // `core` needs debug information too: BTF must describe every function the verifier sees.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .args([verb, "--release", "--package", "nsp-ebpf", "--target", bpf::TARGET])
        .args(["-Zbuild-std=core", "--target-dir"])
        .arg(target);
    cargo
}

fn flags(linker: &Path) -> Vec<String> {
    let known = ARCHITECTURES.map(|it| format!("\"{it}\"")).join(",");
    vec![
        format!("--cfg=bpf_target_arch=\"{ARCH}\""),
        format!("--check-cfg=cfg(bpf_target_arch, values({known}))"),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Otherwise LLVM leaves every zeroing to a call: slow, and one frame too many on the stack
        // of 512 bytes, where kernel 6.1 counts each frame in steps of 32.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
}

fn agent(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    let mut build = command::cargo();
    build.args(["build", "--package", "nsp-agent"]);
    if release {
        build.arg("--release");
    }
    command::run(&mut build)?;
    let binary = workspace::target().join(profile).join("nsp");
    println!("    {}", binary.display());
    Ok(binary)
}
