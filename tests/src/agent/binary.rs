//! Where the binary under test is.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::data::workspace;

/// The `nsp` binary: `NSP_BIN` if set, else the newest that cargo built in the workspace.
///
/// # Panics
/// When there is none.
pub fn nsp_binary() -> PathBuf {
    if let Some(path) = env::var_os("NSP_BIN") {
        return path.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace().join("target"));
    newest_in(&target).unwrap_or_else(|| {
        let target = target.display();
        panic!("no `nsp` under {target}/{{debug,release}}: build it first, or set NSP_BIN");
    })
}

fn newest_in(target: &Path) -> Option<PathBuf> {
    let built = ["debug", "release"].map(|profile| target.join(profile).join("nsp"));
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).ok();
    built.into_iter().filter(|path| path.is_file()).max_by_key(modified)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    #[test]
    fn newest_build_is_taken() {
        let target = tempfile::tempdir().unwrap();
        assert_eq!(newest_in(target.path()), None);
        for (profile, age_secs) in [("debug", 0), ("release", 60)] {
            let directory = target.path().join(profile);
            fs::create_dir(&directory).unwrap();
            let file = File::create(directory.join("nsp")).unwrap();
            let age = std::time::Duration::from_secs(age_secs);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        assert_eq!(newest_in(target.path()), Some(target.path().join("debug/nsp")));
    }
}
