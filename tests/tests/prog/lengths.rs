//! Headers that are cut short, and lengths that lie.

use nsp_common::verdict::{Category, Direction, Reason, Verdict};
use nsp_tests::{
    packet::{
        BOTH,
        Family::{V4, V6},
        Packet,
        Party::{Office, Private, Server, Stranger},
        eth, ipv4, ipv6, payload, raw, sctp, tcp, udp,
    },
    prog::{Case, Delta, ENFORCED, Hook, Network, everywhere, on},
};

const LINKED: [Hook; 2] = [Hook::Xdp, Hook::Tc];
/// The shortest frame that the kernel runs a program on.
const SHORTEST: usize = 14;

/// Every prefix of the packet that misses part of a header: all dropped, and each for one of these
/// reasons. Answers how many there were.
fn sweep(case: &mut Case<'_>, packet: &Packet, header_end: usize, reasons: &[Reason]) -> u64 {
    let whole = packet.bytes();
    let _before = case.lab.delta();
    let mut ran = 0;
    for length in SHORTEST..header_end {
        for direction in [Direction::Inbound, Direction::Outbound] {
            // A kernel may refuse to run frames that its own stack would never hand on.
            let Ok(verdict) = case.verdict(&whole[..length], direction) else { continue };
            assert_eq!(verdict, Verdict::Drop, "{packet} cut to {length} {direction:?}");
            ran += 1;
        }
    }
    let delta = case.lab.delta();
    let dropped: u64 = reasons
        .iter()
        .flat_map(|reason| {
            [format!("Inbound Drop {reason:?}"), format!("Outbound Drop {reason:?}")]
        })
        .filter_map(|name| delta.get(&name))
        .map(|(packets, _)| packets)
        .sum();
    assert_eq!(dropped, ran, "{packet}: {delta:?}");
    let (records, _) = case.lab.records();
    let recorded: u64 = records.iter().map(|(_, record)| record.packets).sum();
    assert_eq!(recorded, ran, "{packet}: every drop is recorded");
    ran
}

#[test]
fn cut_at_every_byte_never_passes() {
    on(&BOTH, &Hook::ALL, ENFORCED, |case| {
        let link = if case.hook == Hook::Bare { Packet::default() } else { eth().into() };
        let header = link.bytes().len() + case.family.header_length();
        let bad = if case.family == V4 { Reason::BadIpv4 } else { Reason::BadIpv6 };
        let mut ran = 0;
        for transport in [
            Packet::from(tcp(4000, 5432).syn()),
            udp(4000, 5432).into(),
            sctp(4000, 5432).init().into(),
            case.family.echo_request(7, 1),
        ] {
            let end = header + transport.bytes().len();
            let packet = link.clone() / case.ip(Office, Server) / transport;
            ran += sweep(case, &packet, end, &[bad]);
        }
        assert!(ran > 100, "only {ran} frames ran");
    });
}

#[test]
fn cut_with_a_length_that_admits_it_never_passes() {
    on(&BOTH, &Hook::ALL, ENFORCED, |case| {
        let header = case.family.header_length();
        for (transport, least) in [
            (Packet::from(tcp(4000, 5432).syn()), 20),
            (udp(4000, 5432).into(), 8),
            (sctp(4000, 5432).into(), 12),
            (case.family.echo_request(7, 1), 8),
        ] {
            let bytes = transport.bytes();
            let protocol = case.ip(Office, Server) / transport.clone();
            let protocol = protocol.bytes()[if case.family == V4 { 9 } else { 6 }];
            for length in 0..least {
                let cut = raw(protocol, &bytes[..length]);
                let packet = Packet::from(case.ip(Office, Server)) / cut;
                assert_eq!(packet.bytes().len(), header + length);
                case.inbound(packet).refused(Reason::TruncatedTransport);
            }
        }
    });
}

#[test]
fn longest_allowed_cut_is_the_whole_header() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(Office, Server) / udp(port, 5432)).allowed("office");
    });
}

