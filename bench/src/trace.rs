//! The peers that frames seem to come from, where the kernel programs find them.
#![expect(
    unsafe_code,
    reason = "a million peers by a system call each would take longer than the case"
)]

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};
use aya::maps::Map;
use nsp_common::bench::{Peer as Entry, TRACE_PEERS};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::peers::Peer;

/// Sum of an IPv4 header whose source and checksum are zeros (RFC 1071).
pub(crate) fn base_sum(frame: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for (at, pair) in frame[14..34].chunks_exact(2).enumerate() {
        if !(5..8).contains(&at) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The trace's map in memory.
pub(crate) struct Trace {
    memory: *mut Entry,
    _map: Map,
}

// SAFETY: the memory is a mapping of this process, whichever of its threads writes.
unsafe impl Send for Trace {}

const LENGTH: usize = TRACE_PEERS as usize * size_of::<Entry>();

impl Trace {
    /// Maps it.
    pub(crate) fn new(object: &mut aya::Ebpf) -> Result<Self> {
        let map = object.take_map("TRACE").context("the object has no TRACE")?;
        let Map::Array(data) = &map else { bail!("TRACE is no array") };
        // SAFETY: a fresh shared mapping at an address of the kernel's choice, of a map that is as long.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                LENGTH,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                data.fd().as_fd(),
                0,
            )?
        };
        Ok(Self { memory: memory.cast(), _map: map })
    }

    /// Writes the peers, again and again until the trace is full.
    pub(crate) fn write(&mut self, peers: &[Peer], base_sum: u16) {
        for at in 0..TRACE_PEERS as usize {
            let (address, port) = peers[at % peers.len()];
            let peer = Entry { address: address.into(), port, base_sum, _pad: 0 };
            // SAFETY: inside the mapping, which has room for so many peers and is aligned to pages.
            unsafe { self.memory.add(at).write(peer) };
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, whole; nobody refers to it.
        let _unmapped = unsafe { munmap(self.memory.cast(), LENGTH) };
    }
}
