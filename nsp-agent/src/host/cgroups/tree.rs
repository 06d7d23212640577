//! One reading of the hierarchy.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::CgroupsError;

/// One cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cgroup {
    /// Its path from the root of the hierarchy, `/system.slice/nginx.service`. The root is `/`.
    pub path: String,
    /// Its id: the inode number of its directory.
    pub id: u64,
}

/// All cgroups of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// In the order of paths.
    cgroups: Vec<Cgroup>,
}

impl Tree {
    /// Reads the hierarchy that is mounted at `mount`. What comes or goes meanwhile may or may not
    /// be there.
    ///
    /// # Errors
    ///
    /// When its root cannot be read.
    pub fn read(mount: &Path) -> Result<Self, CgroupsError> {
        Self::read_with(mount, |_| ())
    }

    /// As [`read`](Self::read); `visit` sees every directory before its entries are read.
    pub(super) fn read_with(
        mount: &Path,
        mut visit: impl FnMut(&Path),
    ) -> Result<Self, CgroupsError> {
        let mut cgroups = Vec::new();
        let mut open = vec![mount.to_path_buf()];
        while let Some(directory) = open.pop() {
            visit(&directory);
            match read_directory(mount, &directory, &mut open) {
                Ok(cgroup) => cgroups.push(cgroup),
                // A cgroup that was removed under way is no error, and neither is one that hides.
                Err(_) if directory != mount => {}
                Err(source) => return Err(CgroupsError::Read { path: directory, source }),
            }
        }
        Ok(Self::new(cgroups))
    }

    pub(in crate::host) fn new(mut cgroups: Vec<Cgroup>) -> Self {
        cgroups.sort();
        Self { cgroups }
    }

    /// All cgroups, in the order of paths.
    pub fn cgroups(&self) -> &[Cgroup] {
        &self.cgroups
    }

    /// The cgroup with this path from the root of the hierarchy.
    pub fn find(&self, path: &str) -> Option<&Cgroup> {
        let at = self.cgroups.binary_search_by(|cgroup| cgroup.path.as_str().cmp(path)).ok()?;
        self.cgroups.get(at)
    }

    /// The path of the cgroup with this id.
    pub fn path_of(&self, id: u64) -> Option<&str> {
        self.cgroups.iter().find(|cgroup| cgroup.id == id).map(|cgroup| cgroup.path.as_str())
    }
}

fn read_directory(mount: &Path, directory: &Path, open: &mut Vec<PathBuf>) -> io::Result<Cgroup> {
    let id = fs::metadata(directory)?.ino();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open.push(entry.path());
        }
    }
    let below = directory.strip_prefix(mount).unwrap_or(directory);
    Ok(Cgroup { path: format!("/{}", below.display()), id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_become_cgroups_with_their_inodes() {
        let mount = tempfile::tempdir().unwrap();
        let service = mount.path().join("system.slice/nginx.service");
        fs::create_dir_all(&service).unwrap();
        fs::write(service.join("cgroup.procs"), "1\n").unwrap();
        let tree = Tree::read(mount.path()).unwrap();
        let paths: Vec<&str> = tree.cgroups().iter().map(|cgroup| cgroup.path.as_str()).collect();
        assert_eq!(paths, ["/", "/system.slice", "/system.slice/nginx.service"]);

        let id = fs::metadata(&service).unwrap().ino();
        assert_eq!(tree.find("/system.slice/nginx.service").unwrap().id, id);
        assert_eq!(tree.path_of(id), Some("/system.slice/nginx.service"));
        assert_eq!(tree.find("/system.slice/other.service"), None);
        assert_eq!(tree.path_of(u64::MAX), None);
    }

    #[test]
    fn a_hierarchy_that_is_not_there_is_named_in_the_error() {
        let error = Tree::read(Path::new("/no/such/cgroup")).unwrap_err().to_string();
        assert!(error.contains("/no/such/cgroup"), "{error}");
    }
}
