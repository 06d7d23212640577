//! A program at a hook, as the kernel's own object (`BPF_LINK_*`, kernel 5.7): it detaches when nobody holds
//! it any more, and a file in a bpffs holds it as a process does.
//!
//! By system calls of our own: aya 0.14 replaces no program of a cgroup, shows no descriptor of a link, and
//! falls back to XDP by netlink, which outlives its program and cannot be pinned.
#![expect(unsafe_code, reason = "no safe interface makes, updates and reads all kinds of links")]

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use super::programs;

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
pub(super) const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `enum bpf_link_type` of what is made here.
pub(super) mod kind {
    /// A cgroup's.
    pub(in crate::datapath) const CGROUP: u32 = 3;
    /// A device's, by XDP.
    pub(in crate::datapath) const XDP: u32 = 6;
    /// A device's, by tcx.
    pub(in crate::datapath) const TCX: u32 = 11;
}

/// `enum bpf_attach_type` of what is made here.
pub(super) mod attach {
    /// What leaves the sockets of a cgroup.
    pub(in crate::datapath) const CGROUP_EGRESS: u32 = 1;
    /// Calls of `connect` for IPv4.
    pub(in crate::datapath) const CONNECT4: u32 = 10;
    /// The same for IPv6.
    pub(in crate::datapath) const CONNECT6: u32 = 11;
    /// Calls of `sendmsg` for IPv4.
    pub(in crate::datapath) const SENDMSG4: u32 = 14;
    /// The same for IPv6.
    pub(in crate::datapath) const SENDMSG6: u32 = 15;
    /// XDP.
    pub(in crate::datapath) const XDP: u32 = 37;
    /// TC ingress.
    pub(in crate::datapath) const TCX_INGRESS: u32 = 46;
    /// TC egress.
    pub(in crate::datapath) const TCX_EGRESS: u32 = 47;
}

/// How a program is hooked.
pub(super) mod flags {
    /// Before all others of the hook.
    pub(in crate::datapath) const FIRST: u32 = 1 << 3;
    /// XDP in the stack.
    pub(in crate::datapath) const XDP_GENERIC: u32 = 1 << 1;
    /// XDP in the driver.
    pub(in crate::datapath) const XDP_NATIVE: u32 = 1 << 2;
}

/// What is hooked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A device, by its index.
    Device(u32),
    /// A cgroup.
    Cgroup(BorrowedFd<'a>),
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Info {
    /// [`kind`].
    pub(super) kind: u32,
    id: u32,
    program: u32,
    _pad: u32,
    /// A device's index or the lower half of a cgroup's number; zero when it is detached.
    pub(super) target: u32,
    /// Of a tcx link [`attach`]; the upper half of a cgroup's number.
    second: u32,
    /// Of a cgroup's link [`attach`].
    third: u32,
    _rest: [u32; 9],
}

impl Info {
    /// Whether the program is at its hook.
    pub(super) fn is_attached(&self) -> bool {
        self.target != 0 || self.kind == kind::CGROUP && self.second != 0
    }

    /// Which hook of its target.
    pub(super) fn hook(&self) -> u32 {
        match self.kind {
            kind::XDP => attach::XDP,
            kind::TCX => self.second,
            _ => self.third,
        }
    }
}

/// A link. Dropping one that is not pinned detaches it.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    pin: Option<PathBuf>,
    /// The number of the program that this agent put there, if it did.
    program: Option<u32>,
}

impl Link {
    /// Hooks a program.
    pub(super) fn create(
        program: BorrowedFd<'_>,
        target: Target<'_>,
        hook: u32,
        flags: u32,
    ) -> io::Result<Self> {
        let target = match target {
            Target::Device(index) => index,
            Target::Cgroup(directory) => directory.as_raw_fd().cast_unsigned(),
        };
        let number = programs::number(program)?;
        let program = program.as_raw_fd().cast_unsigned();
        // The rest is about neighbours, of which none are named.
        let mut words = [program, target, hook, flags, 0, 0, 0, 0];
        // SAFETY: numbers alone.
        let fd = unsafe { call(BPF_LINK_CREATE, &mut words) }?;
        // SAFETY: a descriptor that the kernel has just made, and nobody else has.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, pin: None, program: Some(number) })
    }

