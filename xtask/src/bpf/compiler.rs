//! Finding compilers that can build `core` for the BPF target.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// The oldest compiler the workspace accepts.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

const SYSTEM: &str = "system";

/// A compiler that has the sources of its library beside it.
pub(crate) struct Compiler {
    /// Where it comes from: the name of a rustup toolchain, or `system`.
    pub(crate) origin: String,
    pub(crate) rustc: PathBuf,
    /// The cargo of the same release: `-Z build-std` is an agreement between the two.
    pub(crate) cargo: PathBuf,
    pub(crate) version: Version,
    pub(crate) llvm: u32,
}

/// Major and minor release of a compiler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

/// Every usable compiler, the preferred one first: the rustup toolchain in use, its nightlies and
/// others, then the distribution's, newest first. `NSP_BPF_TOOLCHAIN` (a rustup toolchain, or `system`) leaves
/// only that one.
pub(crate) fn find_all() -> Vec<Compiler> {
    let mut found: Vec<_> = rustup().into_iter().chain(system()).filter(Compiler::usable).collect();
    if let Ok(wanted) = env::var("NSP_BPF_TOOLCHAIN") {
        found.retain(|it| it.origin == wanted);
    }
    found
}

/// The oldest version that builds the workspace.
pub(crate) fn minimum() -> Version {
    Version::parse(MINIMUM).unwrap_or(Version(1, 0))
}

impl Compiler {
    /// A command of this compiler's world, free of the variables that cargo and rustup set for
    /// the toolchain that runs us.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Self { origin: _, rustc, cargo: _, version: _, llvm: _ } = self;
        let mut command = Command::new(program);
        for leaked in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "CARGO", "RUSTFLAGS", "RUSTDOC"] {
            command.env_remove(leaked);
        }
        for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"] {
            command.env_remove(wrapper);
        }
        // Stable releases accept -Z flags only so.
        command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        // A bpf-linker that borrows rustc's own LLVM finds it through the first rustc on PATH.
        if let Some(directory) = rustc.parent() {
            let path = env::var_os("PATH").unwrap_or_default();
            let entries = std::iter::once(directory.to_owned()).chain(env::split_paths(&path));
            if let Ok(path) = env::join_paths(entries) {
                command.env("PATH", path);
            }
        }
        command
    }

    /// Whether it is the distribution's: such a compiler has no LLVM of its own inside.
    pub(crate) fn is_system(&self) -> bool {
        self.origin == SYSTEM
    }

    fn usable(&self) -> bool {
        self.version >= minimum()
    }

    fn probe(origin: String, rustc: PathBuf, cargo: Option<PathBuf>) -> Result<Self> {
        let said = command::capture(Command::new(&rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"))?;
        let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
        let version = field("release: ").and_then(Version::parse);
        let llvm = field("LLVM version: ").and_then(|it| it.split('.').next()?.parse().ok());
        Ok(Self {
            origin,
            cargo: cargo.unwrap_or_else(|| "cargo".into()),
            version: version.with_context(|| format!("{} names no release", rustc.display()))?,
            llvm: llvm.with_context(|| format!("{} names no LLVM", rustc.display()))?,
            rustc,
        })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, rustc: _, cargo: _, version: Version(major, minor), llvm } = self;
        write!(f, "{origin} rustc {major}.{minor} (LLVM {llvm})")
    }
}

impl Version {
    /// Reads the start of `1.96.0` or `1.97.0-nightly`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(|it: char| !it.is_ascii_digit());
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// rustup's toolchains with the rust-src component. Read from its directory: asking rustup could
/// make it install something.
fn rustup() -> Vec<Compiler> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(entries) = home.and_then(|it| fs::read_dir(it.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut names: Vec<_> =
        entries.flatten().map(|it| it.path()).filter(|it| has_sources(it)).collect();
    let current = env::var("RUSTUP_TOOLCHAIN").unwrap_or_default();
    names.sort_by_key(|it| {
        let name = name_of(it);
        (name != current, !name.starts_with("nightly"), name)
    });
    names.iter().filter_map(|it| in_directory(name_of(it), it)).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The distribution's compilers: the plain name, and the versioned ones of Ubuntu.
fn system() -> Vec<Compiler> {
    let usr = Path::new("/usr");
    let mut found = Vec::new();
    if has_sources(usr) {
        found.extend(in_directory(SYSTEM.to_owned(), usr));
    }
    for entry in fs::read_dir("/usr/lib").into_iter().flatten().flatten() {
        let path = entry.path();
        if name_of(&path).starts_with("rust-1.") && has_sources(&path) {
            found.extend(in_directory(SYSTEM.to_owned(), &path));
        }
    }
    found.sort_by_key(|it| std::cmp::Reverse(it.version));
    found
}

/// A compiler under `prefix/bin`; one that cannot even say its version is no candidate.
fn in_directory(origin: String, prefix: &Path) -> Option<Compiler> {
    let cargo = prefix.join("bin/cargo");
    let cargo = command::is_executable(&cargo).then_some(cargo);
    let cargo = cargo.or_else(|| env::var_os("CARGO").map(PathBuf::from));
    Compiler::probe(origin, prefix.join("bin/rustc"), cargo).ok()
}

/// Whether the library's sources lie where `-Z build-std` looks for them.
pub(crate) fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}
