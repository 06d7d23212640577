//! Following the hierarchy as cgroups come and go.
//!
//! Every directory is watched by inotify; whenever one appears or vanishes the whole is read again,
//! which takes microseconds per directory. Where a directory cannot be watched (the limit
//! `fs.inotify.max_user_watches`), reading once a second takes the place of notices. All of it is
//! done by a thread of its own, so that a host with many cgroups holds up nothing else.

use std::{
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};
use tokio::sync::watch;

use super::{CgroupsError, Tree};

/// How long notices are gathered: a unit that starts makes several directories.
const GATHER: Duration = Duration::from_millis(20);
/// How often the hierarchy is read when some of it cannot be watched, and how long the thread may
/// outlive its last receiver.
const POLL: Duration = Duration::from_secs(1);
/// How often it is read in any case, should a notice get lost.
const SAFETY_POLL: Duration = Duration::from_secs(15);

/// Follows the hierarchy mounted at `mount`. The receiver holds the tree as of now, and is marked
/// changed when a cgroup came, went or was made anew. It closes when the hierarchy is unmounted.
///
/// # Errors
///
/// When the hierarchy cannot be read, or there is no thread to be had.
pub fn watch(mount: &Path) -> Result<watch::Receiver<Arc<Tree>>, CgroupsError> {
    let watcher = Watcher::new(mount);
    let (tree, complete) = watcher.read()?;
    let (sender, receiver) = watch::channel(Arc::new(tree));
    thread::Builder::new()
        .name("cgroups".into())
        .spawn(move || watcher.follow(complete, &sender))
        .map_err(|source| CgroupsError::Thread { source })?;
    Ok(receiver)
}

struct Watcher {
    mount: PathBuf,
    /// `None` where the kernel grants no inotify instance: then polling does it all.
    notices: Option<OwnedFd>,
}

impl Watcher {
    fn new(mount: &Path) -> Self {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(error) = &notices {
            tracing::warn!(%error, "no inotify: cgroups are read once a second");
        }
        Self { mount: mount.into(), notices: notices.ok() }
    }

    /// Reads the tree and watches all of it; says whether that worked for every directory.
    fn read(&self) -> Result<(Tree, bool), CgroupsError> {
        let mut complete = self.notices.is_some();
        // Each is watched before its entries are read: what appears in between gives a notice.
        let tree = Tree::read_with(&self.mount, |directory| {
            let Some(notices) = &self.notices else { return };
            let events =
                WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
            match inotify::add_watch(notices, directory, events) {
                // Gone meanwhile; its parent's watch tells.
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(_) => complete = false,
            }
        })?;
        Ok((tree, complete))
    }

    fn follow(self, mut complete: bool, sender: &watch::Sender<Arc<Tree>>) {
        let mut last = Instant::now();
        while !sender.is_closed() {
            if self.noticed() {
                thread::sleep(GATHER);
            } else if complete && last.elapsed() < SAFETY_POLL {
                continue;
            }
            // Before the reading, so that later notices are about later changes.
            self.forget_notices();
            let Ok((tree, all)) = self.read() else { return };
            (complete, last) = (all, Instant::now());
            sender.send_if_modified(|known| {
                let changed = **known != tree;
                if changed {
                    *known = Arc::new(tree);
                }
                changed
            });
        }
    }

    /// Waits for a notice, but not for longer than [`POLL`].
    fn noticed(&self) -> bool {
        let pause = Timespec { tv_sec: POLL.as_secs() as i64, tv_nsec: 0 };
        let mut files: Vec<PollFd<'_>> =
            self.notices.iter().map(|notices| PollFd::new(notices, PollFlags::IN)).collect();
        match poll(&mut files, Some(&pause)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => {
                tracing::warn!(%error, "cgroups are read once a second");
                thread::sleep(POLL);
                true
            }
        }
    }

    fn forget_notices(&self) {
        let Some(notices) = &self.notices else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut queue = inotify::Reader::new(notices, &mut buffer);
        while queue.next().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time;

    use super::*;

    /// Far longer than a notice takes, and shorter than the safety poll: what comes in time came
    /// by notice.
    const SOON: Duration = Duration::from_secs(10);

    /// Waits until the tree is as it should be.
    async fn until(receiver: &mut watch::Receiver<Arc<Tree>>, right: impl Fn(&Tree) -> bool) {
        let right = receiver.wait_for(|tree| right(tree));
        time::timeout(SOON, right).await.expect("a notice in time").unwrap();
    }

    #[tokio::test]
    async fn a_unit_that_starts_restarts_and_stops_is_followed() {
        const PATH: &str = "/system.slice/x.service";
        let mount = tempfile::tempdir().unwrap();
        let slice = mount.path().join("system.slice");
        fs::create_dir(&slice).unwrap();
        let mut receiver = watch(mount.path()).unwrap();
        assert_eq!(receiver.borrow().cgroups().len(), 2);

        let service = slice.join("x.service");
        fs::create_dir(&service).unwrap();
        until(&mut receiver, |tree| tree.find(PATH).is_some()).await;
        let first = receiver.borrow().find(PATH).unwrap().id;

        // Made before the old one goes, so that the inode is another for certain.
        fs::create_dir(slice.join("y.service")).unwrap();
        fs::rename(slice.join("y.service"), &service).unwrap();
        until(&mut receiver, |tree| tree.find(PATH).is_some_and(|it| it.id != first)).await;

        fs::create_dir(service.join("inner")).unwrap();
        until(&mut receiver, |tree| tree.find("/system.slice/x.service/inner").is_some()).await;

        fs::remove_dir(service.join("inner")).unwrap();
        fs::remove_dir(&service).unwrap();
        until(&mut receiver, |tree| tree.find(PATH).is_none()).await;
    }

    #[tokio::test]
    async fn a_hierarchy_that_goes_away_closes_the_channel() {
        let mount = tempfile::tempdir().unwrap();
        let mut receiver = watch(mount.path()).unwrap();
        mount.close().unwrap();
        let closed = async { while receiver.changed().await.is_ok() {} };
        time::timeout(SOON, closed).await.expect("the channel closes");
    }
}