    /// Opens a pinned link.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path_c = c_path(path)?;
        // SAFETY: the path lives until the call is over, and ends with a zero.
        let fd = unsafe { call(BPF_OBJ_GET, &mut with_path(&path_c, 0)) }?;
        // SAFETY: as above.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, pin: Some(path.to_owned()), program: None })
    }

    /// Has a file hold it as well.
    pub(super) fn pin(&mut self, path: &Path) -> io::Result<()> {
        let fd = self.fd.as_raw_fd().cast_unsigned();
        let path_c = c_path(path)?;
        // SAFETY: as above.
        unsafe { call(BPF_OBJ_PIN, &mut with_path(&path_c, fd)) }?;
        self.pin = Some(path.to_owned());
        Ok(())
    }

    /// Puts another program in place of the one there: each packet is seen by one of them.
    pub(super) fn update(&mut self, program: BorrowedFd<'_>) -> io::Result<()> {
        let number = programs::number(program)?;
        let link = self.fd.as_raw_fd().cast_unsigned();
        let mut words = [link, program.as_raw_fd().cast_unsigned(), 0, 0];
        // SAFETY: numbers alone.
        unsafe { call(BPF_LINK_UPDATE, &mut words) }?;
        self.program = Some(number);
        Ok(())
    }

    /// What the kernel says of it.
    pub(super) fn info(&self) -> io::Result<Info> {
        let mut info = Info::default();
        let address = (&raw mut info) as u64;
        let fd = self.fd.as_raw_fd().cast_unsigned();
        let mut words = [fd, size_of::<Info>() as u32, address as u32, (address >> 32) as u32];
        // SAFETY: room for as many bytes as are said, and any bytes are an `Info`.
        unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut words) }?;
        Ok(info)
    }

    /// Whether the program that this agent put there is at its hook: whoever may open the link may put another into
    /// it. A file that somebody took away is made again.
    pub(super) fn is_there(&mut self) -> io::Result<bool> {
        let info = self.info()?;
        if !info.is_attached() || self.program.is_some_and(|program| program != info.program) {
            return Ok(false);
        }
        if let Some(path) = self.pin.clone()
            && !path.exists()
        {
            tracing::error!(pin = %path.display(), "somebody took a pin away; it is made again");
            self.pin(&path)?;
        }
        Ok(true)
    }

    /// The file that holds it.
    pub(super) fn pinned_at(&self) -> Option<&Path> {
        self.pin.as_deref()
    }

    /// Detaches it, whoever holds it as well (kernel 5.9).
    fn detach(&self) -> io::Result<()> {
        let mut words = [self.fd.as_raw_fd().cast_unsigned()];
        // SAFETY: numbers alone.
        unsafe { call(BPF_LINK_DETACH, &mut words) }.map(drop)
    }

    /// Detaches it, and takes its file away. A file that stays, as in a bpffs that is read-only, hooks nothing.
    pub(super) fn remove(self) -> io::Result<()> {
        match self.detach() {
            // Something else that is pinned there, which hooks nothing.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            detached => detached?,
        }
        match self.pin.as_ref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(pin = ?self.pin, %error, "a file stays, of a hook that is gone");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// `pathname`, `bpf_fd`, `file_flags`.
fn with_path(path: &CString, fd: u32) -> [u32; 4] {
    let address = path.as_ptr() as u64;
    [address as u32, (address >> 32) as u32, fd, 0]
}

/// One `bpf` call; `union bpf_attr` begins with these words (linux/bpf.h; little-endian).
///
/// # Safety
/// Addresses among the words must be of memory that lives through the call, as long and of the kind that the
/// command wants.
pub(super) unsafe fn call(command: libc::c_int, words: &mut [u32]) -> io::Result<RawFd> {
    // SAFETY: the attribute lives through the call; what it points to is the caller's care.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            words.as_mut_ptr(),
            size_of_val(words) as libc::c_uint,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}
