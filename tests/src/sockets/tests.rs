//! The tools against the kernel's own stack, which accepts right packets and drops wrong ones.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::*;
use crate::{
    netns::World,
    packet::{
        BOTH, Family, Packet, Party, eth, fragments, hop_by_hop, ipv4, ipv6, service_vlan, tcp,
        udp, vlan,
    },
};

const SOON: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_millis(200);

fn at(party: Party, family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(party.address(family), port)
}

fn world() -> World {
    World::builder().clients(&[Party::Stranger]).build()
}

#[test]
fn privileged_connection_stays_usable_and_counts_no_retransmission() {
    let world = world();
    for family in BOTH {
        let server = EchoServer::tcp(world.server(), at(Party::Server, family, 0));
        let from = at(Party::Stranger, family, 40000);
        let stream = tcp_open(world.host(Party::Stranger), from, server.address(), SOON).unwrap();
        assert_eq!(stream.local_addr().unwrap().port(), 40000);
        assert!(still_echoes(&stream));
        assert!(still_echoes(&stream));
        let counters = tcp_counters(&stream);
        assert_eq!((counters.retransmitted_total, counters.retransmits_now), (0, 0));
        assert!(!counters.round_trip.is_zero());
        assert_eq!(server.served(), Served { arrivals: 1, bytes: 24 });
        drop(server);
        assert!(!still_echoes(&stream), "the server is gone");
    }
}

#[test]
fn privileged_lost_syn_is_counted_as_a_retransmission() {
    let world = world();
    let server = EchoServer::tcp(world.server(), at(Party::Server, Family::V4, 0));
    let open = || {
        let from = at(Party::Stranger, Family::V4, 0);
        tcp_open(world.host(Party::Stranger), from, server.address(), 2 * SOON)
    };
    assert!(open().is_ok(), "neighbours are known");
    world.router().ip("link set dev to-server down");
    let stream = std::thread::scope(|scope| {
        let stream = scope.spawn(open);
        std::thread::sleep(SILENCE);
        world.router().ip("link set dev to-server up");
        stream.join().unwrap().unwrap()
    });
    assert!(tcp_counters(&stream).retransmitted_total >= 1);
}

#[test]
fn privileged_outcomes_tell_silence_refusal_and_no_way_apart() {
    let world = world();
    let stranger = world.host(Party::Stranger);
    let try_it = |to: &str| {
        let to: SocketAddr = to.parse().unwrap();
        let from = at(Party::Stranger, Family::of(to.ip()), 0);
        tcp_connect(stranger, from, to, Duration::from_millis(300))
    };
    assert_eq!(try_it("192.0.2.1:1"), Outcome::Refused);
    world.router().ip("route add blackhole 203.0.113.0/24");
    world.router().ip("route add blackhole 2001:db8:100::/40");
    stranger.ip("route add unreachable 203.0.113.99/32");
    stranger.ip("route add prohibit 203.0.113.98/32");
    assert_eq!(try_it("203.0.113.5:80"), Outcome::TimedOut);
    assert_eq!(try_it("[2001:db8:100::5]:80"), Outcome::TimedOut);
    assert_eq!(try_it("203.0.113.99:80"), Outcome::Unreachable);
    assert_eq!(try_it("203.0.113.98:80"), Outcome::PermissionDenied);
}

#[test]
fn privileged_datagram_is_answered_or_refused() {
    let world = world();
    let stranger = world.host(Party::Stranger);
    for family in BOTH {
        let server = EchoServer::udp(world.server(), at(Party::Server, family, 5353));
        let from = at(Party::Stranger, family, 0);
        let ask = |to| udp_exchange(stranger, from, to, b"hello", SOON);
        assert_eq!(ask(server.address()), Outcome::Answered);
        assert_eq!(ask(at(Party::Server, family, 5354)), Outcome::Refused);
        assert_eq!(server.served(), Served { arrivals: 1, bytes: 5 });
    }
}

#[test]
fn privileged_echo_request_keeps_its_identifier() {
    let world = world();
    let tap = FrameListener::open(world.server(), "up0");
    for family in BOTH {
        let (from, to): (IpAddr, IpAddr) =
            (Party::Stranger.address(family), Party::Server.address(family));
        assert_eq!(ping(world.host(Party::Stranger), from, to, 0xbeef, SOON), Outcome::Answered);
        let at = 14 + family.header_length() + 4;
        let request = |frame: &[u8]| frame.get(at..at + 2) == Some(&[0xbe, 0xef]);
        assert!(tap.next(SOON, request).is_some());
        world.server().sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        world.server().sysctl("net.ipv6.icmp.echo_ignore_all", "1");
        let silent = ping(world.host(Party::Stranger), from, to, 1, SILENCE);
        assert_eq!(silent, Outcome::TimedOut);
        world.server().sysctl("net.ipv4.icmp_echo_ignore_all", "0");
        world.server().sysctl("net.ipv6.icmp.echo_ignore_all", "0");
    }
}

