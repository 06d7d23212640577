//! A cgroup of our own for one command and all that comes of it.
//!
//! The one thing below `host` that changes the host: it makes a directory, moves a process, ends
//! what is left, and removes the directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nsp_common::selector::CGROUP_LEVELS;

/// Of root alone: nobody else moves a process across it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a process cannot have a cgroup of its own.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The kernel programs would not find it.
    #[error(
        "the cgroup of the caller, {path}, is too deep: the kernel programs look at {CGROUP_LEVELS} \
         levels"
    )]
    TooDeep {
        /// Where it would be.
        path: String,
    },
    /// The kernel refuses.
    #[error("cannot {operation} the cgroup {}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A cgroup of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its path from the root of the hierarchy.
    pub path: String,
    /// Its id.
    pub id: u64,
    directory: PathBuf,
}

impl Leaf {
    /// Makes one for a process in the cgroup `of`, as deep in the same branch as only root moves
    /// processes: so the limits of that branch hold, and a user whose own subtree begins further
    /// down cannot take a process out of it.
    ///
    /// # Errors
    /// [`LeafError`]; nothing is left behind.
    pub fn make(mount: &Path, of: &str, name: &str) -> Result<Self, LeafError> {
        let path = placed(of, name, |path| is_roots(&below(mount, path)))?;
        let directory = below(mount, &path);
        let failed = |source| LeafError::Io { operation: "make", path: directory.clone(), source };
        fs::create_dir(&directory).map_err(failed)?;
        let id = fs::metadata(&directory).map_err(failed)?.ino();
        Ok(Self { path, id, directory })
    }

    /// Moves a process in, with all of its threads.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_in(&self, process: u32) -> Result<(), LeafError> {
        move_to(&self.directory, process)
    }

    /// Moves a process out again, to where it was.
    ///
    /// # Errors
    /// When the kernel refuses, or that cgroup is gone.
    pub fn let_out(&self, mount: &Path, process: u32, to: &str) -> Result<(), LeafError> {
        move_to(&below(mount, to), process)
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Vec<u32> {
        let read = |directory: &PathBuf| {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()
        };
        self.directories().iter().flat_map(read).collect()
    }

    /// Whether nothing lives in it or below it.
    pub fn is_empty(&self) -> bool {
        match fs::read_to_string(self.directory.join("cgroup.events")) {
            Ok(text) => text.lines().any(|line| line == "populated 0"),
            // It is gone.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Ends every process in it and below it, those too that are being forked (kernel 5.14).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<(), LeafError> {
        let path = self.directory.join("cgroup.kill");
        match fs::write(&path, "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|source| LeafError::Io { operation: "end", path, source }),
        }
    }

    /// Removes it and what its processes made below it.
    ///
    /// # Errors
    /// When something lives in it still.
    pub fn remove(&self) -> Result<(), LeafError> {
        for directory in self.directories().into_iter().rev() {
            match fs::remove_dir(&directory) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LeafError::Io { operation: "remove", path: directory, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// It and what is below it, every directory before those in it.
    fn directories(&self) -> Vec<PathBuf> {
        let mut found = vec![self.directory.clone()];
        let mut next = 0;
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

/// Where a leaf of this path was left by an agent that is gone.
pub fn left_behind(mount: &Path, path: &str) -> Option<Leaf> {
    let directory = below(mount, path);
    let id = fs::metadata(&directory).ok()?.ino();
    Some(Leaf { path: path.to_owned(), id, directory })
}

/// Where a leaf for a process in the cgroup `of` goes.
fn placed(of: &str, name: &str, is_roots: impl Fn(&str) -> bool) -> Result<String, LeafError> {
    let parent = guarded(of, is_roots);
    let path = format!("{}/{name}", parent.trim_end_matches('/'));
    if levels(&path) > CGROUP_LEVELS as usize {
        return Err(LeafError::TooDeep { path });
    }
    Ok(path)
}

/// The deepest part of a path down to which every cgroup is root's.
fn guarded(path: &str, is_roots: impl Fn(&str) -> bool) -> &str {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    let parts = ends.map(|end| &path[..end]).filter(|part| part.len() > 1);
    parts.take_while(|part| is_roots(part)).last().unwrap_or("/")
}

fn is_roots(directory: &Path) -> bool {
    fs::metadata(directory.join("cgroup.procs"))
        .is_ok_and(|about| about.uid() == 0 && about.mode() & WRITABLE_BY_OTHERS == 0)
}

fn levels(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn move_to(directory: &Path, process: u32) -> Result<(), LeafError> {
    let path = directory.join("cgroup.procs");
    fs::write(&path, process.to_string()).map_err(|source| LeafError::Io {
        operation: "move a process to",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_root("/", &[], "/")]
    #[case::all_roots("/system.slice/ci.service", &[], "/system.slice/ci.service")]
    #[case::a_session("/user.slice/user-7.slice/session-3.scope", &[],
        "/user.slice/user-7.slice/session-3.scope")]
    #[case::delegated("/user.slice/user-7.slice/user@7.service/app.slice/x.scope",
        &["/user.slice/user-7.slice/user@7.service"], "/user.slice/user-7.slice")]
    #[case::nothing_is_roots("/mine", &["/mine"], "/")]
    fn a_leaf_is_where_only_root_moves_processes(
        #[case] of: &str,
        #[case] others: &[&str],
        #[case] expected: &str,
    ) {
        // What root made within a user's subtree is not out of that user's reach.
        let is_roots = |path: &str| !others.contains(&path);
        assert_eq!(guarded(of, is_roots), expected);
    }

    #[test]
    fn what_the_kernel_programs_would_not_find_is_refused() {
        assert_eq!(placed("/a/b/c/d/e/f/g", "x", |_| true).unwrap(), "/a/b/c/d/e/f/g/x");
        let error = placed("/a/b/c/d/e/f/g/h", "x", |_| true).unwrap_err().to_string();
        assert!(error.contains("/a/b/c/d/e/f/g/h/x") && error.contains("8 levels"), "{error}");
    }

    #[test]
    fn what_was_made_below_a_leaf_goes_with_it() {
        let mount = tempfile::tempdir().unwrap();
        let leaf = Leaf::make(mount.path(), "/", "x").unwrap();
        assert_eq!(leaf.path, "/x");
        fs::create_dir_all(mount.path().join("x/a/b")).unwrap();
        assert_eq!(leaf.directories().len(), 3);
        leaf.remove().unwrap();
        assert!(!mount.path().join("x").exists());
        assert!(leaf.is_empty());
    }
}
