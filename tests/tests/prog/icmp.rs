//! ICMP: echo, errors about conversations, and what nobody should send.

use nsp_common::verdict::{Category, Direction, Reason, Verdict};
use nsp_tests::{
    packet::{
        Family::{self, V4, V6},
        Packet,
        Party::{Office, Private, Server, Stranger},
        eth, extension_fragment, icmp, icmpv6, ipv4, ipv6, tcp, udp,
    },
    prog::{Case, ENFORCED, Hook, MIRROR, Network, everywhere, on, transition},
};

use crate::tcp::{open_inbound, open_outbound};

const INBOUND: Category = Category::PublicInboundPerimeterRulesAllowed;
const OUTBOUND: Category = Category::PublicOutboundPerimeterRulesAllowed;

/// A router on the way, whom no rule names.
const ROUTER: (&str, &str) = ("198.51.100.1", "2001:db8:5::1");

/// A packet of the conversation that the server opened from `port`.
fn call(family: Family, port: u16) -> Packet {
    family.ip(Server, Office) / tcp(port, 443).ack()
}

/// "Too big" from the router to the server, with the first `length` bytes of a packet.
fn too_big_quoting(family: Family, packet: Packet, length: usize) -> Packet {
    match family {
        V4 => ipv4(ROUTER.0, Server) / icmp::fragmentation_needed(1400).quoting(packet, length),
        V6 => ipv6(ROUTER.1, Server) / icmpv6::packet_too_big(1400).quoting(packet, length),
    }
}

#[test]
fn echo_request_needs_a_rule_and_its_reply_does_not() {
    everywhere(ENFORCED, |case| {
        let id = case.port();
        case.inbound(case.ip(Office, Server) / case.family.echo_request(id, 1)).allowed("office");
        case.outbound(case.ip(Server, Office) / case.family.echo_reply(id, 1))
            .follows("office", Direction::Inbound);
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / case.family.echo_request(id, 1)).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Stranger) / case.family.echo_reply(id, 1))
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
        case.inbound(case.ip(MIRROR, Server) / case.family.echo_request(id, 1))
            .refused(Reason::NoRule);
    });
}

#[test]
fn echo_reply_passes_for_its_own_identifier_only() {
    everywhere(ENFORCED, |case| {
        let (id, other) = (case.port(), case.port());
        for (peer, rule) in [(MIRROR, "mirror"), (("203.0.113.5", "2001:db8:100::5"), "backups")] {
            case.outbound(case.ip(Server, peer) / case.family.echo_request(id, 1)).allowed(rule);
            for sequence in [1, 2, 7] {
                case.inbound(case.ip(peer, Server) / case.family.echo_reply(id, sequence))
                    .follows(rule, Direction::Outbound);
            }
            // Not even where a rule lets the peer ping: a reply follows its request or nothing.
            case.inbound(case.ip(peer, Server) / case.family.echo_reply(other, 1))
                .refused(Reason::NoFlow);
        }
        case.inbound(case.ip(Stranger, Server) / case.family.echo_reply(id, 1))
            .refused(Reason::NoFlow);
        // A request with the identifier of the host's own is a request all the same.
        case.inbound(case.ip(MIRROR, Server) / case.family.echo_request(id, 1))
            .refused(Reason::NoRule);
    });
}

