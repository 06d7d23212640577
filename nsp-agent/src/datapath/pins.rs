//! The pin directory: what of the kernel's side outlives the agent, and who may touch it.
//!
//! ```text
//! DIR/links/      the hooks, by kind and device: xdp-native-2, tc-egress-2, call-connect4
//! DIR/v5-1/       a set of maps: the version of their layout, and a number
//! DIR/v5-1/LAYOUT what the set says of itself; pinned last, so that a set without it is half made
//! ```
//!
//! Links and sets are apart because a link goes on through sets: its program is replaced, and the program
//! brings its maps. One agent at a time has the directory: it holds a lock on it (flock(2)), which ends with
//! the process however that ends.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nsp_common::LAYOUT_VERSION;
use rustix::{
    fs::{FlockOperation, StatVfsMountFlags, flock, statfs, statvfs},
    process::geteuid,
};

use super::link::Link;

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS: u32 = 0xcafe_4a11;
const LINKS: &str = "links";
/// The map that says what a set is.
pub(super) const LAYOUT: &str = "LAYOUT";

/// Why there is no pinning.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no bpffs.
    #[error("{0} is not in a BPF file system")]
    NoFileSystem(PathBuf),
    /// Nothing can be opened there, nor made.
    #[error("{0} is in a BPF file system that is mounted read-only")]
    ReadOnly(PathBuf),
    /// Others could take out of it what is in force.
    #[error("{0} belongs to somebody else, or others may write it")]
    Foreign(PathBuf),
    /// Somebody else has it.
    #[error("another agent has {0}")]
    Taken(PathBuf),
    /// The directory cannot be used.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A set of maps in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) path: PathBuf,
    pub(super) layout: u32,
    pub(super) number: u32,
}

impl Set {
    /// The version and the number in a directory's name.
    fn of(directory: &Path, name: &str) -> Option<Self> {
        let (layout, number) = name.strip_prefix('v')?.split_once('-')?;
        let (layout, number) = (layout.parse().ok()?, number.parse().ok()?);
        let is_ours = format!("v{layout}-{number}") == name;
        is_ours.then(|| Self { path: directory.join(name), layout, number })
    }

    /// The file of a map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it was whole once.
    pub(super) fn is_whole(&self) -> bool {
        self.map(LAYOUT).exists()
    }

    /// Takes it away: the kernel frees what no program uses.
    pub(super) fn remove(&self) -> Result<(), PinError> {
        // First, so that half of it is half a set.
        for file in [self.map(LAYOUT)].into_iter().chain(files(&self.path)?) {
            remove_file(&file)?;
        }
        fs::remove_dir(&self.path).map_err(failed("remove", &self.path))
    }
}

/// The pin directory, locked.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
    _lock: File,
}

