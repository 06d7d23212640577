//! The compiler's, clippy's and rustdoc's own checks.

use std::env::consts::ARCH;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Context, verdict};
use crate::{bpf, build, command, workspace};

/// The formatting of all crates, nsp-ebpf included.
pub(crate) fn fmt(_: &Context) -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

/// Clippy on everything that builds for the host.
pub(crate) fn clippy(_: &Context) -> Result<()> {
    let mut clippy = command::cargo();
    clippy.args(["clippy", "--quiet", "--workspace", "--exclude", "nsp-ebpf", "--all-targets"]);
    command::run(clippy.args(["--", "-D", "warnings"]))
}

/// Clippy on the kernel programs, as if they were for the host: the BPF compiler may come without
/// a clippy. Nothing is linked, so host-only matters do not arise.
pub(crate) fn clippy_bpf(_: &Context) -> Result<()> {
    let mut clippy = command::cargo();
    clippy
        .args(["clippy", "--quiet", "--package", "nsp-ebpf", "--bin", "nsp", "--no-deps"])
        .arg("--target-dir")
        .arg(workspace::root().join("target/lint"))
        // Programs may use #![feature]; and without std there is nothing to unwind with.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{ARCH}\""))
        .args(["--", "-D", "warnings"])
        // The next aya takes keys by reference only; ours are written so already.
        .args(["-A", "clippy::needless_borrows_for_generic_args"])
        // The macros of aya give programs their context by value.
        .args(["-A", "clippy::needless_pass_by_value"]);
    command::run(&mut clippy)
}

/// The kernel programs build without warnings. cargo repeats those of an earlier build.
pub(crate) fn bpf(_: &Context) -> Result<()> {
    let toolchain = bpf::toolchain()?;
    let mut cargo = build::cargo(&toolchain, "build");
    cargo.args(["--quiet", "--bin", "nsp", "--message-format=json"]).stderr(Stdio::inherit());
    let output = cargo.output().with_context(|| command::line(&cargo))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let warnings: Vec<String> = messages.lines().filter_map(warning).collect();
    verdict(&warnings)?;
    if !output.status.success() {
        bail!("{} failed ({})", command::line(&cargo), output.status);
    }
    Ok(())
}

/// The text of a warning or error in one of cargo's messages.
fn warning(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_ours = message["reason"] == "compiler-message";
    let rendered = message["message"]["rendered"].as_str()?;
    is_ours.then(|| rendered.trim_end().to_owned())
}

/// The documentation of all host crates, private items included: it is for those who work here.
pub(crate) fn doc(_: &Context) -> Result<()> {
    let mut doc = command::cargo();
    doc.args(["doc", "--quiet", "--workspace", "--exclude", "nsp-ebpf", "--no-deps"]);
    command::run(doc.arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings"))
}
