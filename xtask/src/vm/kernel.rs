//! The distribution's kernels: found in the package lists, unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::setup::apt;

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// The package it is from.
    pub(crate) package: String,
    /// Where it is unpacked, and what belongs to its machine is kept.
    pub(crate) directory: PathBuf,
    /// The image to boot.
    pub(crate) image: PathBuf,
    /// The directory of its modules.
    pub(crate) modules: PathBuf,
}

/// The newest kernel of a series such as `6.1`, fetched if it is not here yet.
pub(crate) fn find(series: &str) -> Result<Kernel> {
    let package = match newest(offered(series)?) {
        Some(package) => package,
        // Without package lists, what was unpacked before serves.
        None => newest(unpacked(series)).with_context(|| {
            format!("the package lists have no linux-image-{series}.*-cloud-amd64 (Debian's)")
        })?,
    };
    let directory = super::directory().join(&package);
    if !directory.exists() {
        fetch(&package, &directory)?;
    }
    open(package, directory)
}

/// Packages of the series in the lists. The cloud flavour: small, everything built in that an
/// emulated machine needs.
fn offered(series: &str) -> Result<Vec<String>> {
    if !apt::available() {
        return Ok(Vec::new());
    }
    if apt::lists_are_empty() {
        apt::update()?;
    }
    let series = series.replace('.', r"\.");
    Ok(apt::names(&format!(r"^linux-image-{series}\.[0-9][^-]*(-[0-9]+)?-cloud-amd64$")))
}

fn unpacked(series: &str) -> Vec<String> {
    let prefix = format!("linux-image-{series}.");
    let entries = fs::read_dir(super::directory()).into_iter().flatten().flatten();
    let names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
    names.filter(|it| it.starts_with(&prefix) && !it.ends_with(PARTIAL)).collect()
}

fn newest(packages: Vec<String>) -> Option<String> {
    packages.into_iter().max_by_key(|it| numbers(it))
}

/// The numbers in a name, in order: `6.1.0-54` is newer than `6.1.0-9`.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect()
}

/// How the directory of an unpacking under way ends.
const PARTIAL: &str = ".part";

fn fetch(package: &str, directory: &Path) -> Result<()> {
    let mut partial = directory.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let archives = partial.join("archives");
    fs::create_dir_all(&archives)?;
    println!("    fetching {package}");
    apt::download(package, &archives)?;
    let archive = the_only_file(&archives)?;
    command::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&partial))?;
    fs::remove_dir_all(&archives)?;
    fs::rename(&partial, directory).with_context(|| directory.display().to_string())
}

fn open(package: String, directory: PathBuf) -> Result<Kernel> {
    let boot = directory.join("boot");
    let image = fs::read_dir(&boot)
        .with_context(|| boot.display().to_string())?
        .flatten()
        .map(|it| it.path())
        .find(|it| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("vmlinuz-")))
        .with_context(|| format!("{package} has no kernel image"))?;
    let modules = the_only_file(&directory.join("lib/modules"))?;
    Ok(Kernel { package, directory, image, modules })
}

fn the_only_file(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths = entries.flatten().map(|it| it.path());
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("{} should hold one entry", directory.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let names = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-54-cloud-amd64"];
        assert_eq!(newest(names.map(str::to_owned).to_vec()).as_deref(), Some(names[1]));
        assert!(numbers("linux-image-6.12.9+deb12") < numbers("linux-image-6.12.117+deb12"));
        assert_eq!(newest(Vec::new()), None);
    }
}
