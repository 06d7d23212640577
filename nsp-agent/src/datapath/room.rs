//! How many conversations there is room for. Chosen when the agent starts: maps have the size that they
//! were made with.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::{IterableMap as _, MapData};

use super::{Datapath, FlowTable};

/// Places for conversations both ends of which have spoken; the other tables' sizes follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRoom {
    /// IPv4.
    pub v4: u32,
    /// IPv6.
    pub v6: u32,
}

impl FlowRoom {
    /// IPv4 conversations when nothing else is said.
    pub const V4_DEFAULT: u32 = 1 << 18;
    /// Least of IPv4, and a quarter of it of IPv6: a peer may have an eighth, and that must be some.
    pub const V4_MIN: u32 = 1 << 10;
    /// See [`Self::V4_MIN`].
    pub const V6_MIN: u32 = Self::V4_MIN / 4;
    /// Most of a family: the kernel counts no further in one go (`BPF_MAX_LOOPS`) when the places are
    /// made free.
    pub const MAX: u32 = 1 << 23;

    /// One peer has at most this part of the places of its family.
    const PEER_PART: u32 = 8;
    const UNPROVEN_MIN: u32 = 1 << 14;
    const UNPROVEN_MAX: u32 = 1 << 18;

    /// So many of IPv4, and a quarter of IPv6.
    pub const fn of(v4: u32) -> Self {
        Self { v4, v6: v4 / 4 }
    }

    /// Proven conversations that one peer may have: IPv4, IPv6.
    pub(super) fn of_one_peer(self) -> [u32; 2] {
        [self.v4, self.v6].map(|places| (places / Self::PEER_PART).max(1))
    }

    /// Entries of each table of the unproven, and peers that are counted. A conversation is among the
    /// unproven for a round trip, so they need not grow as the others do; and a small table would be
    /// turned over by a small flood before an answer is there.
    pub(super) fn unproven(self) -> u32 {
        (self.v4 / 4).max(self.v6).clamp(Self::UNPROVEN_MIN, Self::UNPROVEN_MAX)
    }
}

impl Default for FlowRoom {
    fn default() -> Self {
        Self::of(Self::V4_DEFAULT)
    }
}

/// One table of conversations: what it has room for, and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRoom {
    /// Which.
    pub table: FlowTable,
    /// Conversations.
    pub capacity: u32,
    /// Memory of the kernel, in bytes, with the lists that go with the table. It is taken when the programs
    /// are loaded and stays the same. `None` where the kernel does not tell.
    pub bytes: Option<u64>,
}

impl Datapath {
    /// The tables of conversations, those of the proven first.
    pub fn flow_tables(&self) -> [TableRoom; 6] {
        const SHOWN: [FlowTable; 6] = [
            FlowTable::ProvenV4,
            FlowTable::ProvenV6,
            FlowTable::AskedV4,
            FlowTable::AskedV6,
            FlowTable::KnockedV4,
            FlowTable::KnockedV6,
        ];
        let FlowRoom { v4, v6 } = self.capacities.flows;
        let unproven = self.capacities.flows.unproven();
        let tables = &self.flows;
        SHOWN.map(|table| {
            let (capacity, bytes) = match table {
                FlowTable::AskedV4 => (unproven, bytes(&[tables.asked_v4.map()])),
                FlowTable::KnockedV4 => (unproven, bytes(&[tables.knocked_v4.map()])),
                FlowTable::AskedV6 => (unproven, bytes(&[tables.asked_v6.map()])),
                FlowTable::KnockedV6 => (unproven, bytes(&[tables.knocked_v6.map()])),
                FlowTable::ProvenV4 => {
                    let [places, free] = &tables.places_v4;
                    (v4, bytes(&[tables.proven_v4.map(), places, free]))
                }
                FlowTable::ProvenV6 => {
                    let [places, free] = &tables.places_v6;
                    (v6, bytes(&[tables.proven_v6.map(), places, free]))
                }
            };
            TableRoom { table, capacity, bytes }
        })
    }

    /// Bytes of the kernel's memory that all tables about conversations take, with that which counts them
    /// by peer. `None` where the kernel does not tell.
    pub fn flow_tables_bytes(&self) -> Option<u64> {
        let tables = self.flow_tables().into_iter().map(|table| table.bytes);
        tables.chain([bytes(&[&self.flows.peers])]).sum()
    }
}

/// Bytes that maps take, by `/proc/self/fdinfo`. (A kernel before 6.4 counts keys and values only.)
fn bytes(maps: &[&MapData]) -> Option<u64> {
    maps.iter()
        .map(|map| {
            let file = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
            let text = fs::read_to_string(file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse::<u64>().ok())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unproven_have_a_quarter_within_bounds() {
        let cases = [
            (FlowRoom::of(1024), 16_384),
            (FlowRoom::default(), 65_536),
            (FlowRoom::of(1_000_000), 250_000),
            (FlowRoom::of(FlowRoom::MAX), 262_144),
            (FlowRoom { v4: 1024, v6: 100_000 }, 100_000),
        ];
        for (room, unproven) in cases {
            assert_eq!(room.unproven(), unproven, "{room:?}");
        }
    }

    #[test]
    fn a_peer_has_an_eighth_of_its_family() {
        assert_eq!(FlowRoom::default().of_one_peer(), [32_768, 8_192]);
        assert_eq!(FlowRoom { v4: 8, v6: 2 }.of_one_peer(), [1, 1]);
    }
}
