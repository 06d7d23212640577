//! Address to class in the kernel, by one of two engines.

use aya::{
    Ebpf,
    maps::{
        Array, ArrayOfMaps, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use nsp_common::{
    generation::SLOTS,
    ranges::{PAGE_BYTES, Page},
};

use super::{
    Capacities, DatapathError,
    mapped::Mapped,
    publish::{NO_PREALLOC, insert},
    take,
};
use crate::compile::Compiled;

/// Which table maps addresses to classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Range tables ([`nsp_common::ranges`]): the same cost for ten prefixes and for a million.
    #[default]
    RangeTable,
    /// The kernel's own `BPF_MAP_TYPE_LPM_TRIE`: slow from some thousand prefixes on, and what the other
    /// is held against.
    LpmTrie,
}

/// `BPF_F_INNER_MAP` (kernel 5.10): arrays of other sizes may take this one's place in a map of maps.
const ANY_SIZE: u32 = 1 << 12;
const MORE_PAGES: &str = "MORE_PAGES";
/// Slots that hold anything: all but zero.
pub(super) const PARTS: usize = SLOTS as usize - 1;

type Pages = Array<MapData, Page>;
type TrieV4 = LpmTrie<MapData, [u8; 4], u32>;
type TrieV6 = LpmTrie<MapData, [u8; 16], u32>;

/// The address tables, by slot.
pub(super) struct AddressTables {
    engine: Engine,
    /// Room for a slot's pages, in pages.
    room: usize,
    pages: Mapped,
    /// What does not fit there.
    more_pages: ArrayOfMaps<MapData, Pages>,
    v4: ArrayOfMaps<MapData, TrieV4>,
    v6: ArrayOfMaps<MapData, TrieV6>,
    /// A table without content.
    idle: Pages,
    /// Whether there may be one with content in a slot of `more_pages`.
    has_more: [bool; SLOTS as usize],
}

impl AddressTables {
    pub(super) fn new(ebpf: &mut Ebpf, capacities: &Capacities) -> Result<Self, DatapathError> {
        let room = capacities.page_room();
        Ok(Self {
            engine: capacities.engine,
            room,
            pages: Mapped::new(ebpf, "PAGES", PARTS * room, PAGE_BYTES)?,
            more_pages: take(ebpf, MORE_PAGES)?,
            v4: take(ebpf, "ADDRESSES_V4")?,
            v6: take(ebpf, "ADDRESSES_V6")?,
            idle: Pages::create(1, ANY_SIZE).map_err(failed(MORE_PAGES))?,
            // An agent before may have left some; to let go of nothing costs nothing.
            has_more: [true; SLOTS as usize],
        })
    }

    /// Fills a slot that no program looks at any more ([`AddressTables::grace`]).
    pub(super) fn fill(&mut self, slot: u32, compiled: &Compiled) -> Result<(), DatapathError> {
        match self.engine {
            Engine::RangeTable => self.fill_ranges(slot, &compiled.pages),
            Engine::LpmTrie => self.fill_tries(slot, &compiled.prefixes),
        }
    }

    fn fill_ranges(&mut self, slot: u32, pages: &[Page]) -> Result<(), DatapathError> {
        let (near, more) = pages.split_at(pages.len().min(self.room));
        self.pages.write((slot as usize - 1) * self.room, near);
        if more.is_empty() {
            return self.release(slot);
        }
        let mut table = Pages::create(more.len() as u32, ANY_SIZE).map_err(failed(MORE_PAGES))?;
        for (number, page) in more.iter().enumerate() {
            table.set(number as u32, page, 0).map_err(failed(MORE_PAGES))?;
        }
        self.more_pages.set(slot, &table, 0).map_err(failed(MORE_PAGES))?;
        self.has_more[slot as usize] = true;
        Ok(())
    }

    fn fill_tries(&mut self, slot: u32, prefixes: &[(IpNet, u32)]) -> Result<(), DatapathError> {
        let of_v4 = prefixes.partition_point(|(prefix, _)| matches!(prefix, IpNet::V4(_))) as u32;
        let of_v6 = prefixes.len() as u32 - of_v4;
        let mut v4 = TrieV4::create(of_v4.max(1), NO_PREALLOC).map_err(failed("ADDRESSES_V4"))?;
        let mut v6 = TrieV6::create(of_v6.max(1), NO_PREALLOC).map_err(failed("ADDRESSES_V6"))?;
        for (prefix, class) in prefixes {
            let length = u32::from(prefix.prefix_len());
            match prefix {
                IpNet::V4(net) => {
                    insert(&mut v4, &Key::new(length, net.network().octets()), *class)
                        .map_err(failed("ADDRESSES_V4"))?;
                }
                IpNet::V6(net) => {
                    insert(&mut v6, &Key::new(length, net.network().octets()), *class)
                        .map_err(failed("ADDRESSES_V6"))?;
                }
            }
        }
        self.v4.set(slot, &v4, 0).map_err(failed("ADDRESSES_V4"))?;
        self.v6.set(slot, &v6, 0).map_err(failed("ADDRESSES_V6"))
    }

    /// Lets go of what a slot that nobody will go back to has beyond the room that is always there.
    pub(super) fn release(&mut self, slot: u32) -> Result<(), DatapathError> {
        if !self.has_more[slot as usize] {
            return Ok(());
        }
        self.more_pages.set(slot, &self.idle, 0).map_err(failed(MORE_PAGES))?;
        self.has_more[slot as usize] = false;
        Ok(())
    }

    /// Waits until no program runs that began before this call: the kernel does in each update of a map of
    /// maps (kernel/bpf/syscall.c, maybe_wait_bpf_programs). Slot zero is never looked up.
    pub(super) fn grace(&mut self) -> Result<(), DatapathError> {
        self.more_pages.set(0, &self.idle, 0).map_err(|source| DatapathError::Map {
            operation: "wait on",
            map: MORE_PAGES,
            source,
        })
    }
}

fn failed(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { operation: "fill", map, source }
}