#[test]
fn error_from_a_router_about_an_open_conversation_passes() {
    everywhere(ENFORCED, |case| {
        let family = case.family;
        let port = open_outbound(case);
        for error in [family.too_big(1400), family.time_exceeded(), family.port_unreachable()] {
            let about = case.ip(Server, Office) / tcp(port, 443).ack();
            case.inbound(case.ip(ROUTER, Server) / error / about).passes_by(
                "backups",
                Reason::Related,
                OUTBOUND,
            );
        }
        let port = open_inbound(case);
        let about = case.ip(Server, Office) / tcp(5432, port).ack();
        case.inbound(case.ip(ROUTER, Server) / family.too_big(1400) / about).passes_by(
            "office",
            Reason::Related,
            INBOUND,
        );
        let port = case.port();
        case.outbound(case.ip(Server, MIRROR) / udp(port, 123)).allowed("mirror");
        let about = case.ip(Server, MIRROR) / udp(port, 123);
        case.inbound(case.ip(MIRROR, Server) / family.port_unreachable() / about).passes_by(
            "mirror",
            Reason::Related,
            OUTBOUND,
        );
        case.outbound(case.ip(Server, MIRROR) / family.echo_request(port, 1)).allowed("mirror");
        let about = case.ip(Server, MIRROR) / family.echo_request(port, 1);
        case.inbound(case.ip(ROUTER, Server) / family.time_exceeded() / about).passes_by(
            "mirror",
            Reason::Related,
            OUTBOUND,
        );
    });
}

#[test]
fn error_about_no_conversation_is_refused() {
    everywhere(ENFORCED, |case| {
        let family = case.family;
        let (port, other) = (open_outbound(case), case.port());
        let error = || family.too_big(1400);
        for about in [
            case.ip(Server, Office) / tcp(other, 443).ack(),
            case.ip(Server, Office) / tcp(port, 444).ack(),
            case.ip(Server, Stranger) / tcp(port, 443).ack(),
            case.ip(Server, Office) / udp(port, 443),
            // The wrong way round: the peer's packet would not be answered to this host.
            case.ip(Office, Server) / tcp(443, port).ack(),
        ] {
            case.inbound(case.ip(ROUTER, Server) / error() / about).refused(Reason::IcmpUnrelated);
        }
    });
}

#[test]
fn error_to_another_address_than_the_sender_of_its_inner_packet_is_refused() {
    everywhere(ENFORCED, |case| {
        let port = open_outbound(case);
        let elsewhere = ("192.0.2.2", "2001:db8:1::2");
        let family = case.family;
        case.inbound(case.ip(ROUTER, elsewhere) / family.too_big(1400) / call(family, port))
            .refused(Reason::IcmpUnrelated);
        case.inbound(case.ip(ROUTER, Server) / family.too_big(1400) / call(family, port))
            .passes_by("backups", Reason::Related, OUTBOUND);
    });
}

#[test]
fn impossible_mtu_is_refused_even_about_an_open_conversation() {
    everywhere(ENFORCED, |case| {
        let family = case.family;
        let port = open_outbound(case);
        let least = if family == V4 { 68 } else { 1280 };
        for mtu in [0, 1, least - 1] {
            let about = call(family, port);
            case.inbound(case.ip(ROUTER, Server) / family.too_big(mtu) / about)
                .refused(Reason::IcmpBadMtu);
        }
        for mtu in [least, 1500, u16::MAX] {
            let about = call(family, port);
            case.inbound(case.ip(ROUTER, Server) / family.too_big(mtu) / about).passes_by(
                "backups",
                Reason::Related,
                OUTBOUND,
            );
        }
        // Only the message that carries an MTU is held against it.
        let about = call(family, port);
        case.inbound(case.ip(ROUTER, Server) / family.time_exceeded() / about).passes_by(
            "backups",
            Reason::Related,
            OUTBOUND,
        );
    });
}

#[test]
fn eight_bytes_of_the_inner_transport_are_enough_and_seven_are_not() {
    everywhere(ENFORCED, |case| {
        let family = case.family;
        let port = open_outbound(case);
        let enough = family.header_length() + 8;
        for length in [enough, enough + 1, enough + 12] {
            let error = too_big_quoting(family, call(family, port), length);
            case.inbound(error).passes_by("backups", Reason::Related, OUTBOUND);
        }
        for length in [0, 1, family.header_length(), enough - 1] {
            let error = too_big_quoting(family, call(family, port), length);
            case.inbound(error).refused(Reason::IcmpUnrelated);
        }
    });
}

