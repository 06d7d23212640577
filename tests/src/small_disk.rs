//! A disk that is soon full.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::netns::mark;

/// A file system in memory, unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it over a directory that is there; `size` is what tmpfs takes, such as `64k`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mount(path: &Path, size: &str) -> Self {
        crate::privilege::require();
        let options = std::ffi::CString::new(format!("size={size}")).expect("no zero byte");
        mount(mark("disk"), path, "tmpfs", MountFlags::empty(), options.as_c_str())
            .unwrap_or_else(|error| panic!("tmpfs at {}: {error}", path.display()));
        Self { path: path.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}
