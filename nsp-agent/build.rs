//! Puts the kernel programs where the agent can embed them: `OUT_DIR/nsp.bpf`.
//!
//! They come from `NSP_BPF_OBJECT`, or from where `cargo xtask build` leaves them. Without either
//! the file is empty, so that documentation, lints and host tests build on any machine; the agent
//! then says at run time that it carries no kernel programs.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const OBJECT: &str = "NSP_BPF_OBJECT";

fn main() -> io::Result<()> {
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    println!("cargo::rerun-if-env-changed={OBJECT}");
    let object = match env::var_os(OBJECT) {
        Some(path) => PathBuf::from(path),
        None => built_by_xtask()?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let programs = fs::read(&object).map_err(|error| {
        io::Error::new(error.kind(), format!("{OBJECT}: {}: {error}", object.display()))
    })?;
    fs::write(output.join("nsp.bpf"), programs)
}

/// The object of `cargo xtask build`, or an empty file in its place: cargo would run this script
/// every time if the file it watches did not exist.
fn built_by_xtask() -> io::Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?;
    let big = env::var("CARGO_CFG_TARGET_ENDIAN").is_ok_and(|it| it == "big");
    let target = if big { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    let directory = Path::new(&package).join("../target/bpf").join(target).join("release");
    let object = directory.join("nsp");
    if !object.exists() {
        fs::create_dir_all(&directory)?;
        // Older than this run, or cargo would take its creation for a change.
        fs::File::create(&object)?.set_modified(SystemTime::UNIX_EPOCH)?;
    }
    Ok(object)
}

fn missing(variable: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{variable} is not set: not run by cargo"))
}
