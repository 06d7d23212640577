//! The hooks at programs' calls for a way out, and at what they send by UDP, on the root of the cgroups:
//! every process passes by, and those of this network namespace are judged.
#![expect(unsafe_code, reason = "no safe interface tells the cookie of a network namespace")]

use std::{
    fs::File,
    io,
    net::UdpSocket,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use super::{
    Datapath, DatapathError,
    hooks::Spot,
    link::{Link, Target, attach, kind},
};

/// Programs, their hooks, and the names of their links.
const CALLS: [(&str, u32, &str); 5] = [
    ("nsp_connect4", attach::CONNECT4, "call-connect4"),
    ("nsp_connect6", attach::CONNECT6, "call-connect6"),
    ("nsp_sendmsg4", attach::SENDMSG4, "call-sendmsg4"),
    ("nsp_sendmsg6", attach::SENDMSG6, "call-sendmsg6"),
    ("nsp_send", attach::CGROUP_EGRESS, "send"),
];

/// The hooks. Dropping them detaches what is not pinned.
pub struct Calls {
    links: Vec<Link>,
}

impl Calls {
    /// The files that hold them.
    pub fn pins(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().filter_map(Link::pinned_at)
    }

    /// Whether all are where they were put.
    pub fn are_there(&mut self) -> bool {
        // All are looked at, for the files of those that are there. What cannot be asked is as it was.
        let gone = self.links.iter_mut().filter_map(|link| link.is_there().ok()).filter(|it| !it);
        gone.count() == 0
    }

    /// Unhooks them.
    ///
    /// # Errors
    /// When one stays; the others are gone.
    pub fn remove(self) -> io::Result<()> {
        let removed: Vec<io::Result<()>> = self.links.into_iter().map(Link::remove).collect();
        removed.into_iter().collect()
    }
}

impl Datapath {
    /// Hooks the calls of all processes below a mount of cgroups.
    ///
    /// # Errors
    /// When the directory cannot be opened or the kernel refuses. What another agent left hooked stays.
    pub fn attach_calls(&mut self, cgroups: &Path) -> Result<Calls, DatapathError> {
        let root = File::open(cgroups)
            .map_err(|source| DatapathError::Cgroups { path: cgroups.to_owned(), source })?;
        let mut links = Vec::new();
        for (program, hook, name) in CALLS {
            let spot = Spot {
                name: name.to_owned(),
                target: Target::Cgroup(root.as_fd()),
                kind: kind::CGROUP,
                hook,
                // Links of a cgroup stand beside others by nature.
                flags: 0,
            };
            let link = self.hook(program, &spot).map_err(|source| DatapathError::Attach {
                program,
                interface: cgroups.display().to_string(),
                source,
            })?;
            links.push(link);
        }
        Ok(Calls { links })
    }
}

/// The kernel's number of this thread's network namespace (kernel 5.14); zero where it does not tell.
pub(super) fn netns_cookie() -> u64 {
    let read = || -> io::Result<u64> {
        let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
        let mut cookie = 0_u64;
        let mut length = size_of::<u64>() as libc::socklen_t;
        // SAFETY: a live socket, and room for as many bytes as are said.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
    };
    read().unwrap_or(0)
}

/// include/uapi/asm-generic/socket.h
const SO_NETNS_COOKIE: libc::c_int = 71;
