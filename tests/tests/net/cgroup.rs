//! Control groups of one test.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nsp_tests::{deadline::Deadline, privilege};

/// A group right under the root of the version 2 hierarchy, removed on drop.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one; `kind` ends its name.
    ///
    /// # Panics
    /// Without a mounted cgroup2.
    pub(crate) fn new(kind: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = privilege::require().cgroup2.expect("cgroup2 is mounted");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("nspt-{}-{number}-{kind}", process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its path in the hierarchy, as a policy names it.
    pub(crate) fn name(&self) -> String {
        format!("/{}", self.path.file_name().expect("a name of ours").to_string_lossy())
    }

    /// The kernel's number for it.
    pub(crate) fn id(&self) -> u64 {
        fs::metadata(&self.path).expect("it exists").ino()
    }

    /// Removes it and makes it again, as a service manager does when a unit restarts.
    pub(crate) fn renew(self) -> Self {
        let path = self.path.clone();
        drop(self);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended is still in it for a moment.
        let removed =
            Deadline::after(Duration::from_secs(2)).poll(|| fs::remove_dir(&self.path).ok());
        if removed.is_none() {
            eprintln!("{} stays behind", self.path.display());
        }
    }
}
