//! Frames from addresses in, beside and far from the prefixes of a policy, to ports in and beside its
//! ranges: right ones, and odd ones of each kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nsp_agent::policy::model::{InboundRule, Policy, PortSet, PortSpec};
use nsp_tests::{
    packet::{
        Family, Packet, ah, destination_options, eth, extension_fragment, flag, gre, hop_by_hop,
        icmp, icmpv6, ipv4, ipv6, raw, routing, sctp, service_vlan, tcp, udp, vlan,
    },
    prog::random::Random,
};

use super::policy::{public_v4, public_v6};

/// How a frame is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Plain,
    Tagged,
    TwoTags,
    Options,
    Flags,
    Fragment,
    Icmp,
    Short,
    Mutated,
    NotIp,
}

pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

const LOCAL: (&str, &str) = ("192.0.2.1", "2001:db8:1::1");

/// The next one.
pub(super) fn frame(policy: &Policy, random: &mut Random) -> Frame {
    let rules: Vec<&InboundRule> =
        policy.profiles.values().flat_map(|it| it.inbound.values()).collect();
    let rule = random.of(&rules);
    let kind = random.of(&[
        Kind::Plain,
        Kind::Plain,
        Kind::Plain,
        Kind::Plain,
        Kind::Plain,
        Kind::Plain,
        Kind::Tagged,
        Kind::TwoTags,
        Kind::Options,
        Kind::Flags,
        Kind::Fragment,
        Kind::Icmp,
        Kind::Short,
        Kind::Mutated,
        Kind::NotIp,
    ]);
    let source = if kind == Kind::Fragment { few(rule, random) } else { source(rule, random) };
    let transport = transport(source, rule, kind, random);
    let datagram = datagram(source, kind, transport, random);
    let packet = match kind {
        Kind::Tagged => eth() / vlan(7) / datagram,
        Kind::TwoTags => eth() / service_vlan(7) / vlan(8) / datagram,
        Kind::NotIp => eth().ethertype(random.of(&[0x0806, 0x88cc, 0x8864, 0x0801])) / datagram,
        _ => eth() / datagram,
    };
    let mut bytes = packet.bytes();
    match kind {
        Kind::Short => bytes.truncate(54 + random.below(16) as usize),
        Kind::Mutated => random.mutate(&mut bytes),
        _ => {}
    }
    // Not shorter than Ethernet allows, or drivers would pad.
    bytes.resize(bytes.len().max(60), 0);
    Frame { kind, bytes }
}

/// One of few addresses, so that some tails find a head.
fn few(rule: &InboundRule, random: &mut Random) -> IpAddr {
    let prefixes: Vec<IpNet> = rule.prefixes.iter().collect();
    random.of(&[prefixes[0], prefixes[prefixes.len() - 1]]).network()
}

/// An address of one of the rule's prefixes, or its neighbour, or any.
fn source(rule: &InboundRule, random: &mut Random) -> IpAddr {
    let prefixes: Vec<IpNet> = rule.prefixes.iter().collect();
    let prefix = random.of(&prefixes);
    let place = random.below(8);
    match (prefix, place) {
        (IpNet::V4(_), 0) => Ipv4Addr::from(public_v4(random)).into(),
        (IpNet::V6(_), 0) => Ipv6Addr::from(public_v6(random)).into(),
        (IpNet::V4(net), 1) => Ipv4Addr::from(u32::from(net.network()) - 1).into(),
        (IpNet::V6(net), 1) => Ipv6Addr::from(u128::from(net.network()) - 1).into(),
        (IpNet::V4(net), 2) => Ipv4Addr::from(u32::from(net.broadcast()) + 1).into(),
        (IpNet::V6(net), 2) => Ipv6Addr::from(u128::from(net.broadcast()) + 1).into(),
        (IpNet::V4(net), 3) => net.broadcast().into(),
        (IpNet::V6(net), 3) => net.broadcast().into(),
        (IpNet::V4(net), 4) => net.network().into(),
        (IpNet::V6(net), 4) => net.network().into(),
        (IpNet::V4(net), _) => {
            let host = random.number() as u32 & u32::from(net.hostmask());
            Ipv4Addr::from(u32::from(net.network()) | host).into()
        }
        (IpNet::V6(net), _) => {
            let low = u128::from(random.number()) << 64 | u128::from(random.number());
            Ipv6Addr::from(u128::from(net.network()) | low & u128::from(net.hostmask())).into()
        }
    }
}

