//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, errors and the packet inside an error.

use super::{Bytes, be16, protocol};
use crate::{
    address::Address,
    packet::{Packet, flags},
};

/// ICMP types of IPv4.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable; code 4 is fragmentation needed.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench, deprecated (RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// ICMPv6 types.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query.
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast listener report, version 1.
    pub const LISTENER_REPORT: u8 = 131;
    /// Multicast listener done.
    pub const LISTENER_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2.
    pub const LISTENER_REPORT_V2: u8 = 143;
}

/// Path MTU below which a packet-too-big is a lie (RFC 791: 68, RFC 8200: 1280).
const MTU_MIN_V4: u16 = 68;
const MTU_MIN_V6: u32 = 1280;
const FRAGMENTATION_NEEDED: u8 = 4;

/// Reads the eight header bytes, already fetched, and the inner packet of an error.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(
    bytes: &B,
    offset: u32,
    end: u32,
    header: [u8; 8],
    packet: &mut Packet,
) {
    packet.icmp_type = header[0];
    packet.icmp_code = header[1];
    let is_v4 = packet.key.protocol == protocol::ICMP;
    let (echo, reply) = if is_v4 { (v4::ECHO, v4::ECHO_REPLY) } else { (v6::ECHO, v6::ECHO_REPLY) };
    if header[0] == echo || header[0] == reply {
        // The identifier stands in for the asker's port and zero for the answerer's, so that a
        // reply is the reverse of its request and of nothing else.
        let identifier = be16(header[4], header[5]);
        if header[0] == echo {
            packet.set_ports(identifier, 0);
        } else {
            packet.set_ports(0, identifier);
        }
        return;
    }
    let is_error = if is_v4 {
        matches!(
            header[0],
            v4::UNREACHABLE | v4::SOURCE_QUENCH | v4::TIME_EXCEEDED | v4::PARAMETER_PROBLEM
        )
    } else {
        header[0] >= v6::UNREACHABLE && header[0] <= v6::PARAMETER_PROBLEM
    };
    if !is_error {
        return;
    }
    packet.flags |= flags::ICMP_ERROR;
    if is_v4 {
        let mtu = be16(header[6], header[7]);
        if header[0] == v4::UNREACHABLE && header[1] == FRAGMENTATION_NEEDED && mtu < MTU_MIN_V4 {
            packet.flags |= flags::BAD_MTU;
        }
        inner_v4(bytes, offset + 8, end, packet);
    } else {
        let mtu = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if header[0] == v6::PACKET_TOO_BIG && mtu < MTU_MIN_V6 {
            packet.flags |= flags::BAD_MTU;
        }
        inner_v6(bytes, offset + 8, end, packet);
    }
}

#[inline(always)]
fn inner_v4<B: Bytes + ?Sized>(bytes: &B, at: u32, end: u32, packet: &mut Packet) {
    if at + 28 > end {
        return;
    }
    let Some(header) = bytes.read::<20>(at) else { return };
    let length = u32::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < 20 || be16(header[6], header[7]) & 0x1fff != 0 {
        return;
    }
    packet.set_inner(
        Address::v4([header[12], header[13], header[14], header[15]]),
        Address::v4([header[16], header[17], header[18], header[19]]),
    );
    inner_transport(bytes, bytes.forget(at + length), end, header[9], packet);
}

#[inline(always)]
fn inner_v6<B: Bytes + ?Sized>(bytes: &B, at: u32, end: u32, packet: &mut Packet) {
    const FRAGMENT: u8 = 44;
    if at + 48 > end {
        return;
    }
    let (Some(header), Some(source), Some(destination)) =
        (bytes.read::<8>(at), bytes.read::<16>(at + 8), bytes.read::<16>(at + 24))
    else {
        return;
    };
    if header[0] >> 4 != 6 {
        return;
    }
    packet.set_inner(Address::v6(source), Address::v6(destination));
    let mut next = header[6];
    let mut offset = at + 40;
    if next == FRAGMENT {
        let Some(fragment) = bytes.read::<8>(offset) else { return };
        if be16(fragment[2], fragment[3]) & 0xfff8 != 0 {
            return;
        }
        next = fragment[0];
        offset += 8;
    }
    inner_transport(bytes, bytes.forget(offset), end, next, packet);
}

/// The first eight bytes of the inner transport header are all an error has to hold (RFC 792).
#[inline(always)]
fn inner_transport<B: Bytes + ?Sized>(
    bytes: &B,
    at: u32,
    end: u32,
    inner_protocol: u8,
    packet: &mut Packet,
) {
    if at + 8 > end {
        return;
    }
    let Some(header) = bytes.read::<8>(at) else { return };
    packet.inner.protocol = inner_protocol;
    let identifier = be16(header[4], header[5]);
    match (inner_protocol, header[0]) {
        (protocol::TCP | protocol::UDP | protocol::SCTP, _) => {
            packet.set_inner_ports(be16(header[0], header[1]), be16(header[2], header[3]));
        }
        (protocol::ICMP, v4::ECHO) | (protocol::ICMPV6, v6::ECHO) => {
            packet.set_inner_ports(identifier, 0);
        }
        (protocol::ICMP, v4::ECHO_REPLY) | (protocol::ICMPV6, v6::ECHO_REPLY) => {
            packet.set_inner_ports(0, identifier);
        }
        // An error about an error, or about discovery, has no conversation.
        (protocol::ICMP | protocol::ICMPV6, _) => return,
        _ => {}
    }
    packet.flags |= flags::INNER;
}
