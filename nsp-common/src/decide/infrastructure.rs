//! What keeps a host on its network, whatever the policy says: discovery, DHCP, multicast, DNS.

use super::{Decision, FlowAction, Followed, Step, Tables};
use crate::{
    address::Family,
    generation::{Generation, flags as generation_flags},
    link::endpoint,
    net::{icmp::v6, protocol},
    packet::{Packet, flags},
    verdict::{Direction, Reason, TrafficClass},
};

const DNS: u16 = 53;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCPV6_CLIENT: u16 = 546;
const DHCPV6_SERVER: u16 = 547;
/// Discovery that a router has touched has another hop limit (RFC 4861 section 7.1).
const HOP_LIMIT_OF_THIS_LINK: u8 = 255;

/// Step 3. Undecided when the packet is no infrastructure.
#[inline(always)]
pub(super) fn judge<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Step {
    let pass =
        |reason| Step::Decided(Decision::pass(reason, TrafficClass::Infrastructure, packet.way()));
    let family = packet.ip_family();
    match packet.key.protocol {
        protocol::ICMPV6 if family == Family::V6 && packet.icmp_type != 0 => {
            match discovery(packet) {
                Discovery::Passes(reason) => return pass(reason),
                Discovery::Rogue => {
                    return Step::Refused(Reason::RogueDiscovery, TrafficClass::Public);
                }
                Discovery::Other => {}
            }
        }
        protocol::IGMP if family == Family::V4 => return pass(Reason::Igmp),
        protocol::UDP if is_dhcp(packet, family) => return pass(Reason::Dhcp),
        _ => {}
    }
    if packet.destination().is_multicast(family) {
        return pass(Reason::Multicast);
    }
    if packet.way() == Direction::Outbound
        && packet.has(flags::PORTS)
        && packet.key.remote_port == DNS
    {
        return resolver(packet, tables, generation);
    }
    Step::Undecided
}

/// What a recursive resolver of this host asks whomever it finds; answers need the conversation that it
/// opens.
#[inline(always)]
pub(super) fn recursive<T: Tables>(
    packet: &Packet,
    tables: &T,
    generation: &Generation,
) -> Option<Decision> {
    if !generation.has(generation_flags::RECURSIVE)
        || packet.way() != Direction::Outbound
        || !packet.has(flags::PORTS)
        || packet.key.remote_port != DNS
        || !tables.is_recursive()
    {
        return None;
    }
    let class = TrafficClass::Infrastructure;
    let mut decision = Decision::pass(Reason::Recursive, class, Direction::Outbound);
    decision.flow = FlowAction::Open;
    Some(decision)
}

enum Discovery {
    Passes(Reason),
    Rogue,
    Other,
}

/// ND (RFC 4861) and MLD (RFC 2710, 3810): only from this link.
#[inline(always)]
fn discovery(packet: &Packet) -> Discovery {
    let source = packet.source();
    match packet.icmp_type {
        v6::NEIGHBOUR_SOLICITATION | v6::NEIGHBOUR_ADVERTISEMENT | v6::ROUTER_SOLICITATION => {
            if packet.hop_limit == HOP_LIMIT_OF_THIS_LINK {
                Discovery::Passes(Reason::NeighbourDiscovery)
            } else {
                Discovery::Rogue
            }
        }
        v6::ROUTER_ADVERTISEMENT => {
            if packet.hop_limit == HOP_LIMIT_OF_THIS_LINK && source.is_v6_link_local() {
                Discovery::Passes(Reason::NeighbourDiscovery)
            } else {
                Discovery::Rogue
            }
        }
        v6::LISTENER_QUERY | v6::LISTENER_REPORT | v6::LISTENER_DONE | v6::LISTENER_REPORT_V2 => {
            let local = source.is_v6_link_local() || source.is_unspecified(Family::V6);
            if packet.hop_limit == 1 && local {
                Discovery::Passes(Reason::MulticastListener)
            } else {
                Discovery::Rogue
            }
        }
        _ => Discovery::Other,
    }
}

/// Client traffic both ways, to any address: a renewal goes unicast to a server that may be public.
#[inline(always)]
fn is_dhcp(packet: &Packet, family: Family) -> bool {
    let (client, server) = match family {
        Family::V4 => (DHCP_CLIENT, DHCP_SERVER),
        Family::V6 => (DHCPV6_CLIENT, DHCPV6_SERVER),
    };
    packet.has(flags::PORTS)
        && match packet.way() {
            Direction::Inbound => {
                packet.source_port() == server && packet.destination_port() == client
            }
            Direction::Outbound => {
                packet.source_port() == client && packet.destination_port() == server
            }
        }
}

/// To a trusted resolver: passes and opens a conversation, which the answer needs.
#[inline(always)]
fn resolver<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Step {
    if tables.endpoint(&packet.key.remote) & endpoint::RESOLVER == 0 {
        return Step::Undecided;
    }
    let mut decision =
        Decision::pass(Reason::Resolver, TrafficClass::Infrastructure, Direction::Outbound);
    // What was an ordinary peer before it was trusted gets a conversation of the other kind.
    let followed =
        if packet.is_bare_syn() { Followed::Nothing } else { tables.follow(packet, generation) };
    decision.flow = match followed {
        Followed::By(known) if known.reason == Reason::Resolver => FlowAction::Touch,
        Followed::By(_) | Followed::Nothing => FlowAction::Open,
        Followed::Later => return Step::Later,
    };
    Step::Decided(decision)
}
