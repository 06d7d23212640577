//! Address to class, by the engine that was chosen when the programs were loaded.

use aya_ebpf::Global;
use nsp_common::{
    address::{Address, Family},
    ranges::{Words, look_up},
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
        Family::V4 => nsp_class_of_v4(slot, u32::from_be_bytes(address.v4_octets()), 0),
        Family::V6 => {
            let bits = u128::from_be_bytes(address.octets);
            nsp_class_of_v6(slot, (bits >> 64) as u64, bits as u64, 0)
        }
    }
}

/// By range table. By itself, as in `judge.rs`. `zero`: see [`nsp_common::ranges::Pages::zero`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_class_of_v4(slot: u32, address: u32, zero: u32) -> u32 {
    look_up(&RangeTable { slot, zero }, Words::v4(address))
}

/// As [`nsp_class_of_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_class_of_v6(slot: u32, high: u64, low: u64, zero: u32) -> u32 {
    look_up(&RangeTable { slot, zero }, Words::v6(high, low))
}
