//! Tracked public conversations: key, entry, ageing, and what each packet does to them.
//!
//! The policy decides and the flow is a cache: an entry that is lost costs a look-up, never a live
//! session of an allowed peer.

pub use crate::flow_key::{FlowKey, FlowKeyV4};
use crate::{
    decision::Decision,
    generation::Epoch,
    net::protocol::{self, tcp},
    packet::Packet,
    verdict::{AccessMode, Direction, Reason},
};

/// Bits of [`Flow::progress`]: what its packets have shown. Written by each packet of it.
pub mod progress {
    /// Both ends are real: the end that did not open it has spoken, and where the other end opened
    /// it, that end has spoken again (a forged source never does).
    pub const REPLIED: u16 = 1 << 0;
    /// This host has answered what the other end opened.
    pub const ANSWERED: u16 = 1 << 1;
    /// This host sent a FIN.
    pub const LOCAL_FIN: u16 = 1 << 2;
    /// The other end sent a FIN or RST (or somebody in its name).
    pub const REMOTE_END: u16 = 1 << 3;
    /// This host sent a RST.
    pub const LOCAL_RST: u16 = 1 << 4;
    /// Taken over from the kernel's sockets when the programs were attached.
    pub const SEEDED: u16 = 1 << 5;
}

/// Bits of [`Flow::standing`]: what the policy thinks of it. Written once a generation, and apart
/// from [`progress`], so that a packet on another processor never writes over a verdict.
pub mod standing {
    /// No rule matches; it lives because its association is in transition (or was).
    pub const WOULD_DENY: u16 = 1 << 0;
    /// Live when its association became enforced.
    pub const KEPT: u16 = 1 << 1;
    /// Denied in the generation that judged it last.
    pub const DENIED: u16 = 1 << 2;
    /// The enforced mode applied when it was judged last.
    pub const ENFORCED: u16 = 1 << 3;
    /// It lives by an entry of the live overlay, and each packet asks whether that is over.
    pub const TEMPORARY: u16 = 1 << 4;
}

/// [`Flow::generation`] while a processor writes what it judged: no generation has this number.
pub const UNSETTLED: u32 = u32::MAX;

/// Set in [`Flow::opener`]: ended by the operator. Written by nobody else, so that no packet on another
/// processor takes it back.
pub const CUT: u8 = 1 << 7;

/// Set in [`Flow::seen_ns`]: its last packet had no access record of its own to be added to, for the tables
/// were full when the first one of the epoch came.
pub const COLLAPSED: u64 = 1;

/// Entry of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// When it opened; coarse monotonic ns.
    pub opened_ns: u64,
    /// When its last packet passed, in even ns; and [`COLLAPSED`].
    pub seen_ns: u64,
    /// Packets, both ways. Not exact when two processors see it at once.
    pub packets: u64,
    /// Bytes, both ways, likewise.
    pub bytes: u64,
    /// Identity of the rule that allowed it, or zero.
    pub rule: u32,
    /// Identity of the name it was opened for, or zero.
    pub name: u32,
    /// Number of the generation that judged it last.
    pub generation: u32,
    /// The device it was opened by.
    pub ifindex: u32,
    /// Identity of its association, or zero.
    pub association: u16,
    /// Bits of [`progress`].
    pub progress: u16,
    /// Bits of [`standing`].
    pub standing: u16,
    /// [`Reason`] it was allowed for, as a number.
    pub reason: u8,
    /// [`Direction`] of the side that opened it, as a number; and [`CUT`].
    pub opener: u8,
}

crate::shared!(Flow, 56);

/// Entry of the tables of proven conversations: nothing evicts it, and it knows its place in the
/// list by which those that are over are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Proven {
    /// The conversation.
    pub flow: Flow,
    /// Its place.
    pub place: u32,
    /// Zero.
    pub _pad: u32,
}

crate::shared!(Proven, 64);

const SECOND: u64 = 1_000_000_000;

