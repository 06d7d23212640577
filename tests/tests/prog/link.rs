//! The link header: what is not IP, and VLAN tags.

use nsp_common::verdict::{Direction, Reason};
use nsp_tests::{
    packet::{
        BOTH, BROADCAST,
        Family::V4,
        Packet,
        Party::{Office, Private, Server, Stranger},
        arp_reply, arp_request, eth, llc, payload, service_vlan, tcp, vlan,
    },
    prog::{Case, ENFORCED, Hook, on},
};

const LINKED: [Hook; 2] = [Hook::Xdp, Hook::Tc];

fn both_ways(case: &mut Case<'_>, frame: &Packet, reason: Reason) {
    case.frame(frame, Direction::Inbound).ignored(reason);
    case.frame(frame, Direction::Outbound).ignored(reason);
}

#[test]
fn what_is_not_ip_passes() {
    on(&[V4], &LINKED, ENFORCED, |case| {
        let ask = arp_request(Stranger, Server);
        both_ways(case, &(eth().dst(BROADCAST) / ask.clone()).pad_to(60), Reason::NotIp);
        let tell = arp_reply(Private, Server);
        both_ways(case, &(eth() / tell.clone()).pad_to(60), Reason::NotIp);
        both_ways(case, &(eth() / tell.reverse()).pad_to(60), Reason::NotIp);
        both_ways(case, &(eth() / vlan(5) / ask).pad_to(60), Reason::NotIp);
        // Spanning tree, LLDP, PPPoE, an unknown type.
        both_ways(case, &(eth() / llc(0x42, 0x42) / payload([0; 35])).pad_to(60), Reason::NotIp);
        for ethertype in [0x88cc, 0x8864, 0x88b5, 0x0801, 0x86dc, 0x0700] {
            let frame = (eth().ethertype(ethertype) / payload([0x45; 46])).pad_to(60);
            both_ways(case, &frame, Reason::NotIp);
        }
    });
}

#[test]
fn one_and_two_tags_are_looked_through() {
    on(&BOTH, &LINKED, ENFORCED, |case| {
        let stacks: [fn() -> Packet; 4] = [
            || eth() / vlan(5),
            || eth() / vlan(0).priority(7),
            || eth() / service_vlan(5) / vlan(6),
            || eth() / vlan(5).tag_type(0x9100) / vlan(6),
        ];
        for stack in stacks {
            let port = case.port();
            let allowed = stack() / case.ip(Office, Server) / tcp(port, 5432).syn();
            case.frame(&allowed, Direction::Inbound).allowed("office");
            let denied = stack() / case.ip(Stranger, Server) / tcp(port, 5432).syn();
            case.frame(&denied, Direction::Inbound).refused(Reason::NoRule);
            let denied = stack() / case.ip(Server, Stranger) / tcp(port, 443).syn();
            case.frame(&denied, Direction::Outbound).refused(Reason::NoRule);
        }
    });
}

#[test]
fn three_tags_are_dropped_whatever_they_carry() {
    on(&BOTH, &LINKED, ENFORCED, |case| {
        let three = || eth() / service_vlan(5) / vlan(6) / vlan(7);
        for source in [Office, Stranger, Private] {
            let frame = three() / case.ip(source, Server) / tcp(1, 5432).syn();
            case.frame(&frame, Direction::Inbound).refused_unread(Reason::TooManyTags);
        }
        let frame = three() / arp_request(Stranger, Server);
        case.frame(&frame, Direction::Inbound).refused_unread(Reason::TooManyTags);
        let frame = three() / case.ip(Server, Office) / tcp(1, 443).syn();
        case.frame(&frame, Direction::Outbound).refused_unread(Reason::TooManyTags);
    });
}

#[test]
fn tag_without_room_for_its_type_is_dropped() {
    on(&[V4], &[Hook::Xdp], ENFORCED, |case| {
        let tagged = eth() / vlan(5) / case.ip(Office, Server) / tcp(1, 5432).syn();
        for length in 14..18 {
            let frame = tagged.clone().truncate(length);
            case.frame(&frame, Direction::Inbound).refused_unread(Reason::TruncatedLink);
        }
        let frame = tagged.truncate(18);
        case.frame(&frame, Direction::Inbound).refused_unread(Reason::BadIpv4);
    });
}

#[test]
fn device_without_link_headers_goes_by_the_first_nibble() {
    on(&BOTH, &[Hook::Bare], ENFORCED, |case| {
        for first in [0x00, 0x15, 0x50, 0x70, 0xff] {
            let frame = Packet::from(payload([first; 60]));
            case.frame(&frame, Direction::Inbound).ignored(Reason::NotIp);
            case.frame(&frame, Direction::Outbound).ignored(Reason::NotIp);
        }
        // Four and six promise an IP header; what is not one is no longer "not IP".
        let frame = Packet::from(payload([0x45; 16])) / payload([0xc6, 51, 100, 7]);
        case.frame(&frame, Direction::Inbound).refused(Reason::BadIpv4);
        let frame = Packet::from(payload([0x60; 30]));
        case.frame(&frame, Direction::Inbound).refused_unread(Reason::BadIpv6);
    });
}
