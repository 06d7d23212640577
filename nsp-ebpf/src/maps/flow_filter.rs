//! The filter before the tables of conversations ([`nsp_common::flow_filter`]).

use aya_ebpf::{bindings::BPF_F_MMAPABLE, btf_maps::Array, macros::btf_map};
use nsp_common::{
    flow::FlowKey,
    flow_filter::{Half, place},
};

use crate::atomic::or;

const HALVES: u32 = 2;

/// Both halves.
#[btf_map]
static FLOW_FILTER: Array<Half, { HALVES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Whether a conversation may be in one of the tables, by the half that is read.
#[inline(always)]
pub(crate) fn may_have(half: u32, key: &FlowKey) -> bool {
    let (word, bit) = place(key);
    let Some(half) = FLOW_FILTER.get_ptr(half & (HALVES - 1)) else { return true };
    // SAFETY: a word of a map value, not null; its number is masked.
    unsafe { (&raw const (*half).0).cast::<u64>().add(word).read() & bit != 0 }
}

/// Remembers that a conversation is about to be put into one.
#[inline(always)]
pub(super) fn expect(key: &FlowKey) {
    let (word, bit) = place(key);
    for half in 0..HALVES {
        let Some(half) = FLOW_FILTER.get_ptr_mut(half) else { return };
        // SAFETY: an aligned word of a map value, not null; its number is masked.
        unsafe {
            let word = (&raw mut (*half).0).cast::<u64>().add(word);
            if word.read() & bit == 0 {
                or(word, bit);
            }
        }
    }
}
