//! The peers that frames seem to come from, where the kernel programs find them.
#![expect(
    unsafe_code,
    reason = "a million peers by a system call each would take longer than the case"
)]

use std::{net::IpAddr, os::fd::AsFd as _};

use anyhow::{Context as _, Result, bail};
use aya::maps::Map;
use nsp_common::bench::{PeerV4, PeerV6, TRACE_PEERS};
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

/// The trace's maps in memory.
pub(crate) struct Trace {
    v4: Mapped<PeerV4>,
    v6: Mapped<PeerV6>,
}

impl Trace {
    /// Maps them.
    pub(crate) fn new(object: &mut aya::Ebpf) -> Result<Self> {
        Ok(Self { v4: Mapped::new(object, "TRACE_V4")?, v6: Mapped::new(object, "TRACE_V6")? })
    }

    /// Writes the peers, of one family, again and again until the trace is full.
    pub(crate) fn write(&mut self, peers: &[Peer], base_sum: u16) {
        for at in 0..TRACE_PEERS as usize {
            match peers[at % peers.len()] {
                (IpAddr::V4(v4), port) => {
                    self.v4.write(at, PeerV4 { address: v4.octets(), port, base_sum });
                }
                (IpAddr::V6(v6), port) => {
                    self.v6.write(at, PeerV6 { address: v6.octets(), port, _pad: [0; 3] });
                }
            }
        }
    }
}

/// A map of as many entries as the trace has peers.
struct Mapped<T> {
    memory: *mut T,
    _map: Map,
}

// SAFETY: the memory is a mapping of this process, whichever of its threads writes.
unsafe impl<T> Send for Mapped<T> {}

impl<T> Mapped<T> {
    const LENGTH: usize = TRACE_PEERS as usize * size_of::<T>();

    fn new(object: &mut aya::Ebpf, name: &str) -> Result<Self> {
        let map = object.take_map(name).with_context(|| format!("the object has no {name}"))?;
        let Map::Array(data) = &map else { bail!("{name} is no array") };
        // SAFETY: a fresh shared mapping at an address of the kernel's choice, of a map that is as long.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                Self::LENGTH,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                data.fd().as_fd(),
                0,
            )?
        };
        Ok(Self { memory: memory.cast(), _map: map })
    }

    fn write(&mut self, at: usize, entry: T) {
        assert!(at < TRACE_PEERS as usize);
        // SAFETY: inside the mapping, which has room for so many entries and is aligned to pages.
        unsafe { self.memory.add(at).write(entry) };
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, whole; nobody refers to it.
        let _unmapped = unsafe { munmap(self.memory.cast(), Self::LENGTH) };
    }
}