impl PinDir {
    /// Opens the directory, makes it where it is not, and locks it.
    ///
    /// # Errors
    /// When there is no bpffs, or another agent has it.
    pub fn open(path: &Path) -> Result<Self, PinError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let above = path.ancestors().find(|it| it.exists()).unwrap_or(&path);
        if !is_bpf_fs(above)? {
            return Err(PinError::NoFileSystem(path));
        }
        // Else a set that cannot be opened would look like one that is broken.
        let about = statvfs(above).map_err(|error| failed("look at", above)(error.into()))?;
        if about.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(PinError::ReadOnly(path));
        }
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&path).map_err(failed("make", &path))?;
        // A bpffs is often everybody's to write, as /tmp is.
        let about = fs::metadata(&path).map_err(failed("look at", &path))?;
        if about.uid() != geteuid().as_raw() || about.mode() & 0o022 != 0 {
            return Err(PinError::Foreign(path));
        }
        private.create(path.join(LINKS)).map_err(failed("make", &path))?;
        let lock = File::open(&path).map_err(failed("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(PinError::Taken(path)),
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        // Who had the lock before may have taken the directory away.
        let is_same = fs::metadata(&path).is_ok_and(|now| {
            lock.metadata().is_ok_and(|held| (now.dev(), now.ino()) == (held.dev(), held.ino()))
        });
        if is_same { Ok(Self { path, _lock: lock }) } else { Self::open(&path) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sets, the youngest first.
    pub(super) fn sets(&self) -> Result<Vec<Set>, PinError> {
        let mut sets = Vec::new();
        for name in names(&self.path)? {
            match Set::of(&self.path, &name) {
                Some(set) => sets.push(set),
                None if name == LINKS => {}
                None => {
                    tracing::warn!(path = %self.path.join(name).display(), "not the agent's, left alone");
                }
            }
        }
        sets.sort_by_key(|set| std::cmp::Reverse(set.number));
        Ok(sets)
    }

    /// Makes the directory of a new set.
    pub(super) fn new_set(&self) -> Result<Set, PinError> {
        let number = self.sets()?.first().map_or(1, |set| set.number + 1);
        let path = self.path.join(format!("v{LAYOUT_VERSION}-{number}"));
        fs::create_dir(&path).map_err(failed("make", &path))?;
        Ok(Set { path, layout: LAYOUT_VERSION, number })
    }

    /// The file of a link.
    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.path.join(LINKS).join(name)
    }

    /// The links that are pinned, by name.
    pub(super) fn links(&self) -> Result<Vec<String>, PinError> {
        names(&self.path.join(LINKS))
    }

    /// Detaches the links and takes them away, but for some.
    pub(super) fn remove_links(&self, but: &BTreeSet<PathBuf>) -> Result<(), PinError> {
        let mut result = Ok(());
        for file in files(&self.path.join(LINKS))?.iter().filter(|it| !but.contains(*it)) {
            result = let_go(file).and(result);
        }
        result
    }

    /// Takes everything away, hooks first, and the directory last. What is not the agent's stays.
    ///
    /// # Errors
    /// When a file stays. The others are gone.
    pub fn remove(&self) -> Result<(), PinError> {
        let mut result = self.remove_links(&BTreeSet::new());
        for set in self.sets()? {
            result = set.remove().and(result);
        }
        for directory in [self.path.join(LINKS), self.path.clone()] {
            result = fs::remove_dir(&directory).map_err(failed("remove", &directory)).and(result);
        }
        result
    }
}

fn is_bpf_fs(path: &Path) -> Result<bool, PinError> {
    let about = statfs(path).map_err(|error| failed("look at", path)(error.into()))?;
    Ok(about.f_type as u32 == BPF_FS)
}

fn names(directory: &Path) -> Result<Vec<String>, PinError> {
    let entries = fs::read_dir(directory).map_err(failed("read", directory))?;
    entries
        .map(|entry| Ok(entry.map_err(failed("read", directory))?.file_name()))
        .map(|name| name.map(|name| name.to_string_lossy().into_owned()))
        .collect()
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, PinError> {
    Ok(names(directory)?.into_iter().map(|name| directory.join(name)).collect())
}

/// Detaches a pinned link, whoever holds it, and takes its file away. One that is gone already is as good.
pub(super) fn let_go(path: &Path) -> Result<(), PinError> {
    match Link::open(path) {
        Ok(link) => link.remove().map_err(failed("detach", path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A file that is no link hooks nothing. Of a link that cannot be opened nobody knows.
        Err(error) => remove_file(path).map_err(|_| failed("detach", path)(error)),
    }
}

/// The files of the links in a directory that somebody else may have; none where there is no such directory.
pub(super) fn link_files(directory: &Path) -> Result<Vec<PathBuf>, PinError> {
    match files(&directory.join(LINKS)) {
        Err(PinError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        found => found,
    }
}

fn remove_file(path: &Path) -> Result<(), PinError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path)(source))
        }
        _ => Ok(()),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_an_agent_gives_are_sets() {
        let directory = Path::new("/sys/fs/bpf/nsp");
        let set = Set::of(directory, "v4-12").unwrap();
        assert_eq!((set.layout, set.number), (4, 12));
        assert_eq!(set.path, directory.join("v4-12"));
        for name in ["links", "v4", "v4-", "v-1", "v04-1", "v4-1-2", "v4-+1", "4-1", ""] {
            assert_eq!(Set::of(directory, name), None, "{name}");
        }
    }

    #[test]
    fn ordinary_file_systems_hold_no_pins() {
        let directory = tempfile::tempdir().unwrap();
        let refused = PinDir::open(&directory.path().join("nsp")).unwrap_err();
        assert!(matches!(refused, PinError::NoFileSystem(_)), "{refused}");
    }
}