#[test]
fn version_and_header_length_must_agree() {
    on(&[V4], &LINKED, ENFORCED, |case| {
        for version in [0, 3, 5, 6, 15] {
            let ip = ipv4(Office, Server).version(version);
            case.inbound(ip / tcp(1, 5432).syn()).refused(Reason::BadIpv4);
        }
        for words in [0, 1, 4, 11, 15] {
            // 11 and 15 words reach beyond the end of the datagram.
            let ip = ipv4(Office, Server).ihl(words);
            case.inbound(ip / tcp(1, 5432).syn()).refused(Reason::BadIpv4);
        }
    });
    on(&[V6], &LINKED, ENFORCED, |case| {
        for version in [0, 4, 5, 7, 15] {
            let ip = ipv6(Office, Server).version(version);
            case.inbound(ip / tcp(1, 5432).syn()).refused(Reason::BadIpv6);
        }
    });
}

#[test]
fn header_length_moves_the_ports() {
    // Six words: the first word of "TCP" is options, and the ports come after it.
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        let hidden = payload([1, 1, 1, 1]);
        let ip = || ipv4(Office, Server).ihl(6).protocol(6);
        case.inbound(ip() / hidden.clone() / tcp(port, 5432).syn()).allowed("office");
        case.inbound(ip() / hidden / tcp(port, 5433).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn total_length_rules_and_padding_does_not_count() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let syn = case.ip(Office, Server) / tcp(port, 5432).syn();
        case.inbound(syn.pad(6)).allowed("office");
        // The frame holds a whole TCP header, the datagram does not.
        let least = if case.family == V4 { 20 } else { 0 };
        for length in [1, 8, 19] {
            let ip = case.ip(Office, Server).length(least + length);
            case.inbound(ip / tcp(port, 5432).syn()).refused(Reason::TruncatedTransport);
        }
        let bad = if case.family == V4 { Reason::BadIpv4 } else { Reason::BadIpv6 };
        for length in [21, 22, 1000, u16::MAX - least] {
            let ip = case.ip(Office, Server).length(least + length);
            case.inbound(ip / tcp(port, 5432).syn()).refused(bad);
        }
    });
    on(&[V4], &LINKED, ENFORCED, |case| {
        for length in [1, 19] {
            let ip = ipv4(Office, Server).total_length(length);
            case.inbound(ip / tcp(1, 5432).syn()).refused(Reason::BadIpv4);
        }
    });
}

#[test]
fn zero_length_of_a_packet_that_is_not_big_is_a_lie() {
    // Only what is longer than the field holds may say zero, and a test run takes no such frame.
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let lie = if case.family == V4 { Reason::BadIpv4 } else { Reason::TruncatedTransport };
        let ip = case.ip(Office, Server).length(0);
        case.inbound(ip / tcp(port, 5432).syn()).refused(lie);
        let ip = case.ip(Server, Office).length(0);
        case.outbound(ip / tcp(port, 443).syn()).refused(lie);
    });
}

#[test]
fn private_peers_pass_by_address_however_broken() {
    everywhere(ENFORCED, |case| {
        case.by(Network::Private);
        let cut = raw(6, [0; 3]);
        case.inbound(Packet::from(case.ip(Private, Server)) / cut)
            .passes(Reason::Private, Category::PrivateInboundAllowed);
    });
}

#[test]
fn frames_of_every_length_are_counted_whole() {
    on(&[V4], &LINKED, ENFORCED, |case| {
        let _before = case.lab.delta();
        let mut bytes = 0;
        for length in [0_usize, 1, 100, 1400, 3000] {
            let packet = eth() / ipv4(Stranger, Server) / udp(1, 2) / vec![0; length];
            bytes += packet.bytes().len() as u64;
            let ran = case.verdict(&packet.bytes(), Direction::Inbound);
            assert_eq!(ran.expect("it runs"), Verdict::Drop);
        }
        let delta = case.lab.delta();
        let expected = Delta::from([
            ("Inbound Drop NoRule".to_owned(), (5, bytes)),
            ("PublicInboundPerimeterRulesDenied".to_owned(), (5, bytes)),
        ]);
        assert_eq!(delta, expected);
    });
}
