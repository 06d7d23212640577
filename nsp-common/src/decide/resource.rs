//! Which resource a packet concerns, and whose rules judge it.

use super::Tables;
use crate::{
    flow::FlowKey,
    generation::{Generation, PublicAccess, association, flags as generation_flags},
    net::{
        icmp,
        protocol::{self, tcp},
    },
    packet::{Packet, flags},
    selector::Selector,
    verdict::{AccessMode, Direction},
};

/// Where a packet without a conversation is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Identity of the association; zero when no resource is concerned.
    pub association: u16,
    /// Its profile in this generation.
    pub profile: u16,
    /// The side whose opening is judged: an answer is judged by the rules for who asked.
    pub opener: Direction,
    /// The mode that applies.
    pub mode: AccessMode,
    /// No resource is concerned and the policy leaves such traffic alone.
    pub left_alone: bool,
    /// Private peers need a rule too.
    pub private_by_rules: bool,
    /// Cloud endpoints are denied.
    pub metadata_denied: bool,
    /// Members and linked perimeters need a rule too.
    pub alone: bool,
}

/// Finds the seat of a packet that belongs to no conversation.
#[inline(always)]
pub(super) fn seat<T: Tables>(packet: &Packet, tables: &T, generation: &Generation) -> Seat {
    let (opener, number) = match packet.way() {
        Direction::Inbound => (Direction::Inbound, inbound(packet, tables, generation)),
        Direction::Outbound => {
            let listening = if packet.has(flags::PORTS) {
                listening(&packet.key, tables, generation)
            } else {
                0
            };
            if is_answer(packet, listening != 0) {
                (Direction::Inbound, inbound(packet, tables, generation))
            } else {
                (Direction::Outbound, outbound(tables, generation, listening))
            }
        }
    };
    seat_of(number, opener, tables, generation)
}

/// The seat of a known association.
#[inline(always)]
pub(super) fn seat_of<T: Tables>(
    number: u16,
    opener: Direction,
    tables: &T,
    generation: &Generation,
) -> Seat {
    let entry = tables.association(number);
    if number != 0 && entry.has(association::PRESENT) {
        return Seat {
            association: number,
            profile: entry.profile,
            opener,
            mode: entry.mode(opener),
            left_alone: false,
            private_by_rules: entry.has(association::PRIVATE_BY_RULES),
            metadata_denied: entry.has(association::METADATA_DENIED),
            alone: entry.has(association::ALONE),
        };
    }
    Seat {
        association: 0,
        profile: 0,
        opener,
        mode: if generation.public_access == PublicAccess::SecuredByPerimeter as u8 {
            AccessMode::Enforced
        } else {
            AccessMode::Transition
        },
        left_alone: generation.public_access == PublicAccess::Enabled as u8,
        private_by_rules: false,
        metadata_denied: false,
        alone: false,
    }
}

/// The resource that a conversation concerns, by its key: for one whose own resource is gone. The
/// sender's cgroup is not asked for again.
#[inline(always)]
pub fn of_key<T: Tables>(
    key: &FlowKey,
    opener: Direction,
    ifindex: u32,
    tables: &T,
    generation: &Generation,
) -> u16 {
    let listening = match key.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => listening(key, tables, generation),
        _ => 0,
    };
    match opener {
        Direction::Inbound => by_place(listening, key, ifindex, tables, generation),
        Direction::Outbound if listening != 0 => listening,
        Direction::Outbound => generation.host,
    }
}

/// The association that listens on the local port, address and port before port alone.
#[inline(always)]
fn listening<T: Tables>(key: &FlowKey, tables: &T, generation: &Generation) -> u16 {
    if generation.has(generation_flags::BY_ADDRESS) {
        let number = tables.select(&Selector::address_port(
            tables.slot(),
            &key.local,
            key.protocol,
            key.local_port,
        ));
        if number != 0 {
            return number;
        }
    }
    tables.port(key.protocol, key.local_port).association
}

/// Inbound: the most specific of ports with address, ports, address, interface, host.
#[inline(always)]
fn inbound<T: Tables>(packet: &Packet, tables: &T, generation: &Generation) -> u16 {
    let listening =
        if packet.has(flags::PORTS) { listening(&packet.key, tables, generation) } else { 0 };
    by_place(listening, &packet.key, packet.ifindex, tables, generation)
}

/// A listener, or the resource that the address, the device or the host is.
#[inline(always)]
fn by_place<T: Tables>(
    listening: u16,
    key: &FlowKey,
    ifindex: u32,
    tables: &T,
    generation: &Generation,
) -> u16 {
    if listening != 0 {
        return listening;
    }
    if generation.has(generation_flags::BY_ADDRESS) {
        let number = tables.select(&Selector::address(tables.slot(), &key.local));
        if number != 0 {
            return number;
        }
    }
    if generation.has(generation_flags::BY_INTERFACE) {
        let number = tables.select(&Selector::interface(tables.slot(), ifindex));
        if number != 0 {
            return number;
        }
    }
    generation.host
}

/// The association of who sends what answers nobody: its cgroup's, or the host's.
#[inline(always)]
pub fn of_sender<T: Tables>(tables: &T, generation: &Generation) -> u16 {
    outbound(tables, generation, 0)
}

/// Outbound: the sender's cgroup, then the resource that listens on the port, then the host.
#[inline(always)]
fn outbound<T: Tables>(tables: &T, generation: &Generation, listening: u16) -> u16 {
    if generation.has(generation_flags::BY_CGROUP) {
        let number = tables.cgroup_association();
        if number != 0 {
            return number;
        }
    }
    if listening != 0 { listening } else { generation.host }
}

/// Whether an outbound packet without a conversation answers something: then its entry was lost or
/// never made, and the rules for the asker decide.
#[inline(always)]
fn is_answer(packet: &Packet, listening: bool) -> bool {
    match packet.key.protocol {
        protocol::TCP if packet.has(flags::PORTS) => {
            !packet.is_bare_syn()
                && (listening || packet.is_syn_ack() || packet.tcp_flags & tcp::RST != 0)
        }
        protocol::ICMP | protocol::ICMPV6 => is_echo_reply(packet),
        _ => listening,
    }
}

/// Whether the packet is an echo reply. One whose type was not read has the number of IPv4's.
#[inline(always)]
pub(super) fn is_echo_reply(packet: &Packet) -> bool {
    packet.has(flags::KEYED)
        && match packet.key.protocol {
            protocol::ICMP => packet.icmp_type == icmp::v4::ECHO_REPLY,
            protocol::ICMPV6 => packet.icmp_type == icmp::v6::ECHO_REPLY,
            _ => false,
        }
}
