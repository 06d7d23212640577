//! Frames between this host and a peer that is written into them. IPv4's checksum is right when the
//! programs that measure write the peer, and else it is that of a source of zeros: nsp does not look at it.

use std::net::IpAddr;

use nsp_tests::packet::{Family, NEAR_MAC, PEER_MAC, Packet, Party::Server, eth, tcp, udp};

use crate::peers::Peer;

/// Nobody's address.
const NOBODY: (&str, &str) = ("0.0.0.0", "::");
/// Where the header of IP begins, and where addresses are in it.
const IP: usize = 14;
const ADDRESSES_V4: usize = IP + 12;
const ADDRESSES_V6: usize = IP + 8;

fn of(family: &str) -> Family {
    if family == "v4" { Family::V4 } else { Family::V6 }
}

/// A segment of TCP from nobody to a port of this host.
pub(crate) fn segment(family: &str, port: u16, flags: u8) -> Vec<u8> {
    let packet: Packet = eth() / (of(family).ip(NOBODY, Server) / tcp(0, port).flags(flags));
    packet.bytes()
}

/// A segment of TCP from a port of this host to nobody.
pub(crate) fn reply(family: &str, port: u16, flags: u8) -> Vec<u8> {
    let link = eth().dst(PEER_MAC).src(NEAR_MAC);
    let packet: Packet = link / (of(family).ip(Server, NOBODY) / tcp(port, 0).flags(flags));
    packet.bytes()
}

/// A datagram of UDP from nobody to a port of this host. It says that it has no checksum: sources take
/// turns.
pub(crate) fn datagram(port: u16) -> Vec<u8> {
    const CHECKSUM: std::ops::Range<usize> = 40..42;
    let packet: Packet = eth() / (Family::V4.ip(NOBODY, Server) / udp(0, port));
    let mut bytes = packet.bytes();
    bytes[CHECKSUM].fill(0);
    bytes
}

/// The frame when it comes from this peer.
pub(crate) fn from_peer(frame: &[u8], peer: Peer) -> Vec<u8> {
    written(frame, peer, 0)
}

/// The frame when it goes to this peer.
pub(crate) fn to_peer(frame: &[u8], peer: Peer) -> Vec<u8> {
    written(frame, peer, 1)
}

/// With the peer as the first of its ends, or the second.
fn written(frame: &[u8], (address, port): Peer, end: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    let ports = match address {
        IpAddr::V4(address) => {
            put(ADDRESSES_V4 + 4 * end, &address.octets());
            ADDRESSES_V4 + 8
        }
        IpAddr::V6(address) => {
            put(ADDRESSES_V6 + 16 * end, &address.octets());
            ADDRESSES_V6 + 32
        }
    };
    put(ports + 2 * end, &port.to_be_bytes());
    frame
}
