//! What the live overlay says: blocks before anything that is not infrastructure, allows where no rule
//! matches.

use super::{Decision, FlowAction, Seat, Tables};
use crate::{
    flow::{Flow, standing},
    flow_key::FlowKey,
    generation::association,
    overlay::{Subject, presence},
    packet::{Packet, flags},
    verdict::{AccessMode, Direction, Reason, TrafficClass, Verdict},
};

/// Whose conversation is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// Identity of its association, or zero.
    pub association: u16,
    /// The side that opens it.
    pub opener: Direction,
    /// The name that it was opened for, or zero.
    pub name: u32,
}

impl Whose {
    /// Of a packet that belongs to no conversation.
    #[inline(always)]
    pub(super) const fn seated(seat: &Seat) -> Self {
        Self { association: seat.association, opener: seat.opener, name: 0 }
    }

    /// Of a tracked conversation.
    #[inline(always)]
    pub const fn tracked(flow: &Flow) -> Self {
        Self { association: flow.association, opener: flow.opened_by(), name: flow.name }
    }
}

/// An entry that allows, and the name that it does by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Its identity as a rule; zero is none.
    pub rule: u32,
    /// Identity of the name, or zero.
    pub name: u32,
}

/// The conversation that a packet is about: its own, or that of the packet in an ICMP error.
#[inline(always)]
pub const fn key_of(packet: &Packet) -> &FlowKey {
    if packet.has(flags::ICMP_ERROR) && packet.has(flags::INNER) {
        &packet.inner
    } else {
        &packet.key
    }
}

#[inline(always)]
fn subject<T: Tables>(key: &FlowKey, whose: Whose, tables: &T) -> Subject {
    Subject {
        now_s: (tables.now_ns() / 1_000_000_000) as u32,
        profile: tables.association(whose.association).profile_identity,
        port: match whose.opener {
            Direction::Inbound => key.local_port,
            Direction::Outbound => key.remote_port,
        },
        protocol: key.protocol,
        opener: whose.opener,
    }
}

/// The identity of the entry that blocks a conversation, or zero: one about its peer's address, about
/// its name, or about a name that the address was learned for.
#[inline(always)]
pub fn blocked<T: Tables>(key: &FlowKey, whose: Whose, tables: &T) -> u32 {
    let subject = subject(key, whose, tables);
    if let Some(overlay) = tables.temporary(&key.remote, key.ip_family()) {
        let rule = overlay.blocks(&subject);
        if rule != 0 {
            return rule;
        }
    }
    if tables.overlay() & presence::NAMES == 0 {
        return 0;
    }
    if whose.name != 0
        && let Some(overlay) = tables.temporary_of_name(whose.name)
    {
        let rule = overlay.blocks(&subject);
        if rule != 0 {
            return rule;
        }
    }
    let Some(learned) = tables.learned(&key.remote, key.ip_family()) else { return 0 };
    let now_ns = tables.now_ns();
    for entry in &learned.names {
        if !entry.is_valid(now_ns) {
            continue;
        }
        if let Some(overlay) = tables.temporary_of_name(entry.name) {
            let rule = overlay.blocks(&subject);
            if rule != 0 {
                return rule;
            }
        }
    }
    0
}

/// The entry that allows a conversation: by its peer's address; by its name; before it has one, by a
/// name that the address was learned for.
#[inline(always)]
pub fn allowed<T: Tables>(key: &FlowKey, whose: Whose, tables: &T) -> Allowed {
    let subject = subject(key, whose, tables);
    if let Some(overlay) = tables.temporary(&key.remote, key.ip_family()) {
        let rule = overlay.allows(&subject);
        if rule != 0 {
            return Allowed { rule, name: 0 };
        }
    }
    if tables.overlay() & presence::NAMES == 0 {
        return Allowed { rule: 0, name: 0 };
    }
    if whose.name != 0 {
        // Whether it was learned for the name does not matter any more: its end cuts nothing.
        let rule = match tables.temporary_of_name(whose.name) {
            Some(overlay) => overlay.allows(&subject),
            None => 0,
        };
        return Allowed { rule, name: whose.name };
    }
    let Some(learned) = tables.learned(&key.remote, key.ip_family()) else {
        return Allowed { rule: 0, name: 0 };
    };
    let now_ns = tables.now_ns();
    for entry in &learned.names {
        if !entry.is_valid(now_ns) {
            continue;
        }
        if let Some(overlay) = tables.temporary_of_name(entry.name) {
            let rule = overlay.allows(&subject);
            if rule != 0 {
                return Allowed { rule, name: entry.name };
            }
        }
    }
    Allowed { rule: 0, name: 0 }
}