#[test]
fn inner_options_and_fragments_are_read_or_refused() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let port = open_outbound(case);
        let error = || ipv4(ROUTER.0, Server) / icmp::fragmentation_needed(1400);
        let with_options = ipv4(Server, Office).options(&[1; 12]) / tcp(port, 443).ack();
        case.inbound(error() / with_options).passes_by("backups", Reason::Related, OUTBOUND);
        let head = ipv4(Server, Office).fragment(9, 0, true) / tcp(port, 443).ack();
        case.inbound(error() / head).passes_by("backups", Reason::Related, OUTBOUND);
        let tail = ipv4(Server, Office).fragment(9, 64, false) / tcp(port, 443).ack();
        case.inbound(error() / tail).refused(Reason::IcmpUnrelated);
        let version = ipv4(Server, Office).version(6) / tcp(port, 443).ack();
        case.inbound(error() / version).refused(Reason::IcmpUnrelated);
    });
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let port = open_outbound(case);
        let error = || ipv6(ROUTER.1, Server) / icmpv6::packet_too_big(1400);
        let fragment = |offset, more| ipv6(Server, Office) / extension_fragment(9, offset, more);
        case.inbound(error() / fragment(0, true) / tcp(port, 443).ack()).passes_by(
            "backups",
            Reason::Related,
            OUTBOUND,
        );
        case.inbound(error() / fragment(64, false) / tcp(port, 443).ack())
            .refused(Reason::IcmpUnrelated);
        let version = ipv6(Server, Office).version(4) / tcp(port, 443).ack();
        case.inbound(error() / version).refused(Reason::IcmpUnrelated);
    });
}

#[test]
fn error_about_an_error_is_refused() {
    everywhere(ENFORCED, |case| {
        let family = case.family;
        let port = open_outbound(case);
        let inner_error = case.ip(Server, Office) / family.port_unreachable() / call(family, port);
        case.inbound(case.ip(ROUTER, Server) / family.too_big(1400) / inner_error)
            .refused(Reason::IcmpUnrelated);
    });
}

#[test]
fn error_about_a_trusted_peer_passes_by_the_device_that_leads_there() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let error = |case: &Case<'_>| {
            let about = case.ip(Server, Private) / tcp(port, 22).ack();
            case.ip(ROUTER, Server) / case.family.too_big(1400) / about
        };
        case.by(Network::Private);
        case.inbound(error(case)).ignored(Reason::Related);
        case.by(Network::Public);
        case.inbound(error(case)).refused(Reason::IcmpUnrelated);
    });
}

#[test]
fn host_may_send_errors_about_open_conversations_and_no_others() {
    everywhere(ENFORCED, |case| {
        let (port, other) = (case.port(), case.port());
        case.inbound(case.ip(Office, Server) / udp(port, 5432)).allowed("office");
        let about = case.ip(Office, Server) / udp(port, 5432);
        case.outbound(case.ip(Server, Office) / case.family.port_unreachable() / about).passes_by(
            "office",
            Reason::Related,
            INBOUND,
        );
        let about = case.ip(Office, Server) / udp(other, 5432);
        case.outbound(case.ip(Server, Office) / case.family.port_unreachable() / about)
            .refused(Reason::IcmpUnrelated);
        let about = case.ip(Stranger, Server) / udp(port, 5432);
        case.outbound(case.ip(Server, Stranger) / case.family.port_unreachable() / about)
            .refused(Reason::IcmpUnrelated);
    });
}

