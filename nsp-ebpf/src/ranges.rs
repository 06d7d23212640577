//! Address to class, by the engine that was chosen when the programs were loaded.

use aya_ebpf::Global;
use nsp_common::{
    address::{Address, Family},
    class::CLASS_NONE,
    ranges::{Words, descend, look_up},
};

use crate::maps::{self, RangeTable};

/// The reference engine instead of range tables. The verifier knows it and leaves the other one out.
#[unsafe(no_mangle)]
static BY_TRIE: Global<u32> = Global::new(0);

/// The class number of an address in a slot, or zero.
#[inline(always)]
pub(crate) fn class_of(slot: u32, address: &Address, family: Family) -> u32 {
    if BY_TRIE.load() != 0 {
        return maps::class_by_trie(slot, address, family).unwrap_or(0);
    }
    match family {
        Family::V4 => {
            let Words { root, high, low } = Words::v4(u32::from_be_bytes(address.v4_octets()));
            nsp_class_of(slot, root, high, low)
        }
        Family::V6 => {
            let bits = u128::from_be_bytes(address.octets);
            let Words { root, high, low } = Words::v6((bits >> 64) as u64, bits as u64);
            nsp_class_of(slot, root, high, low)
        }
    }
}

/// By range table. By itself, as in `judge.rs`; the fields of [`Words`], for a function takes numbers.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_class_of(slot: u32, root: u32, high: u64, low: u64) -> u32 {
    match RangeTable::of(slot) {
        Some(table) => look_up(&table, Words { root, high, low }),
        None => CLASS_NONE,
    }
}

/// From a node of the range table of a slot to what it says of the next words. `zero`: see [`descend`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_descend(slot: u32, reference: u32, words: u64, zero: u32) -> u32 {
    match RangeTable::of(slot) {
        Some(table) => descend(&table, reference, words, zero),
        None => CLASS_NONE,
    }
}
