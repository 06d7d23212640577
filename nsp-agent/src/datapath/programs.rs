//! Which programs are at the hooks of a device, this agent's or others'.
//!
//! Numbers can be had with the agent's capabilities. To open a program by its number, which its name takes, the
//! kernel wants CAP_SYS_ADMIN: the agent does without, and a verb that root runs need not.
#![expect(unsafe_code, reason = "aya opens every program that it lists, which the agent may not")]

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use super::{
    Datapath,
    link::{BPF_OBJ_GET_INFO_BY_FD, attach, call},
};

const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

/// `BPF_MPROG_MAX`: more programs than the kernel takes at one hook.
const PROGRAMS_MAX: usize = 64;

/// Which packets of a device TC is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_…)`: what a filter of this side hangs on.
    pub const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }

    /// The hook of tcx.
    pub(super) const fn tcx(self) -> u32 {
        match self {
            Self::Ingress => attach::TCX_INGRESS,
            Self::Egress => attach::TCX_EGRESS,
        }
    }
}

/// The beginning of `struct bpf_prog_info`.
#[derive(Default)]
#[repr(C)]
struct Info {
    kind: u32,
    id: u32,
    _between: [u64; 7],
    name: [u8; 16],
}

/// The numbers of the programs that tcx has at a device, in the order in which packets meet them.
///
/// # Errors
/// When the kernel does not say.
pub fn programs_at(index: u32, side: Side) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let address = ids.as_mut_ptr() as u64;
    let mut words = [0_u32; 16];
    (words[0], words[1]) = (index, side.tcx());
    (words[4], words[5], words[6]) = (address as u32, (address >> 32) as u32, PROGRAMS_MAX as u32);
    // SAFETY: room for as many numbers as are said.
    match unsafe { call(BPF_PROG_QUERY, &mut words) } {
        Ok(_) => Ok(ids[..PROGRAMS_MAX.min(words[6] as usize)].to_vec()),
        // Nobody is there; before kernel 6.6 nobody can be.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The name that a program was loaded by, as far as the kernel keeps it: 15 characters.
///
/// # Errors
/// When it is gone, or the caller may not know (CAP_SYS_ADMIN).
pub fn name_of_program(id: u32) -> io::Result<String> {
    // SAFETY: numbers alone.
    let fd = unsafe { call(BPF_PROG_GET_FD_BY_ID, &mut [id, 0, 0]) }?;
    // SAFETY: a descriptor that the kernel has just made, and nobody else has.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = info(fd.as_fd())?.name;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// The number of a program.
pub(super) fn number(program: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(info(program)?.id)
}

fn info(program: BorrowedFd<'_>) -> io::Result<Info> {
    let mut info = Info::default();
    let address = (&raw mut info) as u64;
    let fd = program.as_raw_fd().cast_unsigned();
    let mut words = [fd, size_of::<Info>() as u32, address as u32, (address >> 32) as u32];
    // SAFETY: room for as many bytes as are said, and any bytes are an `Info`.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut words) }?;
    Ok(info)
}

impl Datapath {
    /// The numbers of this agent's own programs.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn own_programs(&self) -> io::Result<BTreeSet<u32>> {
        let loaded = self.ebpf.programs().filter_map(|(_, program)| program.fd().ok());
        loaded.map(|fd| number(fd.as_fd())).collect()
    }
}

const _: () = assert!(std::mem::offset_of!(Info, name) == 64);
