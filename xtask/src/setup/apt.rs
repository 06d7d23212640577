//! Asking and running apt, the package manager of Debian and Ubuntu.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::privilege::{self, Privilege};

/// Whether this system has apt at all.
pub(crate) fn available() -> bool {
    command::find("apt-get").is_some() && command::find("apt-cache").is_some()
}

/// Whether nothing can be asked before `update`: images are often shipped without lists.
pub(crate) fn lists_are_empty() -> bool {
    let mut lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    !lists.any(|it| it.file_name().to_string_lossy().contains("_Packages"))
}

/// The version that would be installed, if the lists know the package.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let said = command::capture(cache().args(["policy", package])).ok()?;
    let version = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// The names of packages that match a regular expression.
pub(crate) fn names(pattern: &str) -> Vec<String> {
    let said = command::capture(cache().args(["search", "--names-only", pattern]));
    let said = said.unwrap_or_default();
    said.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The major version of LLVM that a package pulls in. Asked rather than known: distributions
/// build the same Rust with different LLVMs.
pub(crate) fn llvm_of(package: &str) -> Option<u32> {
    let mut depends = cache();
    depends.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    depends.args(["--no-breaks", "--no-replaces", "--no-enhances", package]);
    let said = command::capture(&mut depends).ok()?;
    said.lines().find_map(|line| {
        let digits = line.trim_start().strip_prefix("libllvm")?;
        let end = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

/// Refreshes the lists; a new machine may have none.
pub(crate) fn update() -> Result<()> {
    let root = privilege::obtain().context("apt-get update")?;
    command::capture(get(root).args(["update", "--quiet"])).map(drop)
}

/// Installs packages without asking again.
pub(crate) fn install(packages: &[String]) -> Result<()> {
    let root =
        privilege::obtain().with_context(|| format!("apt-get install {}", packages.join(" ")))?;
    let mut install = get(root);
    install.args(["install", "--quiet", "--yes", "--no-install-recommends"]);
    command::capture(install.args(packages)).map(drop)
}

/// Fetches a package's archive into a directory and installs nothing, which anybody may.
pub(crate) fn download(package: &str, directory: &Path) -> Result<()> {
    let mut download = Command::new("apt-get");
    download.args(["download", "--quiet", package]).current_dir(directory);
    command::capture(&mut download).map(drop)
}

fn get(root: Privilege) -> Command {
    let variables = [("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8")];
    root.command(OsStr::new("apt-get"), variables.map(|(name, value)| (name, OsStr::new(value))))
}

fn cache() -> Command {
    let mut command = Command::new("apt-cache");
    command.env("LC_ALL", "C");
    command
}
