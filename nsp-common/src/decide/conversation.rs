//! Step 4: a packet of a tracked conversation follows the conversation's verdict.

use super::{
    Anew, Decision, FlowAction, Followed, IcmpBudget, Step, Tables, Whose, overlay, resource,
};
use crate::{
    class,
    flow::{Flow, FlowKey, standing},
    generation::{Generation, PublicAccess, flags as generation_flags},
    link::endpoint,
    net::{
        icmp::{v4, v6},
        protocol,
    },
    overlay::presence,
    packet::{Packet, flags},
    verdict::{AccessMode, Direction, Reason, TrafficClass, Verdict},
};

/// Step 4. Undecided when the packet belongs to no conversation.
#[inline(always)]
pub(super) fn judge<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Step {
    if packet.has(flags::LATER_FRAGMENT) {
        let Some(head) = tables.fragment_head(packet) else { return Step::Undecided };
        let mut decision = standing_of(&head);
        decision.reason = Reason::Fragment;
        if tables.overlay() & presence::BLOCKS != 0 && decision.verdict == Verdict::Pass {
            let rule = tables.blocked(packet, Whose::tracked(&head));
            if rule != 0 && decision.class == TrafficClass::Public {
                overlay::block(&mut decision, rule);
            }
        }
        return Step::Decided(decision);
    }
    let is_error = packet.has(flags::ICMP_ERROR);
    if is_error {
        if packet.has(flags::BAD_MTU) {
            return Step::Refused(Reason::IcmpBadMtu, TrafficClass::Public);
        }
        if !packet.has(flags::INNER) || !packet.inner_was_sent_by_destination() {
            return Step::Refused(Reason::IcmpUnrelated, TrafficClass::Public);
        }
        if is_trusted(&packet.inner, packet, tables) {
            if !tables.icmp_budget(IcmpBudget::Trusted) {
                return Step::Refused(Reason::IcmpRate, TrafficClass::Public);
            }
            let class = TrafficClass::Infrastructure;
            return Step::Decided(Decision::pass(Reason::Related, class, packet.way()));
        }
    } else if is_forbidden_icmp(packet) {
        return Step::Refused(Reason::IcmpForbidden, TrafficClass::Public);
    } else if !packet.has(flags::KEYED) || packet.flaw != 0 || packet.is_bare_syn() {
        // A SYN alone asks anew: it never rides on what an earlier conversation was allowed.
        return Step::Undecided;
    }
    let mut decision = match tables.follow(packet, generation) {
        Followed::By(decision) => decision,
        Followed::Nothing if is_error => {
            return Step::Refused(Reason::IcmpUnrelated, TrafficClass::Public);
        }
        Followed::Nothing => return Step::Undecided,
        Followed::Later => return Step::Later,
    };
    if (tables.overlay() != 0 || decision.temporary) && decision.verdict == Verdict::Pass {
        tables.overlaid(packet, &mut decision);
    }
    if is_error && decision.verdict == Verdict::Pass {
        if !tables.icmp_budget(IcmpBudget::Tracked) {
            return Step::Refused(Reason::IcmpRate, TrafficClass::Public);
        }
        decision.reason = Reason::Related;
    }
    Step::Decided(decision)
}

/// Whether a packet of a conversation is the answer to a SYN that asked anew: what an earlier
/// conversation of the same ports was allowed, or denied, does not count.
#[inline(always)]
fn asks_anew(packet: &Packet, flow: &Flow) -> bool {
    packet.way() == Direction::Outbound
        && packet.is_syn_ack()
        && flow.opened_by() == Direction::Inbound
}

/// Whether the packet inside an ICMP error was exchanged with a trusted peer. A router on the way
/// may have sent the error, so its own source says nothing.
#[inline(always)]
fn is_trusted<T: Tables>(inner: &FlowKey, packet: &Packet, tables: &T) -> bool {
    let class_number = tables.class_of(&inner.remote, packet.ip_family());
    let trusted = class::flags::PRIVATE | class::flags::MEMBER | class::flags::LINKED;
    tables.class(class_number).flags & trusted != 0
        && tables.routed_back(&inner.remote, packet.ip_family(), packet.ifindex)
}