#[test]
fn privileged_listener_outlives_a_link_that_goes_down() {
    let world = world();
    let listener = FrameListener::open(world.server(), "up0");
    world.server().ip("link set dev up0 down\nlink set dev up0 up");
    world.settle();
    world.wire().send(eth() / ipv4(Party::Stranger, Party::Server) / udp(1, 2) / "again");
    assert!(listener.next(SOON, |frame| frame.ends_with(b"again")).is_some());
}

/// Whether the server's stack accepts a datagram with this mark in it.
fn accepted(world: &World, family: Family, protocol: u8, frames: &[Packet]) -> bool {
    let delivered = Delivered::open(world.server(), family, protocol);
    let wire = world.wire();
    for frame in frames {
        wire.send(frame);
    }
    delivered.arrives(SILENCE, |datagram| datagram.ends_with(b"marked"))
}

#[test]
fn privileged_kernel_accepts_what_is_right_and_drops_the_lie() {
    let world = world();
    let v4 = || ipv4(Party::Stranger, Party::Server);
    let v6 = || ipv6(Party::Stranger, Party::Server);
    let cases = [
        (Family::V4, eth() / v4() / udp(1, 2) / "marked", true),
        (Family::V4, eth() / v4().options(&[1; 8]) / udp(1, 2) / "marked", true),
        (Family::V4, eth() / v4().bad_checksum() / udp(1, 2) / "marked", false),
        (Family::V4, eth() / v4().version(5) / udp(1, 2) / "marked", false),
        (Family::V4, eth() / v4().ihl(4) / udp(1, 2) / "marked", false),
        (Family::V4, eth() / v4().total_length(99) / udp(1, 2) / "marked", false),
        (Family::V6, eth() / v6() / udp(1, 2) / "marked", true),
        (Family::V6, eth() / v6() / hop_by_hop() / udp(1, 2) / "marked", true),
        (Family::V6, eth() / v6() / hop_by_hop().length(9) / udp(1, 2) / "marked", false),
        (Family::V6, eth() / v6().version(4) / udp(1, 2) / "marked", false),
        (Family::V6, eth() / v6().payload_length(99) / udp(1, 2) / "marked", false),
    ];
    for (family, frame, expected) in cases {
        let label = format!("{frame} {:02x?}", &frame.bytes()[14..]);
        assert_eq!(accepted(&world, family, 17, &[frame]), expected, "{label}");
    }
}

#[test]
fn privileged_kernel_checks_the_sums_of_transports_as_we_do() {
    let world = world();
    for family in BOTH {
        let server = EchoServer::udp(world.server(), at(Party::Server, family, 5353));
        let send = |datagram: Packet| {
            world.wire().send(eth() / family.ip(Party::Stranger, Party::Server) / datagram);
        };
        send(udp(4000, 5353) / "odd");
        send(udp(4000, 5353).bad_checksum() / "odd");
        send(udp(4000, 5353) / "even");
        server.served_after(2, SOON);
        std::thread::sleep(SILENCE);
        assert_eq!(server.served(), Served { arrivals: 2, bytes: 7 }, "{family:?}");
        // A SYN with a right sum is answered, one with a wrong sum is not.
        let tap = world.tap();
        let offset = 14 + family.header_length();
        let reset = |frame: &[u8]| frame.get(offset + 13) == Some(&0x14);
        send(tcp(4000, 1).syn().bad_checksum().into());
        assert_eq!(tap.count(SILENCE, reset), 0);
        send(tcp(4000, 1).syn().into());
        assert!(tap.next(SOON, reset).is_some(), "{family:?}");
    }
}

#[test]
fn privileged_kernel_joins_our_fragments() {
    let world = world();
    for family in BOTH {
        let between = (Party::Stranger, Party::Server);
        let datagram = udp(4000, 5353) / [0; 2000] / "marked";
        let pieces = fragments(family, between, 77, datagram, 1000);
        let frames: Vec<_> = pieces.into_iter().map(|piece| eth() / piece).collect();
        assert_eq!(frames.len(), 3);
        assert!(!accepted(&world, family, 17, &frames[..2]), "a piece is missing");
        assert!(accepted(&world, family, 17, &frames), "{family:?}");
    }
}

#[test]
fn privileged_listener_shows_tags_as_they_were_on_the_wire() {
    let world = world();
    let listener = FrameListener::open(world.server(), "up0");
    let datagram = || ipv4(Party::Stranger, Party::Server) / udp(1, 2) / "tagged";
    for frame in [
        eth() / vlan(10).priority(3) / datagram(),
        eth() / service_vlan(20) / vlan(10) / datagram(),
        eth() / datagram(),
    ] {
        world.wire().send(&frame);
        let seen = listener.next(SOON, |seen| seen.ends_with(b"tagged"));
        assert_eq!(seen, Some(frame.bytes()), "{frame}");
    }
}

#[test]
fn privileged_listener_counts_what_is_wanted_only() {
    let world = world();
    let listener = FrameListener::open(world.server(), "up0");
    let wire = world.wire().bypass_queueing();
    for mark in ["a", "b", "a"] {
        wire.send(eth() / ipv4(Party::Stranger, Party::Server) / udp(1, 2) / mark);
    }
    assert_eq!(listener.count(SILENCE, |frame| frame.ends_with(b"a")), 2);
}
