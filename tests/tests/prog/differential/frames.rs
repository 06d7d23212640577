//! Packets for both sides: likely ones, likely ones with a few bytes changed, ones that came before, and
//! of each kind that hardly comes up by itself.

use nsp_common::{net::eth::LinkHeader, verdict::Direction};
use nsp_tests::{
    packet::{
        Family, Packet, destination_options, eth, extension_fragment, icmp, icmpv6, igmp, ipv4,
        ipv6, raw, routing, tcp, udp, vlan,
    },
    prog::{
        Entry,
        random::{Ends, LOCALS, METADATA, PEERS, Random},
    },
};

const RESOLVER: Ends = ("198.51.100.53", "2001:db8:5::53");
const MEMBER: Ends = ("192.0.2.10", "2001:db8:1::10");
/// Packets that may come again.
const RECENT: usize = 64;
const LINK_HEADER: usize = 14;

/// A packet, and where it comes by.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) entry: Entry,
    pub(super) bytes: Vec<u8>,
}

/// Samples without end, the same for the same seed.
pub(super) struct Frames {
    pub(super) random: Random,
    recent: Vec<Sample>,
}

impl Frames {
    pub(super) const fn seeded(seed: u64) -> Self {
        Self { random: Random::seeded(seed), recent: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Sample {
        let kind = self.random.below(100);
        if kind < 10 && !self.recent.is_empty() {
            let mut again = self.random.of(&self.recent);
            if kind < 3 {
                self.random.mutate(&mut again.bytes);
            }
            return again;
        }
        let (direction, packet) = if kind < 30 {
            self.special()
        } else {
            let frame = self.random.frame();
            (frame.direction, frame.packet)
        };
        let mut bytes = packet.bytes();
        if kind >= 80 {
            self.random.mutate(&mut bytes);
        }
        let entry = self.entry(direction);
        if entry.link() == LinkHeader::None {
            bytes.drain(..LINK_HEADER.min(bytes.len()));
        }
        let sample = Sample { entry, bytes };
        if self.recent.len() < RECENT {
            self.recent.push(sample.clone());
        } else {
            let at = self.random.below(RECENT as u64) as usize;
            self.recent[at] = sample.clone();
        }
        sample
    }

    fn entry(&mut self, direction: Direction) -> Entry {
        match direction {
            Direction::Inbound => self.random.of(&[
                Entry::Xdp,
                Entry::Xdp,
                Entry::Xdp,
                Entry::Ingress,
                Entry::Ingress,
                Entry::IngressBare,
            ]),
            Direction::Outbound => self.random.of(&[
                Entry::Egress,
                Entry::Egress,
                Entry::Egress,
                Entry::Forwarded,
                Entry::EgressBare,
            ]),
        }
    }

    /// One of the kinds that decide something of their own.
    fn special(&mut self) -> (Direction, Packet) {
        let random = &mut self.random;
        let family = random.of(&[Family::V4, Family::V6]);
        let (peer, local) = (random.of(&PEERS[..7]), random.of(&LOCALS[..4]));
        let client = 40_000 + random.below(6) as u16;
        let direction = random.of(&[Direction::Inbound, Direction::Outbound]);
        let (source, target) =
            if direction == Direction::Inbound { (peer, local) } else { (local, peer) };
        let inbound = |packet: Packet| (Direction::Inbound, eth() / packet);
        let outbound = |packet: Packet| (Direction::Outbound, eth() / packet);
        match random.below(24) {
            0 => {
                let tags = eth() / vlan(5) / vlan(6) / vlan(7);
                (direction, tags / family.ip(source, target) / udp(client, 5432))
            }
            1 => {
                let tagged = eth() / vlan(5) / family.ip(peer, local) / udp(client, 5432);
                (Direction::Inbound, tagged.truncate(LINK_HEADER + random.below(4) as usize))
            }
            2 => {
                let (from, to) = random.of(&[(67, 68), (68, 67), (547, 546), (546, 547)]);
                (direction, eth() / family.ip(source, target) / udp(from, to))
            }
            3 | 4 => {
                let source = random.of(&["fe80::5", "fe80::5", "2001:db8:5::7", "::"]);
                let header = ipv6(source, target.1).hop_limit(random.of(&[255, 255, 1, 64]));
                let kind = random.of(&[130, 131, 132, 133, 134, 135, 136, 143]);
                (direction, eth() / header / icmpv6::message(kind, 0).body(&[0; 20]))
            }
            5 => (direction, eth() / ipv4(source.0, target.0) / igmp::query("224.0.0.1")),
            6 => {
                let inner = family.ip(local, peer) / udp(client, 443);
                let mtu = random.of(&[0, 40, 67, 68, 1279, 1280]);
                inbound(family.ip(peer, local) / (family.too_big(mtu) / inner))
            }
            7 => inbound(match family {
                Family::V4 => {
                    ipv4(peer.0, local.0)
                        / icmp::message(random.of(&[5, 9, 13, 17]), 0).body(&[0; 8])
                }
                Family::V6 => ipv6(peer.1, local.1) / icmpv6::message(137, 0).body(&[0; 32]),
            }),
            8 => outbound(family.ip(local, RESOLVER) / udp(client, 53) / "question"),
            9 => inbound(family.ip(RESOLVER, local) / udp(53, client) / "answer"),
            10 => outbound(family.ip(local, METADATA) / tcp(client, 80).syn()),
            11 => (direction, eth() / source_routed(family, source, target) / udp(client, 5432)),
            12 => {
                let head = raw(6, [0; 8]);
                let id = random.below(3) as u16;
                inbound(match family {
                    Family::V4 => ipv4(peer.0, local.0).fragment(id, 0, true) / head,
                    Family::V6 => {
                        ipv6(peer.1, local.1) / extension_fragment(u32::from(id), 0, true) / head
                    }
                })
            }
            13 => {
                let cut = random.of(&[raw(6, [0; 12]), raw(17, [0; 4]), raw(132, [0; 11])]);
                (direction, eth() / family.ip(source, target) / cut)
            }
            14 => inbound(family.ip(local, local) / tcp(client, 5432).syn()),
            15 => {
                let inner = family.ip(local, peer) / udp(random.below(9) as u16, 9);
                inbound(family.ip(peer, local) / (family.port_unreachable() / inner))
            }
            16 => {
                let id = random.number() as u16;
                inbound(match family {
                    Family::V4 => ipv4(peer.0, local.0).fragment(id, 48, false) / raw(17, [0; 16]),
                    Family::V6 => {
                        let fragment = extension_fragment(u32::from(id), 48, false);
                        ipv6(peer.1, local.1) / fragment / raw(17, [0; 16])
                    }
                })
            }
            17 => {
                let (source, target) =
                    if direction == Direction::Inbound { (MEMBER, local) } else { (local, MEMBER) };
                (direction, eth() / family.ip(source, target) / tcp(client, 5432).syn())
            }
            18 => {
                let header = Packet::from(ipv6(source.1, target.1));
                let options = |packet: Packet, _| packet / destination_options();
                (
                    direction,
                    eth() / (0..8 + random.below(3)).fold(header, options) / udp(client, 443),
                )
            }
            // What is allowed for a time, as long as that lasts.
            19..=21 => outbound(family.ip(local, PEERS[3]) / udp(client, 9) / "data"),
            // Questions to whoever is asked by a recursive resolver.
            _ => outbound(family.ip(local, random.of(&PEERS[..5])) / udp(client, 53) / "question"),
        }
    }
}

fn source_routed(family: Family, source: Ends, target: Ends) -> Packet {
    match family {
        Family::V4 => ipv4(source.0, target.0).options(&[131, 7, 4, 1, 2, 3, 4]).into(),
        Family::V6 => ipv6(source.1, target.1) / routing(["2001:db8:1::9"]),
    }
}

/// Errors about what was sent to a private peer: anybody may send them, so only so many pass in a second.
pub(super) fn errors(random: &mut Random, count: u64) -> Vec<Sample> {
    let error = |_| {
        let family = random.of(&[Family::V4, Family::V6]);
        let (router, local) = (random.of(&PEERS[..5]), random.of(&LOCALS[..3]));
        let inner = family.ip(local, ("10.1.2.3", "fd00:1::3")) / udp(random.number() as u16, 9);
        let error = random.of(&[family.port_unreachable(), family.time_exceeded()]);
        let packet = eth() / family.ip(router, local) / (error / inner);
        let entry = random.of(&[Entry::Xdp, Entry::Ingress]);
        Sample { entry, bytes: packet.bytes() }
    };
    (0..count).map(error).collect()
}
