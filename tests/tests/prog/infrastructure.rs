//! What keeps a host on its network: DHCP, IGMP, multicast and broadcast.

use nsp_common::verdict::Reason;
use nsp_tests::{
    packet::{
        Family::{V4, V6},
        Party::{Office, Server, Stranger},
        igmp, ipv4, ipv6, raw, tcp, udp,
    },
    prog::{ENFORCED, Hook, everywhere, on},
};

const BROADCAST: &str = "255.255.255.255";

#[test]
fn dhcp_client_traffic_passes_both_ways() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        case.outbound(ipv4("0.0.0.0", BROADCAST) / udp(68, 67) / [1; 240]).ignored(Reason::Dhcp);
        case.inbound(ipv4("192.0.2.254", BROADCAST) / udp(67, 68)).ignored(Reason::Dhcp);
        // The lease is renewed unicast, by a server that may be anywhere.
        case.outbound(ipv4(Server, Stranger) / udp(68, 67)).ignored(Reason::Dhcp);
        case.inbound(ipv4(Stranger, Server) / udp(67, 68)).ignored(Reason::Dhcp);
    });
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        case.outbound(ipv6("fe80::1", "ff02::1:2") / udp(546, 547)).ignored(Reason::Dhcp);
        case.inbound(ipv6("fe80::2", "fe80::1") / udp(547, 546)).ignored(Reason::Dhcp);
        case.outbound(ipv6(Server, Stranger) / udp(546, 547)).ignored(Reason::Dhcp);
        case.inbound(ipv6(Stranger, Server) / udp(547, 546)).ignored(Reason::Dhcp);
    });
}

#[test]
fn ports_near_those_of_dhcp_are_judged() {
    everywhere(ENFORCED, |case| {
        let (client, server) = if case.family == V4 { (68, 67) } else { (546, 547) };
        let (their_client, their_server) = if case.family == V4 { (546, 547) } else { (68, 67) };
        for (from, to) in [
            (client, server),
            (server, server),
            (client, client),
            (server, client + 2),
            (server + 2, client),
            (their_server, their_client),
        ] {
            case.inbound(case.ip(Stranger, Server) / udp(from, to)).refused(Reason::NoRule);
        }
        for (from, to) in [(server, client), (client, client), (their_client, their_server)] {
            case.outbound(case.ip(Server, Stranger) / udp(from, to)).refused(Reason::NoRule);
        }
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / tcp(server, client).syn()).refused(Reason::NoRule);
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / raw(17, [0, 67, 0, 68])).refused(Reason::TruncatedTransport);
    });
}

#[test]
fn igmp_passes() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let ip = |destination: &str| {
            ipv4(Stranger, destination).hop_limit(1).options(&igmp::ROUTER_ALERT)
        };
        case.inbound(ip("224.0.0.1") / igmp::query("0.0.0.0")).ignored(Reason::Igmp);
        case.inbound(ip("224.0.0.251") / igmp::report("224.0.0.251")).ignored(Reason::Igmp);
        case.outbound(ip("224.0.0.2") / igmp::leave("224.0.0.251")).ignored(Reason::Igmp);
    });
    // In IPv6 the number means nothing of the kind.
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        case.inbound(ipv6(Stranger, Server) / raw(2, [0; 8])).refused(Reason::NoRule);
    });
}

#[test]
fn multicast_and_broadcast_destinations_pass() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        for destination in ["224.0.0.0", "224.0.0.251", "239.255.255.255", BROADCAST] {
            case.inbound(ipv4(Stranger, destination) / udp(5353, 5353)).ignored(Reason::Multicast);
            case.outbound(ipv4(Server, destination) / udp(5353, 5353)).ignored(Reason::Multicast);
            // OSPF and VRRP.
            case.inbound(ipv4(Stranger, destination) / raw(89, [0; 24])).ignored(Reason::Multicast);
            case.inbound(ipv4(Stranger, destination) / raw(112, [0; 8])).ignored(Reason::Multicast);
        }
        for near in ["223.255.255.255", "255.255.255.254", "192.0.2.255"] {
            case.inbound(ipv4(Stranger, near) / udp(5353, 5353)).refused(Reason::NoRule);
        }
    });
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for destination in ["ff02::fb", "ff01::1", "ff0e::101"] {
            case.inbound(ipv6(Stranger, destination) / udp(5353, 5353)).ignored(Reason::Multicast);
            case.outbound(ipv6(Server, destination) / udp(5353, 5353)).ignored(Reason::Multicast);
        }
        case.inbound(ipv6(Stranger, "fe80::fb") / udp(5353, 5353)).refused(Reason::NoRule);
    });
}

#[test]
fn unicast_answers_to_multicast_questions_need_a_rule() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let group = ("224.0.0.251", "ff02::fb");
        case.outbound(case.ip(Server, group) / udp(port, 5353)).ignored(Reason::Multicast);
        case.inbound(case.ip(Office, Server) / udp(5353, port)).refused(Reason::NoRule);
    });
}