/// A port of the rule, its neighbour, or any; and which transport.
fn port(rule: &InboundRule, random: &mut Random) -> (u8, u16) {
    let any = (random.of(&[6, 6, 17, 132]), random.number() as u16);
    let PortSet::Listed(list) = &rule.ports else { return any };
    match random.of(list) {
        PortSpec::Range(range) => {
            let edge = random.of(&[
                range.first,
                range.last,
                range.first.wrapping_sub(1),
                range.last.wrapping_add(1),
            ]);
            let within = range.first + random.below(u64::from(range.last - range.first) + 1) as u16;
            let transport = if random.once_in(6) { any.0 } else { range.transport.number() };
            (transport, if random.once_in(3) { edge } else { within })
        }
        PortSpec::Icmp => (1, 0),
        PortSpec::Protocol(number) => (number, 0),
    }
}

fn transport(source: IpAddr, rule: &InboundRule, kind: Kind, random: &mut Random) -> Packet {
    let family = Family::of(source);
    let from = 1024 + random.below(60_000) as u16;
    let (protocol, to) = port(rule, random);
    if kind == Kind::Short && random.once_in(2) {
        return raw(6, [0; 12]).into();
    }
    if kind == Kind::Icmp {
        let inner = family.ip(LOCAL, ("20.1.2.3", "2a00::3")) / udp(from, to);
        return match random.below(5) {
            0 => family.echo_reply(from, 1),
            1 => family.port_unreachable() / inner,
            2 => family.too_big(random.of(&[40, 1400])) / inner,
            _ => match family {
                Family::V4 => icmp::message(random.below(20) as u8, 0).body(&[0; 8]).into(),
                Family::V6 => {
                    icmpv6::message(random.of(&[137, 138, 144, 200]), 0).body(&[0; 32]).into()
                }
            },
        };
    }
    match protocol {
        6 if kind == Kind::Flags => {
            let flags = random.of(&[
                flag::SYN | flag::ACK,
                flag::ACK,
                flag::SYN | flag::FIN,
                0,
                flag::RST,
                flag::FIN | flag::PSH | flag::URG,
            ]);
            tcp(from, to).flags(flags) / "data"
        }
        6 => tcp(from, to).syn().into(),
        17 => udp(from, to) / "data",
        132 => sctp(from, to).init().into(),
        1 => family.echo_request(from, 1),
        47 => gre() / raw(0, [0; 8]),
        other => raw(other, [0; 8]).into(),
    }
}

fn datagram(source: IpAddr, kind: Kind, inner: Packet, random: &mut Random) -> Packet {
    let id = random.number();
    let more = random.once_in(2);
    match (source, kind) {
        (IpAddr::V4(source), Kind::Options) => {
            let options: &[u8] = random.of(&[
                &[1; 8][..],
                &[131, 7, 4, 1, 2, 3, 4],
                &[137, 3, 4],
                &[148, 4, 0, 0],
                &[7, 39, 4, 0, 0, 0, 0],
            ]);
            ipv4(source, LOCAL.0).options(options) / inner
        }
        (IpAddr::V4(source), Kind::Fragment) => {
            let offset = if more { 0 } else { 48 };
            let short = more && random.once_in(3);
            let inner = if short { raw(6, [1; 8]).into() } else { inner };
            ipv4(source, LOCAL.0).fragment((id & 3) as u16, offset, more) / inner
        }
        (IpAddr::V4(source), _) => ipv4(source, LOCAL.0) / inner,
        (IpAddr::V6(source), Kind::Options) => {
            let header = ipv6(source, LOCAL.1);
            match random.below(5) {
                0 => header / hop_by_hop() / inner,
                1 => header / hop_by_hop() / destination_options() / inner,
                2 => header / ah() / inner,
                3 => header / routing(["2001:db8:1::9"]) / inner,
                _ => {
                    let options = |packet: Packet, _| packet / destination_options();
                    (0..7 + random.below(4)).fold(Packet::from(header), options) / inner
                }
            }
        }
        (IpAddr::V6(source), Kind::Fragment) => {
            let offset = if more { 0 } else { 48 };
            let short = more && random.once_in(3);
            let inner = if short { raw(6, [1; 8]).into() } else { inner };
            ipv6(source, LOCAL.1) / extension_fragment((id & 3) as u32, offset, more) / inner
        }
        (IpAddr::V6(source), _) => ipv6(source, LOCAL.1) / inner,
    }
}
