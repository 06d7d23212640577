//! Address to class, by the engine that was chosen when the programs were loaded.

use aya_ebpf::Global;
use nsp_common::{
    address::{Address, Family},
    generation::flags,
    ranges::{Words, look_up, node_head, root_reference},
};

use crate::{
    barrier,
    maps::{self, NearPages, RangeTable, Work},
};

/// The reference engine instead of range tables. The verifier knows it and leaves the other one out.
#[unsafe(no_mangle)]
static BY_TRIE: Global<u32> = Global::new(0);

/// The class number of an address in a slot, or zero.
#[inline(always)]
pub(crate) fn class_of(slot: u32, address: &Address, family: Family) -> u32 {
    if BY_TRIE.load() != 0 {
        return maps::class_by_trie(slot, address, family).unwrap_or(0);
    }
    let words = words(address, family);
    match family {
        Family::V4 => nsp_class_of_v4(slot, (words.high >> 32) as u32, 0),
        Family::V6 => nsp_class_of_v6(slot, words.high, words.low, 0),
    }
}

/// Reads what the look-up of the packet's peer will begin with, so that it comes from memory while the
/// packet's resource is looked for. (BPF has no other way to say so.)
#[inline(always)]
pub(crate) fn ask_root(work: &Work) {
    if is_far(work) {
        let Work { packet, slot, .. } = work;
        let words = words(&packet.key.remote, packet.ip_family());
        barrier::read(root_reference(&NearPages(*slot), words));
    }
}

/// Reads what it will go on with.
#[inline(always)]
pub(crate) fn ask_node(work: &Work) {
    if is_far(work) {
        let Work { packet, slot, .. } = work;
        let words = words(&packet.key.remote, packet.ip_family());
        let reference = root_reference(&NearPages(*slot), words);
        barrier::read(node_head(&NearPages(*slot), reference, words));
    }
}

#[inline(always)]
fn is_far(work: &Work) -> bool {
    BY_TRIE.load() == 0 && work.generation.has(flags::FAR)
}

#[inline(always)]
fn words(address: &Address, family: Family) -> Words {
    match family {
        Family::V4 => Words::v4(u32::from_be_bytes(address.v4_octets())),
        Family::V6 => {
            let bits = u128::from_be_bytes(address.octets);
            Words::v6((bits >> 64) as u64, bits as u64)
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
