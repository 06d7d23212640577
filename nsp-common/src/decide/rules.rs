//! Steps 8 and 9: a public peer against the access rules of the resource's profile.

use super::{Decision, FlowAction, Seat, Tables, overlay, resource};
use crate::{
    class::{self, RuleNumber},
    generation::{Generation, flags as generation_flags},
    net::protocol::tcp,
    packet::{Packet, flags},
    verdict::{AccessMode, Direction, Reason, TrafficClass},
};

/// Steps 8 and 9.
#[inline(always)]
pub(super) fn judge<T: Tables>(
    packet: &Packet,
    tables: &T,
    generation: &Generation,
    seat: &Seat,
    class_number: u32,
) -> Decision {
    if packet.has_bad_tcp_flags() {
        return Decision::refuse(Reason::BadTcpFlags, TrafficClass::Public, seat);
    }
    if is_late_answer(packet) {
        return Decision::refuse(Reason::NoFlow, TrafficClass::Public, seat);
    }
    let matched = if seat.association == 0 {
        Match { rule: 0, name: 0 }
    } else {
        matching(packet, tables, generation, seat, class_number)
    };
    let mut decision = if matched.rule == 0 {
        match overlay::allow(packet, seat, tables) {
            Some(decision) => decision,
            None if seat.association == 0 => {
                Decision::refuse(Reason::NoResource, TrafficClass::Public, seat)
            }
            None => Decision::refuse(Reason::NoRule, TrafficClass::Public, seat),
        }
    } else {
        let mut decision = Decision::pass(Reason::Rule, TrafficClass::Public, seat.opener);
        decision.association = seat.association;
        decision.mode = seat.mode;
        decision.rule = tables.rule_identity(matched.rule);
        decision.name = matched.name;
        decision
    };
    decision.flow = opens(packet, &decision);
    decision
}

/// Whether the packet answers what this host did not ask. Only the side that opens is judged: what
/// answers follows its conversation or nothing.
#[inline(always)]
pub(super) fn is_late_answer(packet: &Packet) -> bool {
    packet.way() == Direction::Inbound && (packet.is_syn_ack() || resource::is_echo_reply(packet))
}

/// A rule that matches, and the name it matched by.
struct Match {
    rule: RuleNumber,
    name: u32,
}

/// The first rule in name order that admits the peer: by its address, or by a name it was learned
/// for.
#[inline(always)]
fn matching<T: Tables>(
    packet: &Packet,
    tables: &T,
    generation: &Generation,
    seat: &Seat,
    class_number: u32,
) -> Match {
    let outbound = matches!(seat.opener, Direction::Outbound);
    let service_port = if outbound { packet.key.remote_port } else { packet.key.local_port };
    let port_class = tables.port(packet.key.protocol, service_port).class;
    let lane = class::lane(seat.profile, outbound);
    let mut best = Match { rule: tables.rule(lane, class_number, port_class), name: 0 };
    if !outbound || !generation.has(generation_flags::BY_NAME) {
        return best;
    }
    let Some(learned) = tables.learned(&packet.key.remote, packet.ip_family()) else {
        return best;
    };
    let now_ns = tables.now_ns();
    for entry in &learned.names {
        if !entry.is_valid(now_ns) {
            continue;
        }
        let rule = tables.rule(lane, tables.name_class(entry.name), port_class);
        if rule != 0 && (best.rule == 0 || rule < best.rule) {
            best = Match { rule, name: entry.name };
        }
    }
    best
}

/// Whether a packet that passes opens a conversation. An inbound SYN does not, the answer to it
/// does: what an unproven source sends makes no entry that lasts. A RST ends, it never opens.
#[inline(always)]
pub(super) fn opens(packet: &Packet, decision: &Decision) -> FlowAction {
    let passes = decision.would_deny
        || !matches!(decision.mode, AccessMode::Enforced)
        || matches!(decision.reason, Reason::Rule | Reason::Metadata);
    let inbound_syn = matches!(packet.way(), Direction::Inbound) && packet.is_bare_syn();
    let reset = packet.is_tcp() && packet.tcp_flags & tcp::RST != 0;
    if passes && packet.has(flags::KEYED) && !inbound_syn && !reset {
        FlowAction::Open
    } else {
        FlowAction::None
    }
}
