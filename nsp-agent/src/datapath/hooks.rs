//! Putting programs at hooks: into the link that another agent left pinned there, or by a new one.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use super::{
    Calls, Datapath, DatapathError,
    attach::Attachments,
    filter_hook,
    link::{Link, Target},
    pins,
};

/// Where a program is to be.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    /// The name of the pinned link.
    pub(super) name: String,
    pub(super) target: Target<'a>,
    /// [`super::link::kind`]
    pub(super) kind: u32,
    /// [`super::link::attach`]
    pub(super) hook: u32,
    /// [`super::link::flags`]
    pub(super) flags: u32,
}

impl Datapath {
    /// A link that is pinned by this name.
    pub(super) fn pinned_link(&self, name: &str) -> Option<Link> {
        Link::open(&self.pins()?.link(name)).ok()
    }

    /// Hooks a program. Where a link is pinned for this spot its program is replaced, and no packet passes
    /// unseen in between.
    pub(super) fn hook(&self, program: &str, spot: &Spot<'_>) -> io::Result<Link> {
        let loaded = self.ebpf.program(program).and_then(|loaded| loaded.fd().ok());
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no program {program}"));
        let program = loaded.ok_or_else(missing)?.as_fd();
        let Some(pins) = self.pins() else {
            return Link::create(program, spot.target, spot.hook, spot.flags);
        };
        let path = pins.link(&spot.name);
        if let Some(link) = take_over(&path, program, spot)? {
            return Ok(link);
        }
        let mut link = Link::create(program, spot.target, spot.hook, spot.flags)?;
        link.pin(&path)?;
        Ok(link)
    }
}

/// What the name of a pinned link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// A hook of a device.
    Device(u32),
    /// A hook of the cgroups.
    Calls,
    /// Not a name that an agent gives.
    Foreign,
}

impl Named {
    fn of(name: &str) -> Self {
        let device = |prefix| name.strip_prefix(prefix).and_then(|index: &str| index.parse().ok());
        let prefixes = ["xdp-native-", "xdp-generic-", "tc-ingress-", "tc-egress-"];
        match prefixes.into_iter().find_map(device) {
            Some(index) => Self::Device(index),
            None if name == "send" || name.starts_with("call-") => Self::Calls,
            None => Self::Foreign,
        }
    }
}

impl Datapath {
    /// Takes away hooks that an agent before left and this one does not have: of devices that are gone or not
    /// judged any more, and of another way to judge one. `is_left` are devices that should have hooks and could
    /// not be given new ones: what is there stays.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn sweep_hooks(
        &self,
        attachments: &Attachments,
        calls: Option<&Calls>,
        is_left: impl Fn(u32) -> bool,
    ) -> Result<(), DatapathError> {
        let Some(pins) = self.pins() else { return Ok(()) };
        let of_calls = calls.into_iter().flat_map(Calls::pins);
        let held: BTreeSet<&Path> = attachments.pins().chain(of_calls).collect();
        for name in pins.links()? {
            let path = pins.link(&name);
            if held.contains(&*path) {
                continue;
            }
            let stays = match Named::of(&name) {
                Named::Device(index) => is_left(index),
                Named::Calls => calls.is_none(),
                Named::Foreign => {
                    tracing::warn!(path = %path.display(), "not the agent's, left alone");
                    continue;
                }
            };
            if stays {
                tracing::warn!(pin = %path.display(), "the hook of an agent before stays");
                continue;
            }
            match pins::let_go(&path) {
                Ok(()) => {
                    tracing::info!(pin = %path.display(), "a hook of an agent before is taken away");
                }
                Err(error) => tracing::warn!(pin = %path.display(), %error, "a hook stays"),
            }
        }
        Ok(())
    }

    /// Takes away filters that an agent before left at a device that is not judged any more.
    pub fn sweep_filters(&self, interface: &str) {
        if self.pins().is_some() {
            filter_hook::sweep(interface);
        }
    }
}

/// Puts the program into the link that is pinned there; `None` when there is none of any use.
fn take_over(path: &Path, program: BorrowedFd<'_>, spot: &Spot<'_>) -> io::Result<Option<Link>> {
    let useless = match Link::open(path) {
        Ok(mut link) => match link.info() {
            Ok(info) if info.kind != spot.kind || info.hook() != spot.hook => {
                "not a link of this hook"
            }
            Ok(info) if !info.is_attached() => "somebody detached it while no agent ran",
            Ok(info) if matches!(spot.target, Target::Device(index) if index != info.target) => {
                "a link of another device"
            }
            Ok(_) => {
                link.update(program)?;
                return Ok(Some(link));
            }
            // It may well be one: what is in there stays, and the caller tries again.
            Err(error) => return Err(error),
        },
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT) => return Ok(None),
            // What `bpf_obj_get` says of a directory, or of anything else that is not pinned.
            Some(libc::EACCES) => "not an object of the kernel",
            _ => return Err(error),
        },
    };
    tracing::warn!(pin = %path.display(), why = useless, "pinned link is replaced");
    fs::remove_file(path)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_say_whose_they_are() {
        assert_eq!(Named::of("xdp-native-2"), Named::Device(2));
        assert_eq!(Named::of("tc-egress-17"), Named::Device(17));
        assert_eq!(Named::of("call-connect4"), Named::Calls);
        assert_eq!(Named::of("send"), Named::Calls);
        for name in ["xdp-2", "xdp-native-", "tc-egress-eth0", "cil_from_netdev", ""] {
            assert_eq!(Named::of(name), Named::Foreign, "{name}");
        }
    }
}
