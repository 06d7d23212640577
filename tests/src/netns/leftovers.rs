//! What a killed run could not take with it, and how the next one knows it.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::namespace::DIRECTORY;
use crate::privilege::mounts;

/// How every name of ours starts.
pub const MARK: &str = "nspt-";

/// A name that no other run and no other call has: `nspt-<pid>-<number>-<about>`.
pub fn mark(about: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let about: String = about.chars().take(60).map(plain).collect();
    format!("{MARK}{}-{number}-{about}", std::process::id())
}

/// Removes the namespaces, mounts and directories of runs that are dead, and ends what still runs in them.
pub(super) fn sweep() {
    for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_of_dead_run(&name) {
            continue;
        }
        if let Ok(about) = fs::metadata(entry.path()) {
            end_processes((about.dev(), about.ino()));
        }
        // Another run may be sweeping the same one: whoever is second finds it gone.
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
    for mount in mounts().unwrap_or_default() {
        if is_of_dead_run(&mount.source) {
            let _ = unmount(&mount.point, UnmountFlags::DETACH);
        }
    }
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        if is_of_dead_run(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Kills, by pid, every process whose main thread is in this namespace. Namespaces of ours hold
/// processes of ours only.
pub(super) fn end_processes(namespace: (u64, u64)) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        if i64::from(pid.as_raw_nonzero().get()) == i64::from(std::process::id()) {
            continue;
        }
        // The descriptor first, the question second: if the pid is reused in between, the
        // signal goes to the old process, which is dead, and not to the new one.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let is_inside = fs::metadata(entry.path().join("ns/net"))
            .is_ok_and(|about| (about.dev(), about.ino()) == namespace);
        if is_inside {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Whether a name is of ours and the process in it is gone.
fn is_of_dead_run(name: &str) -> bool {
    run_of(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn run_of(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(MARK)?.split_once('-')?;
    pid.parse().ok()
}

fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() { c } else { '-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_whose_they_are() {
        let (first, second) = (mark("a::b/c"), mark("a::b/c"));
        assert_ne!(first, second);
        assert!(first.ends_with("-a--b-c"), "{first}");
        assert_eq!(run_of(&first), Some(std::process::id()));
    }

    #[test]
    fn only_names_of_ours_with_a_dead_pid_are_swept() {
        // Pids are under 2^22.
        assert!(is_of_dead_run("nspt-4194305-0-test-server"));
        assert!(!is_of_dead_run(&mark("alive")));
        for foreign in ["nspt-", "nspt-x-1", "nspt-4194305", "docker0", "4194305-0", ""] {
            assert!(!is_of_dead_run(foreign), "{foreign}");
        }
    }
}