/// What the conversation of a packet, or the one an ICMP error is about, stands for in the current
/// generation. A packet that it carries ages it; one that is over is forgotten.
#[inline(always)]
pub fn follow<T: Tables>(packet: &Packet, tables: &mut T, generation: &Generation) -> Followed {
    let is_error = packet.has(flags::ICMP_ERROR);
    let key = if is_error { &packet.inner } else { &packet.key };
    let Some(mut flow) = tables.flow(key) else { return Followed::Nothing };
    if flow.is_expired(key.protocol, tables.now_ns()) {
        tables.forget(key);
        return Followed::Nothing;
    }
    if flow.generation != generation.number {
        match tables.judged_anew(key, &mut flow, generation) {
            Anew::Lives => tables.rejudged(&flow),
            Anew::Over => {
                tables.forget(key);
                return Followed::Nothing;
            }
            Anew::Later => return Followed::Later,
        }
    }
    let mut decision = standing_of(&flow);
    if is_error {
        return Followed::By(decision);
    }
    if asks_anew(packet, &flow) {
        return Followed::Nothing;
    }
    decision.flow = FlowAction::Touch;
    if decision.verdict == Verdict::Pass {
        tables.touch(packet, &flow);
    }
    Followed::By(decision)
}

/// Judges a conversation anew, from what it stores: its association, who opened it, its name. The
/// peer's prefix is looked up again, for that is the policy; the name's learned address is not, so
/// that an expired DNS entry cuts nothing.
#[inline(always)]
pub fn rejudge<T: Tables>(
    key: &FlowKey,
    flow: &mut Flow,
    tables: &T,
    generation: &Generation,
) -> bool {
    flow.generation = generation.number;
    if flow.reason == Reason::Forwarded as u8 {
        return generation.has(generation_flags::PASS_FORWARDED);
    }
    if flow.reason == Reason::Resolver as u8 {
        // A resolver that is trusted no more is an ordinary peer: forget what it was.
        return tables.endpoint(&key.remote) & endpoint::RESOLVER != 0;
    }
    if flow.reason == Reason::Recursive as u8 {
        return generation.has(generation_flags::RECURSIVE);
    }
    let mut seat = resource::seat_of(flow.association, flow.opened_by(), tables, generation);
    if seat.association == 0 {
        // Its resource is gone, or there was none: another may cover it now.
        let number = resource::of_key(key, flow.opened_by(), flow.ifindex, tables, generation);
        seat = resource::seat_of(number, flow.opened_by(), tables, generation);
        if seat.association != 0 {
            flow.association = seat.association;
        }
    }
    // One word for all of it, for the stack's sake.
    let mut before = flow.standing & (standing::KEPT | standing::WOULD_DENY);
    if flow.reason == Reason::Unassociated as u8 {
        before |= standing::WOULD_DENY;
    }
    // What lives by the overlay keeps that, unless a rule allows it: its packets ask whether it is over.
    flow.standing &= standing::TEMPORARY;
    if seat.mode as u8 == AccessMode::Enforced as u8 {
        flow.standing |= standing::ENFORCED;
    }
    if !flow.stands(standing::TEMPORARY) {
        flow.rule = 0;
    }
    if seat.association == 0 {
        if generation.public_access == PublicAccess::Enabled as u8 {
            flow.reason = Reason::Unassociated as u8;
            flow.standing &= !standing::TEMPORARY;
            flow.rule = 0;
            return true;
        }
        if !flow.stands(standing::TEMPORARY) {
            hold(flow, seat.mode, 0, true);
        }
        return true;
    }
    let class_number = tables.class_of(&key.remote, key.ip_family());
    if flow.reason == Reason::Metadata as u8
        && !seat.metadata_denied
        && tables.class(class_number).flags & class::flags::PLATFORM != 0
    {
        return true;
    }
    let service_port = match flow.opened_by() {
        Direction::Inbound => key.local_port,
        Direction::Outbound => key.remote_port,
    };
    let port_class = tables.port(key.protocol, service_port).class;
    let lane = class::lane(seat.profile, flow.opened_by() as u8 == Direction::Outbound as u8);
    let mut number = tables.rule(lane, class_number, port_class);
    if number == 0 && flow.name != 0 {
        number = tables.rule(lane, tables.name_class(flow.name), port_class);
    }
    if number != 0 {
        flow.rule = tables.rule_identity(number);
        flow.reason = Reason::Rule as u8;
        flow.standing &= !standing::TEMPORARY;
        if before & standing::KEPT != 0 && seat.mode as u8 == AccessMode::Enforced as u8 {
            // The rule did not open it and shall not end it by going.
            flow.standing |= standing::KEPT;
        }
        return true;
    }
    if flow.stands(standing::TEMPORARY) {
        flow.reason = Reason::Rule as u8;
        return true;
    }
    let cut_before_ns = tables.association(flow.association).cut_before_ns;
    hold(flow, seat.mode, cut_before_ns, before != 0);
    true
}

