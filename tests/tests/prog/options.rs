//! IPv4 options and IPv6 extension headers: looked through, counted, and some refused.

use nsp_common::verdict::{Direction, Reason};
use nsp_tests::{
    packet::{
        Family::{V4, V6},
        Packet,
        Party::{Office, Server, Stranger},
        ah, destination_options, esp, extension_fragment, hop_by_hop, ipv4, ipv6, no_next_header,
        payload, routing, segment_routing, tcp,
    },
    prog::{ENFORCED, Hook, on, transition},
};

const LSRR: [u8; 7] = [131, 7, 4, 198, 51, 100, 9];
const SSRR: [u8; 7] = [137, 7, 4, 198, 51, 100, 9];
const RECORD_ROUTE: [u8; 7] = [7, 7, 4, 0, 0, 0, 0];
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];

#[test]
fn harmless_v4_options_move_the_ports_and_nothing_else() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let full = [&[7, 39, 4][..], &[0; 36], &[0]].concat();
        for options in [
            &[1][..],
            &[1; 40],
            &RECORD_ROUTE,
            &ROUTER_ALERT,
            &full,
            &[0, 131, 7, 4],
            &[&RECORD_ROUTE[..], &[1], &ROUTER_ALERT].concat(),
        ] {
            let port = case.port();
            let ip = |source| ipv4(source, Server).options(options);
            case.inbound(ip(Office) / tcp(port, 5432).syn()).allowed("office");
            case.inbound(ip(Office) / tcp(port, 5433).syn()).refused(Reason::NoRule);
            case.inbound(ip(Stranger) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        }
    });
}

#[test]
fn v4_source_routes_are_dropped_wherever_they_stand() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        for route in [LSRR, SSRR] {
            let padded = [&[1; 33][..], &route].concat();
            for options in
                [&route[..], &padded, &[&ROUTER_ALERT[..], &route].concat(), &[1, route[0]]]
            {
                let port = case.port();
                let ip = ipv4(Office, Server).options(options);
                case.inbound(ip / tcp(port, 5432).syn()).refused(Reason::SourceRoute);
                let ip = ipv4(Server, Office).options(options);
                case.outbound(ip / tcp(port, 443).syn()).refused(Reason::SourceRoute);
            }
        }
    });
}

#[test]
fn v4_options_that_do_not_add_up_are_dropped() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        // A length under two, and one that reaches beyond the header.
        for options in [&[7, 0][..], &[7, 1], &[7, 5, 4, 0], &[148, 255], &[1, 1, 1, 7]] {
            let ip = ipv4(Office, Server).options(options);
            case.inbound(ip / tcp(1, 5432).syn()).refused(Reason::SourceRoute);
        }
    });
}

#[test]
fn transition_lets_source_routes_through_and_tells() {
    on(&[V4], &Hook::ALL, &transition(), |case| {
        let ip = ipv4(Office, Server).options(&LSRR);
        case.inbound(ip / tcp(1, 5432).syn()).would_deny(Reason::SourceRoute);
    });
}

/// Each chain before a SYN to the port.
fn chains() -> Vec<fn() -> Packet> {
    vec![
        || hop_by_hop().into(),
        || destination_options().into(),
        || ah().into(),
        || segment_routing(["2001:db8:1::1"]).into(),
        || routing(["2001:db8:1::9"]).kind(2).segments_left(0).into(),
        || extension_fragment(7, 0, false).into(),
        || hop_by_hop() / destination_options() / ah() / destination_options(),
        || {
            hop_by_hop()
                / segment_routing(["2001:db8:1::1"])
                / extension_fragment(7, 0, false)
                / ah()
        },
        || destination_options().options(&[0x1e, 60]).options(&[0; 60]).into(),
        || ah().icv(&[0; 64]).into(),
    ]
}

#[test]
fn v6_extension_headers_are_walked() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for chain in chains() {
            let port = case.port();
            let ip = |source| ipv6(source, Server);
            case.inbound(ip(Office) / chain() / tcp(port, 5432).syn()).allowed("office");
            case.inbound(ip(Office) / chain() / tcp(port, 5433).syn()).refused(Reason::NoRule);
            case.inbound(ip(Stranger) / chain() / tcp(port, 5432).syn()).refused(Reason::NoRule);
            case.outbound(ipv6(Server, Office) / chain() / tcp(port, 443).syn()).allowed("backups");
        }
    });
}

#[test]
fn eight_v6_headers_are_walked_and_nine_are_too_many() {
    let options =
        |count| (0..count).fold(Packet::default(), |packet, _| packet / destination_options());
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        let ip = || ipv6(Office, Server);
        case.inbound(ip() / options(8) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(ip() / options(9) / tcp(port, 5432).syn()).refused(Reason::TooManyHeaders);
        case.inbound(ip() / options(20) / tcp(port, 5432).syn()).refused(Reason::TooManyHeaders);
    });
}

#[test]
fn v6_header_beyond_the_end_is_dropped() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for packet in [
            ipv6(Office, Server) / hop_by_hop().length(9) / tcp(1, 5432).syn(),
            ipv6(Office, Server) / ah().length(200) / tcp(1, 5432).syn(),
            ipv6(Office, Server).next_header(60) / payload([0; 4]),
        ] {
            case.inbound(packet).refused(Reason::TooManyHeaders);
        }
    });
}

#[test]
fn v6_routing_type_0_is_dropped() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for left in [0, 1] {
            let route = || routing(["2001:db8:1::9"]).segments_left(left);
            let packet = ipv6(Office, Server) / route() / tcp(1, 5432).syn();
            case.inbound(packet).refused(Reason::SourceRoute);
            let packet = ipv6(Office, Server) / hop_by_hop() / route() / tcp(1, 5432).syn();
            case.inbound(packet).refused(Reason::SourceRoute);
            let packet = ipv6(Server, Office) / route() / tcp(1, 443).syn();
            case.outbound(packet).refused(Reason::SourceRoute);
        }
    });
}

#[test]
fn v6_chain_without_ports_goes_by_address() {
    let any_port = ENFORCED.replace("ports = [\"5432/tcp\", \"5432/udp\", \"icmp\"]\n", "");
    on(&[V6], &Hook::ALL, &any_port, |case| {
        // Conversations without ports are told apart by address alone.
        let number = case.port();
        let office = format!("2001:db8:100::{number:x}");
        let ip = || ipv6(office.as_str(), Server);
        case.inbound(ip() / esp() / [0; 16]).allowed("office");
        case.outbound(ipv6(Server, office.as_str()) / esp() / [0; 16])
            .follows("office", Direction::Inbound);
        case.inbound(ip() / no_next_header()).allowed("office");
        case.inbound(ipv6(Stranger, Server) / esp() / [0; 16]).refused(Reason::NoRule);
        case.inbound(ipv6(Stranger, Server) / no_next_header()).refused(Reason::NoRule);
    });
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        case.inbound(ipv6(Office, Server) / esp() / [0; 16]).refused(Reason::NoRule);
        case.inbound(ipv6(Office, Server) / no_next_header()).refused(Reason::NoRule);
    });
}
