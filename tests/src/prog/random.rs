//! Random packets that are likely to matter: few addresses and ports, so that answers meet their
//! questions and fragments their heads, and every header that the programs know.

use std::net::{Ipv4Addr, Ipv6Addr};

use nsp_common::verdict::Direction;

use crate::packet::{
    Family, Packet, ah, destination_options, eth, extension_fragment, flag, gre, hop_by_hop, icmp,
    icmpv6, ipv4, ipv6, raw, routing, sctp, service_vlan, tcp, udp, udp_lite, vlan,
};

/// A seeded source of numbers (SplitMix64): the same seed gives the same packets for ever.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    /// Family, remote and local end of frames before: conversations take more than one.
    recent: Vec<(Family, Ends, Ends)>,
}

/// An address in each family.
pub type Ends = (&'static str, &'static str);

impl Random {
    /// From a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed, recent: Vec::new() }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number under `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64) as usize;
        choices[at].clone()
    }
}

/// The other ends, by family: allowed, not allowed, private, member, special.
pub const PEERS: [Ends; 14] = [
    ("203.0.113.5", "2001:db8:100::5"),
    ("203.0.113.5", "2001:db8:100::5"),
    ("203.0.113.77", "2001:db8:1ff::77"),
    ("198.51.100.7", "2001:db8:5::7"),
    ("198.51.100.200", "2001:db8:6::200"),
    ("198.51.100.53", "2001:db8:5::53"),
    ("10.0.0.9", "fd00:10::9"),
    ("172.16.5.5", "fe80::5"),
    ("192.0.2.10", "2001:db8:1::10"),
    METADATA,
    ("127.0.0.1", "::ffff:203.0.113.5"),
    ("0.0.0.0", "::"),
    ("240.0.0.1", "::1"),
    ("224.0.0.251", "ff02::fb"),
];

/// A cloud's metadata service.
pub const METADATA: Ends = ("169.254.169.254", "fd00:ec2::254");

/// The host's own ends.
pub const LOCALS: [Ends; 5] = [
    ("192.0.2.1", "2001:db8:1::1"),
    ("192.0.2.1", "2001:db8:1::1"),
    ("192.0.2.1", "2001:db8:1::1"),
    ("192.0.2.2", "2001:db8:1::2"),
    ("255.255.255.255", "ff02::1"),
];

const SERVICES: [u16; 9] = [5432, 5432, 443, 443, 123, 53, 80, 22, 5433];
const CLIENTS: [u16; 2] = [40_000, 40_001];

const TCP_FLAGS: [u8; 12] = [
    flag::SYN,
    flag::SYN,
    flag::SYN | flag::ACK,
    flag::SYN | flag::ACK,
    flag::ACK,
    flag::ACK,
    flag::ACK | flag::PSH,
    flag::ACK | flag::FIN,
    flag::RST,
    0,
    flag::SYN | flag::FIN,
    flag::SYN | flag::ECE | flag::CWR,
];

/// A packet on its way.
pub struct Frame {
    /// Which way.
    pub direction: Direction,
    /// The frame, with its link header.
    pub packet: Packet,
}

impl Random {
    /// A frame on an Ethernet device.
    pub fn frame(&mut self) -> Frame {
        let direction = self.of(&[Direction::Inbound, Direction::Outbound]);
        if self.recent.len() < 6 || self.once_in(3) {
            let fresh = (self.of(&[Family::V4, Family::V6]), self.of(&PEERS), self.of(&LOCALS));
            self.recent.insert(0, fresh);
            self.recent.truncate(6);
        }
        let at = self.below(self.recent.len() as u64) as usize;
        let (family, remote, local) = self.recent[at];
        let ends = if direction == Direction::Inbound { (remote, local) } else { (local, remote) };
        let datagram = self.datagram(family, ends);
        let packet = match self.below(24) {
            0 => eth() / vlan(5) / datagram,
            1 => eth() / service_vlan(5) / vlan(6) / datagram,
            2 if self.once_in(3) => eth() / vlan(5) / vlan(6) / vlan(7) / datagram,
            3 if self.once_in(3) => eth().ethertype(0x0806) / datagram,
            _ => eth() / datagram,
        };
        let packet = if self.once_in(20) {
            let length = packet.bytes().len() as u64;
            // The kernel runs programs on nothing shorter than a link header and an IPv6 header.
            let cut = 54.min(length);
            let cut = cut + self.below(length - cut + 1);
            packet.truncate(cut as usize)
        } else if self.once_in(10) {
            packet.pad(self.below(9) as usize)
        } else {
            packet
        };
        Frame { direction, packet }
    }

