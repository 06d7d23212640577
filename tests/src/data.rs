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
