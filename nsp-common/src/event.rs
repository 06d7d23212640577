//! Counters, access records and events, as they lie in the maps.

use crate::{
    decision::Decision,
    packet::Packet,
    verdict::{Category, Direction, Lesson, Reason, Verdict},
};

/// One counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets. A segment-offloaded packet counts once: it was judged once.
    pub packets: u64,
    /// Bytes of the frames.
    pub bytes: u64,
}

/// Entries of the per-processor counter array.
pub const COUNTERS: u32 =
    Reason::ROOM as u32 * 4 + Category::ALL.len() as u32 + LOSSES + Lesson::ALL.len() as u32;

/// Places where something can be lost, after the reasons and categories.
pub const LOSSES: u32 = 4;

/// What is counted as lost, where it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// A packet that no record could be made for: all record tables were full.
    Record = 0,
    /// An event that did not fit the ring buffer. Its packet is in a record all the same.
    Event = 1,
    /// A conversation that did not fit its table.
    Flow = 2,
    /// A fragment head that could not be remembered.
    Fragment = 3,
}

/// Index of the counter of what became of DNS answers and of the addresses in them.
#[inline(always)]
pub const fn lesson_counter(lesson: Lesson) -> u32 {
    Reason::ROOM as u32 * 4 + Category::ALL.len() as u32 + LOSSES + lesson as u32
}

/// Index of the counter of one (reason, direction, verdict).
#[inline(always)]
pub const fn reason_counter(reason: u8, direction: Direction, verdict: Verdict) -> u32 {
    (reason as u32) << 2 | (direction as u32) << 1 | verdict as u32
}

/// Index of the counter of what was logged, or lost on the way, in one category.
#[inline(always)]
pub const fn category_counter(category: Category) -> u32 {
    Reason::ROOM as u32 * 4 + category as u32
}

/// Index of the counter of one loss.
#[inline(always)]
pub const fn loss_counter(loss: Loss) -> u32 {
    Reason::ROOM as u32 * 4 + Category::ALL.len() as u32 + loss as u32
}

/// Bits of [`RecordKey::flags`].
pub mod flags {
    /// Dropped.
    pub const DENIED: u8 = 1 << 0;
    /// This host opened the conversation.
    pub const OUTBOUND: u8 = 1 << 1;
    /// Passed, and would not when enforced.
    pub const WOULD_DENY: u8 = 1 << 2;
    /// The enforced mode applied.
    pub const ENFORCED: u8 = 1 << 3;
}

/// How much of the peer's address a record keeps. Under a flood of sources records collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Grain {
    /// All of it.
    Address = 0,
    /// /16 of IPv4, /48 of IPv6.
    Network = 1,
    /// Nothing: many sources.
    Many = 2,
}

/// What an access record is about: packets of equal keys share a record. The peer's own port is
/// not part of it, or every connection would be a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RecordKey {
    /// The other end, as far as [`Grain`] keeps it.
    pub remote: [u8; 16],
    /// This end.
    pub local: [u8; 16],
    /// Identity of the rule, or zero.
    pub rule: u32,
    /// Identity of the name, or zero; of a question that strict DNS refused, what stands for the asked one.
    pub name: u32,
    /// Number of the generation.
    pub generation: u32,
    /// The device.
    pub ifindex: u32,
    /// The port of the side that was asked, host order.
    pub service_port: u16,
    /// Identity of the association, or zero.
    pub association: u16,
    /// Transport protocol.
    pub protocol: u8,
    /// Family, as in [`crate::flow_key::FlowKey::family`].
    pub family: u8,
    /// [`Reason`] as a number; conversations keep the reason they opened with out of here, so that
    /// a rule's record holds all of its packets.
    pub reason: u8,
    /// [`Category`] as a number.
    pub category: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// [`Grain`] as a number.
    pub grain: u8,
    /// Zero.
    pub _pad: [u8; 6],
}

