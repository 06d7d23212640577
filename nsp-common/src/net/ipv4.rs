//! The IPv4 header (RFC 791), with options.

use super::{Bytes, be16};
use crate::{
    address::{Address, Family},
    packet::{Packet, flags},
    verdict::Reason,
};

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;
/// Options fill at most 40 bytes, so they cannot be more than 40.
const OPTIONS_MAX: u32 = 40;

/// Reads the header at `offset` into `packet`.
///
/// Answers where the transport header begins and where the datagram ends, both from the start of
/// the frame. The end comes from the total length, never from the frame: what follows is padding.
///
/// # Errors
/// [`Reason::BadIpv4`] when version or lengths contradict each other; the addresses are set if they
/// could be read. [`Reason::SourceRoute`] for LSRR and SSRR (RFC 7126).
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(
    bytes: &B,
    offset: u32,
    packet: &mut Packet,
) -> Result<(u32, u32), Reason> {
    let Some(header) = bytes.read::<20>(offset) else {
        return Err(Reason::BadIpv4);
    };
    packet.key.family = Family::V4 as u8;
    packet.set_addresses(
        Address::v4([header[12], header[13], header[14], header[15]]),
        Address::v4([header[16], header[17], header[18], header[19]]),
    );
    packet.hop_limit = header[8];
    packet.key.protocol = header[9];

    let header_length = u32::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < 20 {
        return Err(Reason::BadIpv4);
    }
    let mut total = u32::from(be16(header[2], header[3]));
    if total == 0 && packet.flags & flags::LENGTH_FROM_BUFFER != 0 {
        let available = bytes.length().saturating_sub(offset);
        if available > u32::from(u16::MAX) {
            // BIG TCP, made by this host's stack (segmentation or GRO): longer than the field holds
            // (kernel include/net/ip.h, iph_totlen). On the wire a zero is a lie.
            total = available;
        }
    }
    if total < header_length || !bytes.reaches(offset + total) {
        return Err(Reason::BadIpv4);
    }

    let fragment = be16(header[6], header[7]);
    packet.fragment_id = u32::from(be16(header[4], header[5]));
    if fragment & 0x1fff != 0 {
        packet.flags |= flags::LATER_FRAGMENT;
    } else if fragment & 0x2000 != 0 {
        packet.flags |= flags::FIRST_FRAGMENT;
    }

    if header_length > 20 && source_routed(bytes, offset + 20, offset + header_length) {
        return Err(Reason::SourceRoute);
    }
    Ok((offset + header_length, offset + total))
}

/// Whether the options between `start` and `end` route the packet. An option that runs over the end
/// counts as one that does: nothing behind it can be trusted.
#[inline(always)]
fn source_routed<B: Bytes + ?Sized>(bytes: &B, start: u32, end: u32) -> bool {
    let mut at = 0_u32;
    let length = end - start;
    for _ in 0..OPTIONS_MAX {
        // The second bound is the verifier's: `at` comes from packet bytes.
        if at >= length || at >= OPTIONS_MAX {
            return false;
        }
        let Some([kind]) = bytes.read::<1>(start + at) else { return true };
        match kind {
            OPTION_END => return false,
            OPTION_NOP => at = bytes.forget(at + 1),
            OPTION_LSRR | OPTION_SSRR => return true,
            _ => {
                let Some([size]) = bytes.read::<1>(start + at + 1) else { return true };
                if size < 2 || at + u32::from(size) > length {
                    return true;
                }
                at = bytes.forget(at + u32::from(size));
            }
        }
    }
    false
}
