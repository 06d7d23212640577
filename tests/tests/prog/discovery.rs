//! Neighbour discovery and multicast listeners: exactly what comes from this link.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{
        Family::V6,
        Packet,
        Party::{Office, Server, Stranger},
        hop_by_hop, icmpv6, ipv6, raw,
    },
    prog::{ENFORCED, Hook, on, transition},
};

const LINK_LOCAL: &str = "fe80::77";
const ALL_NODES: &str = "ff02::1";

type Message = fn() -> icmpv6::Icmpv6;

const SOLICITATION: Message = || icmpv6::neighbor_solicitation("2001:db8:1::1");
const ADVERTISEMENT: Message = || icmpv6::neighbor_advertisement("2001:db8:1::77");
const QUERY: Message = || icmpv6::listener_query("::");
const REPORT: Message = || icmpv6::listener_report("ff02::fb");

fn from(source: &str, destination: &str, hops: u8, message: Message) -> Packet {
    ipv6(source, destination).hop_limit(hops) / message()
}

#[test]
fn neighbours_pass_with_hop_limit_255() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for message in [SOLICITATION, ADVERTISEMENT, icmpv6::router_solicitation] {
            for source in [LINK_LOCAL, "2001:db8:5::7", "::"] {
                let passes = || from(source, "2001:db8:1::1", 255, message);
                case.inbound(passes()).ignored(Reason::NeighbourDiscovery);
                case.outbound(passes()).ignored(Reason::NeighbourDiscovery);
            }
            case.inbound(from(LINK_LOCAL, ALL_NODES, 255, message))
                .ignored(Reason::NeighbourDiscovery);
        }
    });
}

#[test]
fn neighbours_from_off_the_link_are_rogue() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        for message in [SOLICITATION, ADVERTISEMENT, icmpv6::router_solicitation] {
            for hops in [0, 1, 64, 254] {
                for destination in ["2001:db8:1::1", ALL_NODES] {
                    let rogue = from("2001:db8:100::5", destination, hops, message);
                    case.inbound(rogue).refused(Reason::RogueDiscovery);
                }
            }
            let rogue = from("2001:db8:1::1", "2001:db8:5::7", 64, message);
            case.outbound(rogue).refused(Reason::RogueDiscovery);
        }
    });
}

#[test]
fn routers_advertise_from_link_local_addresses_only() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let advertisement = icmpv6::router_advertisement;
        for destination in [ALL_NODES, "2001:db8:1::1"] {
            case.inbound(from(LINK_LOCAL, destination, 255, advertisement))
                .ignored(Reason::NeighbourDiscovery);
            for (source, hops) in [
                (LINK_LOCAL, 254),
                (LINK_LOCAL, 64),
                ("2001:db8:5::7", 255),
                ("2001:db8:100::5", 255),
                ("fec0::1", 255),
                ("fd00:10::9", 255),
                ("::", 255),
            ] {
                case.inbound(from(source, destination, hops, advertisement))
                    .refused(Reason::RogueDiscovery);
            }
        }
    });
}

#[test]
fn listeners_pass_with_hop_limit_1_from_this_link() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let done: Message = || icmpv6::message(132, 0).body(&[0; 16]);
        let report_v1: Message = || icmpv6::message(131, 0).body(&[0; 16]);
        for message in [QUERY, REPORT, done, report_v1] {
            for source in [LINK_LOCAL, "::"] {
                let alert =
                    ipv6(source, "ff02::16").hop_limit(1) / hop_by_hop().router_alert() / message();
                case.inbound(alert.clone()).ignored(Reason::MulticastListener);
                case.outbound(alert).ignored(Reason::MulticastListener);
            }
            for (source, hops) in
                [(LINK_LOCAL, 2), (LINK_LOCAL, 255), (LINK_LOCAL, 0), ("2001:db8:100::5", 1)]
            {
                case.inbound(from(source, "ff02::16", hops, message))
                    .refused(Reason::RogueDiscovery);
                case.inbound(from(source, "2001:db8:1::1", hops, message))
                    .refused(Reason::RogueDiscovery);
            }
        }
    });
}

#[test]
fn truncated_discovery_is_not_discovery() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let whole = SOLICITATION;
        let bytes = Packet::from(whole()).bytes();
        for length in 1..8 {
            let cut = raw(58, &bytes[..length]);
            let packet = ipv6(Stranger, Server).hop_limit(255) / cut;
            case.inbound(packet).refused(Reason::TruncatedTransport);
        }
    });
}

#[test]
fn transition_lets_rogues_through_and_tells() {
    on(&[V6], &Hook::ALL, &transition(), |case| {
        let rogue = ipv6(Office, ALL_NODES).hop_limit(255) / icmpv6::router_advertisement();
        case.inbound(rogue)
            .passes(Reason::RogueDiscovery, Category::PublicInboundResourceRulesAllowed);
    });
}