#[test]
fn redirects_and_questions_about_the_host_are_refused_from_everybody() {
    on(&[V4], &Hook::ALL, ENFORCED, |case| {
        let port = open_outbound(case);
        let ip = || ipv4(Office, Server);
        let about = ipv4(Server, Office) / tcp(port, 443).ack();
        case.inbound(ip() / icmp::redirect("203.0.113.9") / about).refused(Reason::IcmpForbidden);
        case.inbound(ip() / icmp::timestamp(1, 1)).refused(Reason::IcmpForbidden);
        case.inbound(ip() / icmp::address_mask(1, 1)).refused(Reason::IcmpForbidden);
        for kind in [6, 9, 10, 14, 15, 16, 18, 30, 40, 255] {
            case.inbound(ip() / icmp::message(kind, 0)).refused(Reason::IcmpForbidden);
        }
    });
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let redirect = || icmpv6::redirect("fe80::9", Office.v6());
        let ip = |source: &str| ipv6(source, Server).hop_limit(255);
        case.inbound(ip("fe80::1") / redirect()).refused(Reason::IcmpForbidden);
        case.inbound(ip("2001:db8:100::5") / redirect()).refused(Reason::IcmpForbidden);
    });
}

#[test]
fn v6_messages_of_no_known_kind_go_by_the_rules() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        // Node information, router renumbering, private experimentation.
        for kind in [100, 138, 139, 140, 200] {
            let ip = ipv6(Stranger, Server);
            case.inbound(ip / icmpv6::message(kind, 0)).refused(Reason::NoRule);
        }
    });
}

#[test]
fn transition_lets_unrelated_errors_through_and_tells() {
    everywhere(&transition(), |case| {
        let port = case.port();
        let about = case.ip(Server, Office) / tcp(port, 443).ack();
        case.inbound(case.ip(ROUTER, Server) / case.family.too_big(1400) / about)
            .would_deny(Reason::IcmpUnrelated);
    });
}

#[test]
fn errors_beyond_the_budget_are_refused() {
    // A second's budget of each processor that the test may run on, and then some.
    const ERRORS: u64 = 6000;
    on(&[V4], &[Hook::Xdp], ENFORCED, |case| {
        let port = open_outbound(case);
        let about = ipv4(Server, Office) / tcp(port, 443).ack();
        let error = eth() / ipv4(ROUTER.0, Server) / icmp::fragmentation_needed(1400) / about;
        let bytes = error.bytes();
        let _before = case.lab.delta();
        let mut passed = 0;
        for _ in 0..ERRORS {
            let verdict = case.verdict(&bytes, Direction::Inbound).expect("it runs");
            passed += u64::from(verdict == Verdict::Pass);
        }
        let delta = case.lab.delta();
        // Other stories on these programs want a budget of their own.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let packets = |name: &str| delta.get(name).map_or(0, |(packets, _)| *packets);
        assert_eq!(packets("Inbound Pass Related"), passed);
        assert_eq!(packets("Inbound Drop IcmpRate"), ERRORS - passed);
        // Stories before this one may have taken a few from the budget.
        assert!((900..ERRORS).contains(&passed), "{passed} of {ERRORS} passed");
    });
}

#[test]
fn forged_errors_about_trusted_peers_leave_the_budget_of_the_others() {
    on(&[V4], &[Hook::Xdp], ENFORCED, |case| {
        let port = open_outbound(case);
        case.by(Network::Private);
        let about = ipv4(Server, "10.0.0.9") / tcp(port, 443).ack();
        let forged = eth() / ipv4(Stranger, Server) / icmp::fragmentation_needed(1400) / about;
        for _ in 0..6000 {
            case.verdict(&forged.bytes(), Direction::Inbound).expect("it runs");
        }
        let spent = case.lab.delta();
        assert!(spent.contains_key("Inbound Drop IcmpRate"), "{spent:?}");
        let _records = case.lab.records();
        case.by(Network::Public);
        let about = ipv4(Server, Office) / tcp(port, 443).ack();
        let real = eth() / ipv4(ROUTER.0, Server) / icmp::fragmentation_needed(1400) / about;
        let verdict = case.verdict(&real.bytes(), Direction::Inbound).expect("it runs");
        assert_eq!(verdict, Verdict::Pass);
        std::thread::sleep(std::time::Duration::from_millis(1100));
    });
}
