//! What a machine starts with: busybox, `ip` and `tc`, the modules, the test program and
//! its libraries.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use super::modules;
use crate::command;

/// The first program: mounts what a Linux host has mounted, loads the modules, runs the tests.
const INIT: &str = include_str!("init.sh");

/// Packs it and returns the archive's path.
pub(crate) fn make(kernel: &Kernel, guest: &Path) -> Result<PathBuf> {
    let root = kernel.directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for directory in ["bin", "dev", "modules", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let program = |name| command::find(name).with_context(|| format!("there is no {name} here"));
    fs::copy(program("busybox")?, root.join("bin/busybox"))?;
    let programs =
        [(program("ip")?, "bin/ip"), (program("tc")?, "bin/tc"), (guest.to_owned(), "guest")];
    for (program, to) in programs {
        fs::copy(&program, root.join(to))?;
        copy_libraries(&program, &root)?;
    }
    modules::copy(&kernel.modules, &root.join("modules"))?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    pack(&root, &kernel.directory.join("initramfs.cpio"))
}

/// Copies the shared libraries of a program to the places where it looks for them.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    let listed = command::capture(Command::new("ldd").arg(program))?;
    for library in listed.lines().filter_map(library) {
        let relative = library.strip_prefix("/")?;
        let to = root.join(relative);
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::copy(library, &to).with_context(|| library.display().to_string())?;
    }
    Ok(())
}

/// The file in a line of ldd: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or the loader's own.
fn library(line: &str) -> Option<&Path> {
    let file = line.split_once("=>").map_or(line, |(_, file)| file).trim();
    let file = file.split_once(" (").map_or(file, |(file, _)| file);
    file.starts_with('/').then_some(Path::new(file))
}

/// An archive of the kind that the kernel unpacks, everything in it root's.
fn pack(root: &Path, archive: &Path) -> Result<PathBuf> {
    let mut names = Vec::new();
    walk(root, root, &mut names)?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]).current_dir(root);
    let mut child = cpio
        .stdin(Stdio::piped())
        .stdout(fs::File::create(archive)?)
        .spawn()
        .context("could not start cpio")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(names.join("\n").as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed ({status})", command::line(&cpio));
    }
    Ok(archive.to_owned())
}

/// Names below a directory, each directory before what is in it.
fn walk(root: &Path, directory: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        names.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            walk(root, &path, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let path = |line| library(line).map(|it| it.to_str().unwrap());
        assert_eq!(path("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)"), Some("/lib/libc.so.6"));
        assert_eq!(path("\t/lib64/ld-linux.so.2 (0x00007f)"), Some("/lib64/ld-linux.so.2"));
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(path("\tlibx.so => not found"), None);
    }
}
