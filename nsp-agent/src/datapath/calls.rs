//! The hooks at programs' calls for a way out, and at what they send by UDP, on the root of the cgroups:
//! every process passes by, and those of this network namespace are judged.
#![expect(unsafe_code, reason = "no safe interface tells the cookie of a network namespace")]

use std::{fs::File, io, net::UdpSocket, os::fd::AsRawFd as _, path::Path};

use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, ProgramError,
    cgroup_skb::CgroupSkbLink, cgroup_sock_addr::CgroupSockAddrLink,
};

use super::{Datapath, DatapathError};

const CALLS: [&str; 4] = ["nsp_connect4", "nsp_connect6", "nsp_sendmsg4", "nsp_sendmsg6"];
const SENDS: &str = "nsp_send";

/// The hooks; dropping it detaches.
pub struct Calls {
    _calls: Vec<CgroupSockAddrLink>,
    _sends: CgroupSkbLink,
}

impl Datapath {
    /// Hooks the calls of all processes below a mount of cgroups.
    ///
    /// # Errors
    /// When the directory cannot be opened or the kernel refuses; nothing stays attached.
    pub fn attach_calls(&mut self, cgroups: &Path) -> Result<Calls, DatapathError> {
        let failed = |program: &str| {
            let program = program.to_owned();
            move |source| DatapathError::Program { program, source }
        };
        let root = File::open(cgroups)
            .map_err(|source| DatapathError::Cgroups { path: cgroups.to_owned(), source })?;
        let mut links = Vec::new();
        for name in CALLS {
            let program = self.ebpf.program_mut(name).ok_or(DatapathError::NoAnswer)?;
            let program: &mut CgroupSockAddr = program.try_into().map_err(failed(name))?;
            let link = program
                .attach(&root, CgroupAttachMode::Single)
                .and_then(|id| program.take_link(id))
                .map_err(|source: ProgramError| failed(name)(source))?;
            links.push(link);
        }
        let program = self.ebpf.program_mut(SENDS).ok_or(DatapathError::NoAnswer)?;
        let program: &mut CgroupSkb = program.try_into().map_err(failed(SENDS))?;
        let sends = program
            .attach(&root, CgroupSkbAttachType::Egress, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|source: ProgramError| failed(SENDS)(source))?;
        Ok(Calls { _calls: links, _sends: sends })
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
