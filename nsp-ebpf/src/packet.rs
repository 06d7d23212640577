//! The byte source over packet memory: the only pointer arithmetic on packets.

use nsp_common::net::Bytes;

/// Headers are read from the linear part; a frame's offset never comes near this. The verifier
/// wants the bound (kernel `MAX_PACKET_OFF`).
const OFFSET_MAX: u32 = 0x7fff;

/// Bytes between `data` and `data_end`, of a frame of `length` bytes.
pub(crate) struct Linear {
    data: usize,
    data_end: usize,
    length: u32,
}

impl Linear {
    /// Over the linear part of a context's packet.
    #[inline(always)]
    pub(crate) fn new(data: usize, data_end: usize, length: u32) -> Self {
        Self { data, data_end, length }
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset > OFFSET_MAX {
            return None;
        }
        let start = self.data + offset as usize;
        if start + N > self.data_end {
            return None;
        }
        // SAFETY: the comparison above put all N bytes before data_end, which the verifier checks
        // too; [u8; N] has no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }
}
