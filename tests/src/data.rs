//! Where the workspace and its shared data are.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The workspace, from the environment of `cargo test`, else as it was when this was built.
pub fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// The directory of large data (captures, address lists) beside the workspace, where there is
/// one. A test that can use it runs without it too, on less.
pub fn shared_data() -> Option<PathBuf> {
    let directory = workspace().parent()?.join("shared/data");
    directory.is_dir().then_some(directory)
}

/// A file of the shared data, where there is one.
///
/// # Panics
/// In CI, when the directory is there and the file is not: it was renamed, and the test would be
/// skipped for good.
pub fn shared_file(name: &str) -> Option<PathBuf> {
    let path = shared_data()?.join(name);
    let found = path.is_file();
    assert!(found || env::var_os("CI").is_none(), "{} is missing", path.display());
    found.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspace_is_above_this_package() {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).starts_with(workspace()));
    }

    #[test]
    fn shared_data_is_a_directory_or_nothing() {
        assert!(shared_data().is_none_or(|directory| directory.is_dir()));
    }
}