/// What is summed up in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// Conversations: TCP SYNs; of other protocols the first packet.
    pub count: u64,
    /// Packets, both ways.
    pub packets: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    /// Of the packets, those against the opener: answers.
    pub answers: u64,
    /// First packet, coarse monotonic ns.
    pub first_ns: u64,
    /// Last packet.
    pub last_ns: u64,
    /// The opener's port in the first packet, host order.
    pub opener_port: u16,
    /// Zero.
    pub _pad: u16,
    /// The process whose socket the first packet went out by, or zero where its calls were not seen.
    pub pid: u32,
    /// Its name, zeros behind it.
    pub comm: [u8; 16],
    /// Its cgroup, by id.
    pub cgroup: u64,
}

/// How full the tables of records of an epoch are, until they are drained.
///
/// What others send and is denied may begin three quarters of the records and no more: a flood of forged
/// sources does not take the place of those of whom something passes, or of what this host sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Full {
    /// By epoch and [`Grain`]: records that what others send and is denied has begun.
    pub strangers: [[u64; 2]; 2],
    /// By epoch and [`Grain`]: not zero when its table has no room at all. Plain bytes, which any processor sets.
    pub grains: [[u8; 2]; 2],
    /// Zero.
    pub _pad: [u8; 4],
}

/// Rows of "many sources" that each processor has at hand.
pub const NEAR_ROWS: u32 = 256;

/// A row of "many sources" of one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Near {
    /// What it is about, as soon as it has packets.
    pub key: RecordKey,
    /// What is summed up.
    pub record: Record,
}

impl Near {
    /// No packets.
    pub const EMPTY: Self = Self { key: RecordKey::EMPTY, record: Record::EMPTY };
}

/// What goes over the ring buffer: the first packet of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Its record.
    pub key: RecordKey,
    /// The opener's port, host order.
    pub opener_port: u16,
    /// Zero.
    pub _pad: [u8; 6],
    /// When, coarse monotonic ns.
    pub at_ns: u64,
}

crate::shared!(Counter, 16);
crate::shared!(RecordKey, 64);
crate::shared!(Record, 80);
crate::shared!(Near, 144);
crate::shared!(Full, 40);
crate::shared!(Event, 80);

impl Record {
    /// Nothing summed up.
    pub const EMPTY: Self = Self {
        count: 0,
        packets: 0,
        bytes: 0,
        answers: 0,
        first_ns: 0,
        last_ns: 0,
        opener_port: 0,
        _pad: 0,
        pid: 0,
        comm: [0; 16],
        cgroup: 0,
    };

    /// Sums up another record of the same key. Whose packet was first, of that the rest is told.
    pub const fn add(&mut self, other: &Self) {
        let Self { count, packets, bytes, answers, first_ns, last_ns, .. } = *other;
        if first_ns < self.first_ns {
            let sums = *self;
            *self = *other;
            (self.count, self.packets) = (sums.count, sums.packets);
            (self.bytes, self.answers) = (sums.bytes, sums.answers);
            self.last_ns = sums.last_ns;
        }
        self.count += count;
        self.packets += packets;
        self.bytes += bytes;
        self.answers += answers;
        if last_ns > self.last_ns {
            self.last_ns = last_ns;
        }
    }
}

impl RecordKey {
    /// Of nothing.
    pub const EMPTY: Self = Self {
        remote: [0; 16],
        local: [0; 16],
        rule: 0,
        name: 0,
        generation: 0,
        ifindex: 0,
        service_port: 0,
        association: 0,
        protocol: 0,
        family: 0,
        reason: 0,
        category: 0,
        flags: 0,
        grain: 0,
        _pad: [0; 6],
    };

    /// Which of the near rows is its own, of a key of many sources: one that another key has is not waited
    /// for.
    #[inline(always)]
    pub const fn near_row(&self) -> u32 {
        let mixed = self.rule
            ^ (self.association as u32) << 3
            ^ (self.reason as u32) << 1
            ^ (self.protocol as u32) << 4
            ^ (self.flags as u32) << 2
            ^ self.family as u32
            // What a generation leaves behind until the epoch ends is not in the way of the next.
            ^ self.generation.wrapping_mul(0x9e37_79b1) >> 24;
        (mixed ^ mixed >> 8 ^ self.ifindex) & (NEAR_ROWS - 1)
    }

