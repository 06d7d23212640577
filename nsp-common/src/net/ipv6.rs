//! The IPv6 header (RFC 8200) and a bounded walk over its extension headers.

use network_types::ip::IpProto;

use super::{Bytes, be16};
use crate::{
    address::{Address, Family},
    packet::{Packet, flags},
    verdict::Reason,
};

/// Extension headers that are walked before a packet counts as unclassifiable (RFC 7112, 9098).
pub const EXTENSION_HEADERS_MAX: u32 = 8;

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
const ROUTING_TYPE_0: u8 = 0;

/// Reads the header at `offset` into `packet` and walks to the transport header.
///
/// Answers where the transport header begins and where the datagram ends, from the start of the
/// frame.
///
/// # Errors
/// [`Reason::BadIpv6`], [`Reason::SourceRoute`] (routing header type 0, RFC 5095),
/// [`Reason::TooManyHeaders`]. The addresses are set if they could be read.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(
    bytes: &B,
    offset: u32,
    packet: &mut Packet,
) -> Result<(u32, u32), Reason> {
    let Some(header) = bytes.read::<8>(offset) else {
        return Err(Reason::BadIpv6);
    };
    let (Some(source), Some(destination)) =
        (bytes.read::<16>(offset + 8), bytes.read::<16>(offset + 24))
    else {
        return Err(Reason::BadIpv6);
    };
    packet.key.family = Family::V6 as u8;
    packet.set_addresses(Address::v6(source), Address::v6(destination));
    packet.hop_limit = header[7];
    packet.key.protocol = header[6];
    if header[0] >> 4 != 6 {
        return Err(Reason::BadIpv6);
    }
    let mut payload = u32::from(be16(header[4], header[5]));
    if payload == 0 && packet.flags & flags::LENGTH_FROM_BUFFER != 0 {
        let available = bytes.length().saturating_sub(offset + 40);
        if available > u32::from(u16::MAX) {
            // BIG TCP, made by this host's stack, with or without a jumbo option.
            payload = available;
        }
    }
    let end = offset + 40 + payload;
    if !bytes.reaches(end) {
        return Err(Reason::BadIpv6);
    }
    let transport = walk(bytes, offset + 40, end, packet)?;
    Ok((transport, end))
}

/// Steps over extension headers; sets the protocol and the fragment state.
#[inline(always)]
fn walk<B: Bytes + ?Sized>(
    bytes: &B,
    start: u32,
    end: u32,
    packet: &mut Packet,
) -> Result<u32, Reason> {
    let mut at = start;
    let mut protocol = packet.key.protocol;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let is_extension = matches!(
            protocol,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
        );
        if !is_extension {
            packet.key.protocol = protocol;
            return Ok(at);
        }
        packet.key.protocol = protocol;
        if at + 8 > end {
            return Err(Reason::TooManyHeaders);
        }
        let Some(header) = bytes.read::<8>(at) else {
            return Err(Reason::TooManyHeaders);
        };
        let length = match protocol {
            FRAGMENT => {
                let field = be16(header[2], header[3]);
                if field & 0xfff8 != 0 {
                    // Behind this header is payload of the first fragment's protocol.
                    packet.flags |= flags::LATER_FRAGMENT;
                    packet.fragment_id =
                        u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    packet.key.protocol = header[0];
                    return Ok(at + 8);
                }
                // Offset 0 without "more" is an atomic fragment: whole (RFC 6946).
                if field & 1 != 0 {
                    packet.flags |= flags::FIRST_FRAGMENT;
                    packet.fragment_id =
                        u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                }
                8
            }
            // The length of AH counts four bytes, less two (RFC 4302); the others' eight, less one.
            AUTHENTICATION => (u32::from(header[1]) + 2) * 4,
            _ => (u32::from(header[1]) + 1) * 8,
        };
        if protocol == ROUTING && header[2] == ROUTING_TYPE_0 {
            return Err(Reason::SourceRoute);
        }
        protocol = header[0];
        at = bytes.forget(at + length);
        if at > end {
            return Err(Reason::TooManyHeaders);
        }
    }
    Err(Reason::TooManyHeaders)
}
