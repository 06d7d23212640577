//! Protocols beside TCP, UDP and ICMP: SCTP by port, the others by address.

use nsp_common::verdict::{Direction, Reason};
use nsp_tests::{
    packet::{
        Family::V4,
        Packet,
        Party::{Office, Server, Stranger},
        ah, esp, eth, gre, ipv4, raw, sctp, tcp, udp, udp_lite, vxlan,
    },
    prog::{Case, everywhere},
};

/// A range to take addresses from: conversations without ports are told apart by address alone.
const POLICY: &str = r#"
[perimeter]
name = "lab"
[profile.p.inbound.bench]
address_prefixes = ["198.18.0.0/15", "2001:db8:300::/40"]
ports = ["36412/sctp", "proto/47", "proto/50", "proto/136", "proto/51"]
[profile.p.inbound.tunnels]
address_prefixes = ["203.0.113.0/24", "2001:db8:200::/40"]
ports = ["4789/udp", "proto/4", "proto/41"]
[profile.p.outbound.bench]
address_prefixes = ["198.18.0.0/15", "2001:db8:300::/40"]
ports = ["36412/sctp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

/// A peer that no conversation was held with before.
fn fresh_peer(case: &mut Case<'_>) -> (String, String) {
    let [high, low] = case.port().to_be_bytes();
    (format!("198.18.{high}.{low}"), format!("2001:db8:300::{high:x}{low:02x}"))
}

#[test]
fn sctp_goes_by_port() {
    everywhere(POLICY, |case| {
        let (v4, v6) = fresh_peer(case);
        let peer = (v4.as_str(), v6.as_str());
        let port = case.port();
        case.inbound(case.ip(peer, Server) / sctp(port, 36412).init()).allowed("bench");
        case.outbound(case.ip(Server, peer) / sctp(36412, port).chunk(2, &[0; 16]))
            .follows("bench", Direction::Inbound);
        case.inbound(case.ip(peer, Server) / sctp(port, 36413).init()).refused(Reason::NoRule);
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / sctp(port, 36412).init()).refused(Reason::NoRule);
        let port = case.port();
        case.outbound(case.ip(Server, peer) / sctp(port, 36412).init()).allowed("bench");
        case.inbound(case.ip(peer, Server) / sctp(36412, port).chunk(2, &[0; 16]))
            .follows("bench", Direction::Outbound);
    });
}

#[test]
fn portless_protocols_go_by_address() {
    everywhere(POLICY, |case| {
        let protocols: [fn() -> Packet; 3] =
            [|| gre() / raw(0, [0; 20]), || esp() / [0; 32], || udp_lite(1, 2) / "x"];
        for protocol in protocols {
            let (v4, v6) = fresh_peer(case);
            let peer = (v4.as_str(), v6.as_str());
            case.inbound(case.ip(peer, Server) / protocol()).allowed("bench");
            case.outbound(case.ip(Server, peer) / protocol()).follows("bench", Direction::Inbound);
            case.inbound(case.ip(Stranger, Server) / protocol()).refused(Reason::NoRule);
            case.outbound(case.ip(Server, Stranger) / protocol()).refused(Reason::NoRule);
            case.inbound(case.ip(Office, Server) / protocol()).refused(Reason::NoRule);
        }
        // A protocol beside the listed ones, and a conversation of one protocol under another.
        let (v4, v6) = fresh_peer(case);
        let peer = (v4.as_str(), v6.as_str());
        case.inbound(case.ip(peer, Server) / gre() / raw(0, [0; 20])).allowed("bench");
        case.outbound(case.ip(Server, peer) / raw(48, [0; 20])).refused(Reason::NoRule);
        case.inbound(case.ip(peer, Server) / raw(46, [0; 20])).refused(Reason::NoRule);
        case.inbound(case.ip(peer, Server) / raw(255, [0; 20])).refused(Reason::NoRule);
    });
}

#[test]
fn authentication_header_is_a_protocol_in_v4_and_looked_through_in_v6() {
    everywhere(POLICY, |case| {
        let (v4, v6) = fresh_peer(case);
        let peer = (v4.as_str(), v6.as_str());
        let port = case.port();
        let packet = case.ip(peer, Server) / ah() / tcp(port, 80).syn();
        if case.family == V4 {
            case.inbound(packet).allowed("bench");
        } else {
            case.inbound(packet).refused(Reason::NoRule);
        }
    });
}

#[test]
fn tunnels_are_judged_by_their_outer_addresses() {
    let tunnel_peer = ("203.0.113.5", "2001:db8:200::5");
    everywhere(POLICY, |case| {
        let port = case.port();
        let inner = || ipv4(Stranger, Server) / tcp(1, 22).syn();
        let vxlan = || udp(port, 4789) / vxlan(5) / eth() / inner();
        case.inbound(case.ip(tunnel_peer, Server) / vxlan()).allowed("tunnels");
        case.inbound(case.ip(Stranger, Server) / vxlan()).refused(Reason::NoRule);
        // IP in IP: what an inner header says of itself changes nothing.
        let from_allowed = || ipv4("203.0.113.5", Server) / tcp(1, 22).syn();
        case.inbound(case.ip(Stranger, Server) / from_allowed()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / gre() / from_allowed()).refused(Reason::NoRule);
    });
}