/// Idle time after which a conversation is over, by what it is (RFC 5382, RFC 4787, and what
/// netfilter's connection tracking allows, which applications are used to).
pub mod timeout {
    /// Only one side has spoken, TCP.
    pub const TCP_OPENING_S: u64 = 120;
    /// Both sides have spoken, TCP.
    pub const TCP_ESTABLISHED_S: u64 = 5 * 24 * 3600;
    /// One end closed. The other end's close may be forged: its later segments restore the flow, and
    /// each packet of a half-closed conversation begins the time anew.
    pub const TCP_CLOSING_S: u64 = 600;
    /// Both ends closed.
    pub const TCP_CLOSED_S: u64 = 120;
    /// Only one side has spoken, other protocols.
    pub const OTHER_OPENING_S: u64 = 60;
    /// Both sides have spoken, other protocols.
    pub const OTHER_REPLIED_S: u64 = 180;
}

impl Flow {
    /// None.
    pub const EMPTY: Self = Self {
        opened_ns: 0,
        seen_ns: 0,
        packets: 0,
        bytes: 0,
        rule: 0,
        name: 0,
        generation: 0,
        ifindex: 0,
        association: 0,
        progress: 0,
        standing: 0,
        reason: 0,
        opener: 0,
    };

    /// Whether all bits of [`progress`] in `bits` are set.
    #[inline(always)]
    pub const fn has(&self, bits: u16) -> bool {
        self.progress & bits == bits
    }

    /// Whether any bit of [`standing`] in `bits` is set.
    #[inline(always)]
    pub const fn stands(&self, bits: u16) -> bool {
        self.standing & bits != 0
    }

    /// Whether the operator ended it.
    #[inline(always)]
    pub const fn is_cut(&self) -> bool {
        self.opener & CUT != 0
    }

    /// Whether both ends took part, or this host began: what a stranger alone sends is no
    /// conversation that anybody would miss.
    #[inline(always)]
    pub const fn is_mutual(&self) -> bool {
        self.progress & (progress::REPLIED | progress::ANSWERED | progress::SEEDED) != 0
            || matches!(self.opened_by(), Direction::Outbound)
    }

    /// Whether, the table of access records being full, none is looked for: no packet of it came earlier in
    /// this epoch, or the one before had none either. To look costs as much as the conversation itself.
    ///
    /// Another conversation of the same peer may have such a record; this one's packets are then told with
    /// others all the same. None is uncounted.
    #[inline(always)]
    pub const fn is_collapsed(&self, epoch: Epoch) -> bool {
        self.seen_ns < epoch.began_ns() || self.seen_ns & COLLAPSED != 0
    }

    /// [`Flow::seen_ns`] of a packet.
    #[inline(always)]
    pub const fn seen(now_ns: u64, is_collapsed: bool) -> u64 {
        now_ns & !COLLAPSED | if is_collapsed { COLLAPSED } else { 0 }
    }

    /// The side that opened it.
    #[inline(always)]
    pub const fn opened_by(&self) -> Direction {
        if self.opener & !CUT == Direction::Outbound as u8 {
            Direction::Outbound
        } else {
            Direction::Inbound
        }
    }

    /// Seconds it may be idle.
    #[inline(always)]
    pub const fn timeout_s(&self, transport: u8) -> u64 {
        let replied = self.has(progress::REPLIED);
        if transport != protocol::TCP && transport != protocol::SCTP {
            return if replied { timeout::OTHER_REPLIED_S } else { timeout::OTHER_OPENING_S };
        }
        if !replied {
            timeout::TCP_OPENING_S
        } else if self.is_closed() {
            timeout::TCP_CLOSED_S
        } else if self.has(progress::REMOTE_END) || self.has(progress::LOCAL_FIN) {
            timeout::TCP_CLOSING_S
        } else {
            timeout::TCP_ESTABLISHED_S
        }
    }

    /// Whether both ends have closed it, or this host has reset it.
    #[inline(always)]
    pub const fn is_closed(&self) -> bool {
        self.has(progress::LOCAL_RST) || self.has(progress::LOCAL_FIN | progress::REMOTE_END)
    }