    /// The record that a decision belongs to.
    #[inline(always)]
    pub const fn of(
        packet: &Packet,
        decision: &Decision,
        category: Category,
        generation: u32,
    ) -> Self {
        let mut bits = 0;
        if matches!(decision.verdict, Verdict::Drop) {
            bits |= flags::DENIED;
        }
        if matches!(decision.opener, Direction::Outbound) {
            bits |= flags::OUTBOUND;
        }
        if decision.would_deny {
            bits |= flags::WOULD_DENY;
        }
        if matches!(decision.mode, crate::verdict::AccessMode::Enforced) {
            bits |= flags::ENFORCED;
        }
        // Packets of a conversation join the record that its opening made.
        let reason = match decision.reason {
            Reason::Flow if decision.would_deny => Reason::NoRule,
            Reason::Flow if decision.rule != 0 => Reason::Rule,
            other => other,
        };
        let service_port = match decision.opener {
            Direction::Inbound => packet.key.local_port,
            Direction::Outbound => packet.key.remote_port,
        };
        Self {
            remote: packet.key.remote.octets,
            local: packet.key.local.octets,
            rule: decision.rule,
            name: decision.name,
            generation,
            ifindex: packet.ifindex,
            service_port,
            association: decision.association,
            protocol: packet.key.protocol,
            family: packet.key.family,
            reason: reason as u8,
            category: category as u8,
            flags: bits,
            grain: Grain::Address as u8,
            _pad: [0; 6],
        }
    }

    /// Gives up part of the peer's address. A collapsed record keeps no service port either: a scan
    /// has as many ports as a flood has sources.
    #[inline(always)]
    pub const fn coarsen(&mut self, grain: Grain) {
        // Whole words under constant masks: a loop over bytes would become a call to memset, which
        // the verifier walks step by step.
        let (head, tail) = match (grain, self.family) {
            (Grain::Address, _) => (u64::MAX, u64::MAX),
            (Grain::Network, 4) => (u64::MAX, 0xffff_ffff_ffff_0000),
            (Grain::Network, _) => (0xffff_ffff_ffff_0000, 0),
            (Grain::Many, _) => (0, 0),
        };
        let address = u128::from_be_bytes(self.remote);
        let mask = (head as u128) << 64 | tail as u128;
        self.remote = (address & mask).to_be_bytes();
        self.service_port = 0;
        if matches!(grain, Grain::Many) {
            // What is left is bounded by the policy, not by what anybody sends.
            self.local = [0; 16];
            if self.reason == Reason::StrictDns as u8 {
                self.name = 0;
            }
        }
        self.grain = grain as u8;
    }
}

/// What one packet adds to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// One when it opens a conversation.
    pub count: u64,
    /// Its bytes.
    pub bytes: u64,
    /// One when it goes against the opener.
    pub answers: u64,
    /// The opener's port.
    pub opener_port: u16,
}

impl Addition {
    /// What a packet adds. Conversations are counted by SYNs; in other protocols by packets that
    /// belong to none yet.
    #[inline(always)]
    pub const fn of(packet: &Packet, decision: &Decision) -> Self {
        let against = packet.way() as u8 != decision.opener as u8;
        let opening = if packet.is_tcp() {
            packet.is_bare_syn()
        } else {
            !matches!(decision.flow, crate::decision::FlowAction::Touch) && !against
        };
        Self {
            count: opening as u64,
            bytes: packet.length as u64,
            answers: against as u64,
            opener_port: match decision.opener {
                Direction::Inbound => packet.key.remote_port,
                Direction::Outbound => packet.key.local_port,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_add_up_and_the_first_packet_tells_the_rest() {
        let early = Record {
            count: 1,
            packets: 2,
            bytes: 30,
            first_ns: 5,
            last_ns: 6,
            opener_port: 7,
            ..Record::EMPTY
        };
        let late = Record {
            count: 1,
            packets: 3,
            bytes: 40,
            first_ns: 8,
            last_ns: 9,
            opener_port: 1,
            ..Record::EMPTY
        };
        let sum = Record { count: 2, packets: 5, bytes: 70, last_ns: 9, ..early };
        for (one, other) in [(early, late), (late, early)] {
            let mut record = one;
            record.add(&other);
            assert_eq!(record, sum);
        }
    }
}
