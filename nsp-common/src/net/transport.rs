//! TCP, UDP and SCTP ports; everything else is judged by address.

pub use super::protocol::{self, tcp};
use super::{Bytes, be16, icmp};
use crate::{
    packet::{Packet, flags},
    verdict::Reason,
};

/// Reads ports, flags and ICMP fields of the transport header at `offset`; the datagram ends at
/// `end`.
///
/// # Errors
/// [`Reason::TruncatedTransport`], or [`Reason::TinyFragment`] when the packet is a first fragment
/// that splits its transport header (RFC 1858).
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(
    bytes: &B,
    offset: u32,
    end: u32,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let room = end.saturating_sub(offset);
    let short = if packet.flags & flags::FIRST_FRAGMENT != 0 {
        Reason::TinyFragment
    } else {
        Reason::TruncatedTransport
    };
    match packet.key.protocol {
        protocol::TCP => {
            let Some(header) = bytes.read::<20>(offset) else { return Err(short) };
            if room < 20 {
                return Err(short);
            }
            packet.tcp_flags = header[13];
            packet.payload = offset + u32::from(header[12] >> 4) * 4;
            packet.end = end;
            packet.sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            ports(packet, [header[0], header[1], header[2], header[3]]);
        }
        protocol::UDP => {
            let Some(header) = bytes.read::<8>(offset) else { return Err(short) };
            if room < 8 {
                return Err(short);
            }
            ports(packet, [header[0], header[1], header[2], header[3]]);
            packet.payload = offset + 8;
            packet.end = end;
        }
        protocol::SCTP => {
            let Some(header) = bytes.read::<12>(offset) else { return Err(short) };
            if room < 12 {
                return Err(short);
            }
            ports(packet, [header[0], header[1], header[2], header[3]]);
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(header) = bytes.read::<8>(offset) else { return Err(short) };
            if room < 8 {
                return Err(short);
            }
            icmp::parse(bytes, offset, end, header, packet);
        }
        // Known by address alone; ports stay zero, which is this conversation's key.
        _ => packet.flags |= flags::KEYED,
    }
    Ok(())
}

#[inline(always)]
fn ports(packet: &mut Packet, bytes: [u8; 4]) {
    packet.set_ports(be16(bytes[0], bytes[1]), be16(bytes[2], bytes[3]));
    packet.flags |= flags::PORTS;
}
