//! Reading headers: a byte source with one bounds check a header, and one file a protocol.
//!
//! The kernel programs implement [`Bytes`] over `data..data_end`, tests over slices, so the very
//! same parser runs in both.

pub mod eth;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod protocol;
pub mod transport;

use crate::{
    packet::{Packet, flags},
    verdict::Reason,
};
use eth::{LinkHeader, Payload};

/// Where the bytes of a packet come from.
pub trait Bytes {
    /// Length of the frame in bytes, as the device or the socket buffer counts it. It can be
    /// more than what [`Bytes::read`] reaches (headers are linear, payload need not be).
    fn length(&self) -> u32;

    /// Whether there are so many bytes.
    #[inline(always)]
    fn reaches(&self, end: u32) -> bool {
        end <= self.length()
    }

    /// `N` bytes from `offset`, or `None` when they are not all there.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// The same number, about whose history the kernel's verifier knows nothing: ways through the
    /// parser that differ only in how they got to an offset become one way.
    #[inline(always)]
    fn forget(&self, offset: u32) -> u32 {
        offset
    }
}

impl Bytes for [u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = usize::try_from(offset).ok()?;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

/// Big-endian 16 bits.
#[inline(always)]
pub const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

impl Packet {
    /// Reads a frame. What is wrong with it goes into [`Packet::flaw`]; the caller has set device,
    /// direction and the flags that do not come from the bytes.
    #[inline(always)]
    pub fn parse<B: Bytes + ?Sized>(&mut self, bytes: &B, link: LinkHeader) {
        if let Err(reason) = self.parse_headers(bytes, link) {
            self.flaw = reason as u8;
        }
        self.length = bytes.length();
    }

    #[inline(always)]
    fn parse_headers<B: Bytes + ?Sized>(
        &mut self,
        bytes: &B,
        link: LinkHeader,
    ) -> Result<(), Reason> {
        let (transport, end) = match eth::parse(bytes, link)? {
            Payload::V4(offset) => ipv4::parse(bytes, bytes.forget(offset), self)?,
            Payload::V6(offset) => ipv6::parse(bytes, bytes.forget(offset), self)?,
        };
        let (transport, end) = (bytes.forget(transport), bytes.forget(end));
        if self.has(flags::LATER_FRAGMENT) {
            return Ok(());
        }
        transport::parse(bytes, transport, end, self)
    }
}