    /// Whether it is over.
    #[inline(always)]
    pub const fn is_expired(&self, transport: u8, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.seen_ns) > self.timeout_s(transport) * SECOND
    }

    /// The entry that a decision opens.
    #[inline(always)]
    pub const fn open(packet: &Packet, decision: &Decision, generation: u32, now_ns: u64) -> Self {
        let mut standing = 0;
        if decision.would_deny {
            standing |= standing::WOULD_DENY;
        }
        if decision.temporary {
            standing |= standing::TEMPORARY;
        }
        if matches!(decision.mode, AccessMode::Enforced) {
            standing |= standing::ENFORCED;
        }
        let is_answer =
            matches!((decision.opener, packet.way()), (Direction::Inbound, Direction::Outbound));
        let progress = if is_answer { progress::ANSWERED } else { 0 };
        Self {
            opened_ns: now_ns,
            seen_ns: now_ns,
            packets: 1,
            bytes: packet.length as u64,
            rule: decision.rule,
            name: decision.name,
            generation,
            ifindex: packet.ifindex,
            association: decision.association,
            progress,
            standing,
            reason: decision.reason as u8,
            opener: decision.opener as u8,
        }
    }

    /// [`progress`] after a packet of the conversation: who has spoken, who has closed.
    ///
    /// What the other end sends may be forged, so its FIN or RST only marks the flow, and any later
    /// segment takes the mark back until this host has closed too (RFC 5961 has the attack).
    #[inline(always)]
    pub const fn progress_after(&self, packet: &Packet) -> u16 {
        let mut bits = self.progress;
        let way = packet.way();
        // A refusal proves nobody: a scan's closed ports and the victims of forged SYNs send it.
        let refuses = packet.is_tcp() && packet.tcp_flags & tcp::RST != 0;
        match (self.opened_by(), way) {
            (_, Direction::Inbound) if refuses => {}
            (Direction::Outbound, Direction::Inbound) => bits |= progress::REPLIED,
            (Direction::Inbound, Direction::Outbound) => bits |= progress::ANSWERED,
            (Direction::Inbound, Direction::Inbound) if self.has(progress::ANSWERED) => {
                bits |= progress::REPLIED;
            }
            _ => {}
        }
        if !packet.is_tcp() {
            return bits;
        }
        let ends = packet.tcp_flags & (tcp::FIN | tcp::RST) != 0;
        match way {
            Direction::Outbound => {
                if packet.tcp_flags & tcp::RST != 0 {
                    bits |= progress::LOCAL_RST;
                } else if packet.tcp_flags & tcp::FIN != 0 {
                    bits |= progress::LOCAL_FIN;
                }
            }
            Direction::Inbound => {
                if ends {
                    bits |= progress::REMOTE_END;
                } else if !self.has(progress::LOCAL_FIN) {
                    bits &= !progress::REMOTE_END;
                }
            }
        }
        bits
    }

    /// Why its packets pass.
    #[inline(always)]
    pub const fn pass_reason(&self) -> Reason {
        if self.reason == Reason::Resolver as u8 {
            Reason::Resolver
        } else if self.reason == Reason::Recursive as u8 {
            Reason::Recursive
        } else if self.reason == Reason::Metadata as u8 {
            Reason::Metadata
        } else if self.reason == Reason::Forwarded as u8 {
            Reason::Forwarded
        } else if self.stands(standing::KEPT) {
            Reason::Kept
        } else {
            Reason::Flow
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: u16 = progress::REPLIED;

    #[test]
    fn idle_conversations_live_as_long_as_applications_are_used_to() {
        const DAY: u64 = 24 * 3600;
        let cases = [
            (protocol::TCP, 0, 120),
            (protocol::TCP, ANSWERED, 5 * DAY),
            (protocol::SCTP, ANSWERED, 5 * DAY),
            (protocol::TCP, ANSWERED | progress::REMOTE_END, 600),
            (protocol::TCP, ANSWERED | progress::LOCAL_FIN, 600),
            (protocol::TCP, ANSWERED | progress::LOCAL_FIN | progress::REMOTE_END, 120),
            (protocol::TCP, ANSWERED | progress::LOCAL_RST, 120),
            (protocol::UDP, 0, 60),
            (protocol::UDP, ANSWERED, 180),
            (protocol::ICMP, ANSWERED, 180),
        ];
        for (transport, progress, seconds) in cases {
            let flow = Flow { seen_ns: 7 * SECOND, progress, ..Flow::EMPTY };
            let end_ns = (7 + seconds) * SECOND;
            assert!(!flow.is_expired(transport, end_ns), "{transport} {progress:#x}");
            assert!(flow.is_expired(transport, end_ns + 1), "{transport} {progress:#x}");
            // A clock that is behind the last packet, on another processor, ends nothing.
            assert!(!flow.is_expired(transport, 0));
        }
    }
}