    fn datagram(&mut self, family: Family, (source, destination): (Ends, Ends)) -> Packet {
        if family == Family::V6 && self.once_in(12) {
            let source = self.of(&["fe80::5", "fe80::5", "2001:db8:5::7", "::"]);
            let header = ipv6(source, destination.1).hop_limit(self.of(&[255, 1]));
            return header / icmpv6::message(self.of(&KINDS_V6), 0).body(&[0; 20]);
        }
        let hops = self.of(&[64, 64, 64, 255, 1]);
        let inner = self.transport(family, destination);
        match family {
            Family::V4 => {
                let header = ipv4(source.0, destination.0).hop_limit(hops);
                let header = match self.below(30) {
                    0 => header.options(&[1; 8]),
                    1 => header.options(&[131, 7, 4, 1, 2, 3, 4]),
                    2 => header.options(&[148, 4, 0, 0, 7, 9]),
                    3 => header.ihl(self.below(16) as u8),
                    4 => header.version(self.below(16) as u8),
                    5 => header.total_length(self.below(80) as u16),
                    6 | 7 => header.fragment(self.below(3) as u16, 0, true),
                    8 | 9 => header.fragment(self.below(3) as u16, 48, false),
                    _ => header,
                };
                header / inner
            }
            Family::V6 => {
                let header = ipv6(source.1, destination.1).hop_limit(hops);
                let id = self.below(3) as u32;
                match self.below(30) {
                    0 => header / hop_by_hop().router_alert() / inner,
                    1 => header / destination_options() / ah() / inner,
                    2 => header / routing(["2001:db8:1::9"]) / inner,
                    3 => {
                        (0..self.below(11))
                            .fold(Packet::from(header), |packet, _| packet / destination_options())
                            / inner
                    }
                    4 => header.version(self.below(16) as u8) / inner,
                    5 => header.payload_length(self.below(80) as u16) / inner,
                    6 | 7 => header / extension_fragment(id, 0, true) / inner,
                    8 | 9 => header / extension_fragment(id, 48, false) / inner,
                    10 => header / extension_fragment(id, 0, false) / inner,
                    11 => header / hop_by_hop().length(self.below(9) as u8) / inner,
                    _ => header / inner,
                }
            }
        }
    }

    fn transport(&mut self, family: Family, destination: Ends) -> Packet {
        if destination == METADATA && self.once_in(2) {
            return tcp(self.of(&[443, 40_000]), self.of(&[80, 81])).syn().into();
        }
        let (service, client) = (self.of(&SERVICES), self.of(&CLIENTS));
        let client = if self.once_in(8) { self.of(&SERVICES) } else { client };
        // Services are at either end, so that both ends ask and both answer.
        let (from, to) = if self.once_in(2) { (service, client) } else { (client, service) };
        match self.below(21) {
            20 => self.of(&[raw(6, [0; 12]), raw(17, [0; 4]), raw(132, [0; 11])]).into(),
            0..=7 => tcp(from, to).flags(self.of(&TCP_FLAGS)) / "data",
            8 if self.once_in(3) => {
                let (from, to) = self.of(&[(67, 68), (68, 67), (547, 546), (546, 547)]);
                udp(from, to).into()
            }
            8..=12 => udp(from, to) / "data",
            13 => self.of(&[
                sctp(from, to).init().into(),
                udp_lite(from, to).into(),
                gre() / raw(0, [0; 8]),
                raw(2, [0x16, 0, 0, 0, 224, 0, 0, 251]).into(),
                raw(59, []).into(),
                raw(253, [1, 2, 3]).into(),
            ]),
            14 | 15 => {
                let id = self.of(&CLIENTS);
                if self.once_in(2) { family.echo_request(id, 1) } else { family.echo_reply(id, 1) }
            }
            16 | 17 => self.error(family, destination),
            _ => match family {
                Family::V4 => icmp::message(self.below(20) as u8, 0).body(&[0; 8]).into(),
                Family::V6 => icmpv6::message(self.of(&KINDS_V6), 0).body(&[0; 20]).into(),
            },
        }
    }

    /// An ICMP error, most often about a packet that the error's receiver may have sent.
    fn error(&mut self, family: Family, destination: Ends) -> Packet {
        let sender = if self.once_in(8) { self.of(&LOCALS) } else { destination };
        let peer = if self.once_in(2) { self.of(&PEERS) } else { self.of(&LOCALS) };
        let (service, client) = (self.of(&SERVICES), self.of(&CLIENTS));
        let (from, to) = if self.once_in(2) { (service, client) } else { (client, service) };
        let inner: Packet = match self.below(4) {
            0 => tcp(from, to).ack().into(),
            1 => udp(from, to).into(),
            2 => family.echo_request(client, 1),
            _ => family.too_big(1400),
        };
        let inner = family.ip(both(sender), both(peer)) / inner;
        let mtu = self.of(&[1400, 1280, 68, 67, 0]);
        let error =
            self.of(&[family.too_big(mtu), family.port_unreachable(), family.time_exceeded()]);
        error / inner
    }
}

const KINDS_V6: [u8; 11] = [130, 131, 132, 133, 134, 135, 136, 137, 143, 144, 200];

fn both(texts: Ends) -> (Ipv4Addr, Ipv6Addr) {
    (texts.0.parse().expect("a constant"), texts.1.parse().expect("a constant"))
}
