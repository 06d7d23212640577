//! The directories of one agent, its own bpffs among them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::netns::mark;

/// The paths an agent is given. All of them vanish on drop, pins included.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
}

impl Home {
    /// Makes the directories and mounts a bpffs of their own, so that agents in parallel tests
    /// never see each other's pins and one unmount takes them all away.
    ///
    /// # Panics
    /// When privileges are missing.
    pub(super) fn new() -> Self {
        crate::privilege::require();
        // Short, because the path of a socket has room for 107 bytes.
        let name = mark("agent");
        let directory = tempfile::Builder::new().prefix(&name).tempdir();
        let home = Self { directory: directory.expect("the temporary directory is writable") };
        for path in [home.state_dir(), home.log_dir(), home.bpffs()] {
            fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        // The source is only a name, and the one by which a later run finds it.
        mount(&name, home.bpffs(), "bpf", MountFlags::empty(), None)
            .unwrap_or_else(|error| panic!("bpffs at {}: {error}", home.bpffs().display()));
        home
    }

    /// The directory of all the others.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The policy file.
    pub fn policy(&self) -> PathBuf {
        self.path().join("policy.toml")
    }

    /// What the agent keeps between runs.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Where it pins links and maps, in a bpffs.
    pub fn pin_dir(&self) -> PathBuf {
        self.bpffs().join("nsp")
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.path().join("control")
    }

    /// The directory of the access log.
    pub fn log_dir(&self) -> PathBuf {
        self.path().join("log")
    }

    /// The access log.
    pub fn log(&self) -> PathBuf {
        self.log_dir().join("access.log")
    }

    /// The daemon's standard output.
    pub fn stdout(&self) -> PathBuf {
        self.path().join("stdout")
    }

    /// The bpffs around the pin directory.
    pub fn bpffs(&self) -> PathBuf {
        self.path().join("bpf")
    }

    /// The paths as flags of `nsp run`.
    pub(super) fn flags(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("--policy", self.policy()),
            ("--state-dir", self.state_dir()),
            ("--pin-dir", self.pin_dir()),
            ("--control", self.control()),
            ("--log", self.log()),
        ]
    }

    /// The same as environment of the verbs: `NSP_STATE_DIR` is `--state-dir`.
    pub(super) fn environment(&self) -> impl Iterator<Item = (String, PathBuf)> {
        self.flags().into_iter().map(|(flag, path)| {
            let name = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
            (format!("NSP_{name}"), path)
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // One by one and now: the mount itself may live on in a namespace of somebody else's.
        let _removed = fs::remove_dir_all(self.pin_dir());
        if let Err(error) = unmount(self.bpffs(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.bpffs().display());
        }
    }
}

/// Takes out what the caller's environment would tell an agent.
pub(super) fn clear_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("NSP_") {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::statfs;

    use super::*;

    #[test]
    fn privileged_home_has_a_bpffs_of_its_own() {
        const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
        let (first, second) = (Home::new(), Home::new());
        assert_eq!(statfs(first.bpffs()).unwrap().f_type, BPF_FS_MAGIC);
        fs::create_dir(first.pin_dir()).unwrap();
        assert!(!second.pin_dir().exists());
        let (path, bpffs) = (first.path().to_owned(), first.bpffs());
        assert!(first.control().as_os_str().len() < 100, "{}", first.control().display());
        drop(first);
        assert!(!path.exists());
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(&*bpffs.to_string_lossy()));
    }

    #[test]
    fn privileged_environment_has_the_flags_names() {
        let home = Home::new();
        let names: Vec<_> = home.environment().map(|(name, _)| name).collect();
        let expected = ["NSP_POLICY", "NSP_STATE_DIR", "NSP_PIN_DIR", "NSP_CONTROL", "NSP_LOG"];
        assert_eq!(names, expected);
    }
}
