//! Sources that cannot be.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{
        Family::{V4, V6},
        Party::{Server, Stranger},
        ipv4, ipv6, tcp, udp,
    },
    prog::{ENFORCED, Hook, Network, everywhere, on, transition},
};

#[test]
fn v4_martians_are_dropped_and_their_neighbours_are_judged() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        for martian in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.1",
            "0.255.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
        ] {
            case.inbound(ipv4(martian, Server) / tcp(port, 5432).syn()).refused(Reason::Martian);
            case.inbound(ipv4(martian, Server) / udp(port, 5432)).refused(Reason::Martian);
        }
        for neighbour in ["126.255.255.255", "128.0.0.1", "1.0.0.0", "223.255.255.255"] {
            case.inbound(ipv4(neighbour, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        }
    });
}

#[test]
fn v6_martians_are_dropped_and_their_neighbours_are_judged() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        for martian in
            ["::1", "ff02::1", "ff0e::1", "::ffff:198.51.100.7", "::ffff:127.0.0.1", "::"]
        {
            case.inbound(ipv6(martian, Server) / tcp(port, 5432).syn()).refused(Reason::Martian);
        }
        for neighbour in ["::2", "::fffe:198.51.100.7", "::1:ffff:198.51.100.7", "2001:db8:5::7"] {
            case.inbound(ipv6(neighbour, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        }
    });
}

#[test]
fn mapped_addresses_of_allowed_peers_are_not_those_peers() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        let office = "::ffff:203.0.113.5";
        case.inbound(ipv6(office, Server) / tcp(port, 5432).syn()).refused(Reason::Martian);
        case.inbound(ipv6(Stranger, "::ffff:192.0.2.1") / tcp(port, 5432).syn())
            .refused(Reason::Martian);
        case.outbound(ipv6(Server, office) / tcp(port, 443).syn()).refused(Reason::Martian);
    });
}

#[test]
fn source_that_is_the_destination_is_a_land_attack() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let ip = case.ip(Server, Server);
        case.inbound(ip / tcp(port, port).syn()).refused(Reason::Martian);
        case.by(Network::Private);
        let private = ("10.0.0.1", "fd00:10::1");
        case.inbound(case.ip(private, private) / tcp(22, 22).syn()).refused(Reason::Martian);
        // The host may talk to itself by way of a device.
        case.outbound(case.ip(private, private) / tcp(port, 22).syn()).ignored(Reason::Private);
    });
}

#[test]
fn martians_come_before_infrastructure() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        case.inbound(ipv4("127.0.0.1", "224.0.0.251") / udp(5353, 5353)).refused(Reason::Martian);
        case.inbound(ipv4("240.0.0.9", Server) / udp(67, 68)).refused(Reason::Martian);
    });
}

#[test]
fn transition_lets_martians_through_and_tells() {
    on(&[V4], &Hook::ALL, &transition(), |case| {
        case.inbound(ipv4("127.0.0.1", Server) / tcp(1, 5432).syn())
            .passes(Reason::Martian, Category::PublicInboundResourceRulesAllowed);
    });
}
