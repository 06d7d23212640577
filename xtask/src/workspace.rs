//! Where things are in the workspace.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the workspace: `cargo run` says where this package is, whatever the current
/// directory; the compiled-in path serves a copied binary.
pub(crate) fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// The target directory of host builds.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The target directory of BPF builds. Fixed, because `nsp-agent/build.rs` looks there too.
pub(crate) fn bpf_target() -> PathBuf {
    root().join("target/bpf")
}

/// Tools that `setup` builds for this workspace alone.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}
