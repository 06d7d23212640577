//! The byte source over packet memory: the only pointer arithmetic on packets.

use nsp_common::net::Bytes;

use crate::barrier;

/// Headers are read from the linear part; a frame's offset never comes near this. The verifier
/// wants the bound (kernel `MAX_PACKET_OFF`).
const OFFSET_MAX: u32 = 0x7fff;

/// Bytes between `data` and `data_end`, of a frame of `length` bytes.
pub(crate) struct Linear {
    data: usize,
    data_end: usize,
    length: u32,
    /// Map memory that numbers go through to be forgotten.
    cursor: *mut u32,
}

impl Linear {
    /// Over the linear part of a context's packet.
    #[inline(always)]
    pub(crate) fn new(data: usize, data_end: usize, length: u32, cursor: &mut u32) -> Self {
        Self { data, data_end, length, cursor }
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
        // Opaque, or the compiler computes the address once for the comparison and again for the
        // read, and the verifier does not see that they are one.
        let start = barrier::opaque(self.data + bounded(offset));
        // Opaque again, or the compiler turns `start + 1 > end` into `start >= end`, from which the
        // verifier learns nothing (kernel find_good_pkt_pointers, range_right_open).
        if barrier::opaque(start + N) > self.data_end {
            return None;
        }
        // SAFETY: the comparison above put all N bytes before data_end, which the verifier checks
        // too; [u8; N] has no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn forget(&self, offset: u32) -> u32 {
        // SAFETY: the cursor is a word of this processor's work place, which outlives the parse.
        unsafe {
            self.cursor.write_volatile(offset);
            barrier::forget();
            self.cursor.read_volatile()
        }
    }
}

/// An offset that is known to be small. The comparison before may be made on another register than
/// the one that is added; the mask cannot.
#[inline(always)]
fn bounded(offset: u32) -> usize {
    barrier::opaque(offset as usize) & OFFSET_MAX as usize
}
