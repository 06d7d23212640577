//! What an agent pinned, looked at and tampered with from outside; and what others pin.

use std::{fs, path::Path};

use aya::programs::links::{FdLink, PinnedLink};
use rustix::mount::{MountFlags, mount_remount};

use crate::raw;

/// A pinned link: its own number and its program's, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkIds {
    /// The link's.
    pub link: u32,
    /// Its program's.
    pub program: u32,
}

/// Names of what is in a directory, sorted; empty where there is none.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The numbers of a pinned link.
///
/// # Panics
/// When there is none at the path.
pub fn ids(path: &Path) -> LinkIds {
    let link = PinnedLink::from_pin(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let info = FdLink::from(link).info().expect("a link of ours can be asked");
    LinkIds { link: info.id(), program: info.program_id() }
}

/// Holds a pinned link as another process would, until this is dropped.
///
/// # Panics
/// When there is none at the path.
pub fn hold(path: &Path) -> PinnedLink {
    PinnedLink::from_pin(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Detaches a pinned link as another program would; its file stays.
///
/// # Panics
/// When there is none at the path.
pub fn detach(path: &Path) {
    raw::detach_link(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Puts a program of somebody else's, which is pinned as well, into a pinned link.
///
/// # Panics
/// When the kernel refuses.
pub fn replace(link: &Path, program: &Path) {
    raw::replace_program(link, program).unwrap_or_else(|error| {
        panic!("{} into {}: {error}", program.display(), link.display());
    });
}

/// Mounts the bpffs at a path anew, for reading only or not.
///
/// # Panics
/// When the kernel refuses.
pub fn remount(bpffs: &Path, is_read_only: bool) {
    let flags = if is_read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    mount_remount(bpffs, flags, "")
        .unwrap_or_else(|error| panic!("remount of {}: {error}", bpffs.display()));
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A classifier of TC that leaves every packet to the next one.
    Classifier,
    /// An XDP program that passes every packet.
    Xdp,
    /// A program of a cgroup that lets its sockets send everything.
    Send,
}

/// Loads a program of somebody else's and pins it, for `tc` and `ip` to take.
///
/// # Panics
/// When the kernel refuses.
pub fn program(kind: Kind, name: &str, path: &Path) {
    // `enum bpf_prog_type` and `enum bpf_attach_type`, for a link takes no program of another.
    let (kind, returns) = match kind {
        Kind::Classifier => ((3, 0), -1),
        Kind::Xdp => ((6, 37), 2),
        Kind::Send => ((8, 1), 1),
    };
    raw::pin_program(kind, name, returns, path)
        .unwrap_or_else(|error| panic!("{name} at {}: {error}", path.display()));
}