/// Makes the decision that of a block. It drops in transition too: who blocks an address means it.
#[inline(always)]
pub(super) const fn block(decision: &mut Decision, rule: u32) {
    decision.verdict = Verdict::Drop;
    decision.reason = Reason::Blocked;
    decision.class = TrafficClass::Public;
    decision.mode = AccessMode::Enforced;
    decision.would_deny = false;
    decision.temporary = false;
    decision.flow = FlowAction::None;
    decision.rule = rule;
}

/// What is allowed for a time, where no rule does.
#[inline(always)]
pub(super) fn allow<T: Tables>(packet: &Packet, seat: &Seat, tables: &T) -> Option<Decision> {
    if tables.overlay() & presence::ALLOWS == 0 || seat.left_alone {
        return None;
    }
    // What is opened for the host is not opened for who has a perimeter of its own.
    if tables.association(seat.association).has(association::ALONE) {
        return None;
    }
    let Allowed { rule, name } = tables.allowed(packet, Whose::seated(seat));
    if rule == 0 {
        return None;
    }
    let mut decision = Decision::pass(Reason::Rule, TrafficClass::Public, seat.opener);
    decision.association = seat.association;
    decision.mode = seat.mode;
    decision.temporary = true;
    decision.rule = rule;
    decision.name = name;
    Some(decision)
}

/// Set in what [`overlaid`] answers: the entry that the conversation lives by is gone, and no other allows
/// it.
pub const LAPSED: u64 = 1 << 32;

/// What the overlay says of a tracked conversation: in the lower half the identity of the entry that
/// blocks it, and [`LAPSED`]. What keeps the host on its network, and what a host that routes lets
/// through, is never blocked.
#[inline(always)]
pub fn overlaid<T: Tables>(key: &FlowKey, flow: &Flow, tables: &T) -> u64 {
    let (bits, whose) = (tables.overlay(), Whose::tracked(flow));
    let mut said = 0;
    if flow.stands(standing::TEMPORARY)
        && (bits & presence::ALLOWS == 0 || allowed(key, whose, tables).rule == 0)
    {
        said = LAPSED;
    }
    let is_exempt = flow.reason == Reason::Resolver as u8
        || flow.reason == Reason::Recursive as u8
        || flow.reason == Reason::Forwarded as u8;
    if bits & presence::BLOCKS != 0 && !is_exempt {
        said |= blocked(key, whose, tables) as u64;
    }
    said
}

/// A conversation that lived by an entry which is gone: denied where enforced, and left in its place, so
/// that another entry revives it. In transition it is tolerated like any other, from now on.
#[inline(always)]
pub const fn lapse(flow: &mut Flow) {
    if flow.stands(standing::ENFORCED) {
        flow.standing |= standing::DENIED;
    } else {
        flow.standing = standing::WOULD_DENY;
        flow.reason = Reason::NoRule as u8;
        flow.rule = 0;
    }
}

/// What a conversation stands for, after what the overlay said of it ([`overlaid`]).
#[inline(always)]
pub fn settle_by(decision: &mut Decision, said: u64, packet: &Packet) {
    if said & LAPSED != 0 && decision.mode as u8 == AccessMode::Enforced as u8 {
        decision.verdict = Verdict::Drop;
        decision.reason = Reason::Lapsed;
    } else if said & LAPSED != 0 {
        decision.would_deny = true;
        decision.temporary = false;
        decision.rule = 0;
    }
    if said as u32 != 0 && !packet.has(flags::ICMP_ERROR) {
        block(decision, said as u32);
    }
}