/// A conversation that no rule allows any more: tolerated in transition; kept when it was tolerated
/// before its association was enforced, and both ends took part; else denied, and left in its place so that a rollback of
/// the policy revives it.
#[inline(always)]
const fn hold(flow: &mut Flow, mode: AccessMode, cut_before_ns: u64, tolerated: bool) {
    flow.reason = Reason::NoRule as u8;
    flow.standing |= match mode {
        AccessMode::Transition => standing::WOULD_DENY,
        AccessMode::Enforced
            if tolerated && flow.is_mutual() && flow.opened_ns >= cut_before_ns =>
        {
            standing::KEPT
        }
        AccessMode::Enforced => standing::DENIED,
    };
}

/// The verdict of a conversation that this generation has judged.
#[inline(always)]
fn standing_of(flow: &Flow) -> Decision {
    let denied = flow.is_cut() || flow.stands(standing::DENIED);
    let reason = if flow.is_cut() {
        Reason::Cut
    } else if denied && flow.stands(standing::TEMPORARY) {
        Reason::Lapsed
    } else if denied {
        Reason::Revoked
    } else {
        flow.pass_reason()
    };
    let class = if flow.reason == Reason::Resolver as u8 || flow.reason == Reason::Recursive as u8 {
        TrafficClass::Infrastructure
    } else if flow.reason == Reason::Forwarded as u8 {
        TrafficClass::Unknown
    } else {
        TrafficClass::Public
    };
    Decision {
        verdict: if denied { Verdict::Drop } else { Verdict::Pass },
        reason,
        class,
        opener: flow.opened_by(),
        mode: if flow.stands(standing::ENFORCED) {
            AccessMode::Enforced
        } else {
            AccessMode::Transition
        },
        would_deny: flow.stands(standing::WOULD_DENY),
        temporary: flow.stands(standing::TEMPORARY),
        flow: FlowAction::None,
        // The flow remembers the resource that is gone, for the day it comes back; until then it is
        // nobody's.
        association: if flow.reason == Reason::Unassociated as u8 { 0 } else { flow.association },
        rule: flow.rule,
        name: flow.name,
    }
}

/// ICMP that changes routes or answers questions nobody should ask from outside (RFC 4890, 1812).
#[inline(always)]
fn is_forbidden_icmp(packet: &Packet) -> bool {
    if packet.way() == Direction::Outbound || packet.flaw != 0 {
        return false;
    }
    if packet.key.protocol == protocol::ICMP {
        !matches!(packet.icmp_type, v4::ECHO | v4::ECHO_REPLY)
    } else {
        packet.key.protocol == protocol::ICMPV6 && packet.icmp_type == v6::REDIRECT
    }
}
