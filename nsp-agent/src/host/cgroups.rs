//! The cgroups of this host (version 2), and the systemd units that they belong to.
//!
//! The id of a cgroup is the inode number of its directory; sockets and packets carry it. A unit
//! that restarts has a new directory and so a new id. [`Tree`] is one reading, [`watch()`] follows
//! the changes. Cgroups have nothing to do with network namespaces.

pub mod leaf;
mod tree;
mod unit;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::{
    tree::{Cgroup, Tree},
    unit::{CgroupMatch, UnitMatches, unit_of},
    watch::watch,
};
use super::mounts::{self, Mount, MountsError};

/// Why cgroups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupsError {
    /// The mount table cannot be read.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// There is no version 2 hierarchy.
    #[error(
        "no cgroup2 file system is mounted where this process can see it; boot with \
         systemd.unified_cgroup_hierarchy=1 or mount one: mount -t cgroup2 none \
         /sys/fs/cgroup/unified (ip netns exec hides it, nsenter --net=/run/netns/NAME does not)"
    )]
    NotMounted,
    /// A directory of the hierarchy cannot be read.
    #[error("cannot read the cgroup directory {}: {source}", .path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread to follow the hierarchy.
    #[error("cannot start a thread to follow the cgroups: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// The cgroup of a process cannot be read.
    #[error("cannot read the cgroup of process {process}: {source}")]
    Process {
        /// The process.
        process: u32,
        /// Why.
        source: io::Error,
    },
}

/// Where the version 2 hierarchy is mounted; on a hybrid host that is beside the old ones.
///
/// # Errors
///
/// When there is none.
pub fn mount_point() -> Result<PathBuf, CgroupsError> {
    choose_mount(&mounts::read()?).map(Path::to_path_buf).ok_or(CgroupsError::NotMounted)
}

/// The usual places come first: others may be there for a container.
fn choose_mount(mounts: &[Mount]) -> Option<&Path> {
    const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let points = || mounts.iter().filter(|mount| mount.kind == "cgroup2").map(|it| &*it.point);
    let usual = USUAL.iter().find_map(|usual| points().find(|point| *point == Path::new(usual)));
    usual.or_else(|| points().next())
}

/// The cgroup of a process, as a path from the root of the hierarchy.
///
/// # Errors
///
/// When there is no such process, or it is in no version 2 cgroup.
pub fn of_process(process: u32) -> Result<String, CgroupsError> {
    let failed = |source| CgroupsError::Process { process, source };
    let text = std::fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(failed)?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(Into::into).ok_or(CgroupsError::NotMounted)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::unified(&["/sys/fs/cgroup"], Some("/sys/fs/cgroup"))]
    #[case::hybrid(&["/sys/fs/cgroup/unified"], Some("/sys/fs/cgroup/unified"))]
    #[case::containers_first(&["/var/lib/x", "/sys/fs/cgroup"], Some("/sys/fs/cgroup"))]
    #[case::elsewhere(&["/mnt/cgroup"], Some("/mnt/cgroup"))]
    #[case::none(&[], None)]
    fn the_hierarchy_is_found(#[case] points: &[&str], #[case] expected: Option<&str>) {
        let mut mounts = mounts::parse("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n");
        mounts.extend(
            points.iter().map(|point| Mount { point: point.into(), kind: "cgroup2".into() }),
        );
        assert_eq!(choose_mount(&mounts), expected.map(Path::new));
    }

    #[test]
    fn a_process_that_is_not_there_is_named_in_the_error() {
        let error = of_process(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("process 4294967295"), "{error}");
    }
}
