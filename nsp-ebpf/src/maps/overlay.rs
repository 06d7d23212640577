//! The live overlay: what is allowed or blocked for a time, whatever generation is in force.

use aya_ebpf::{
    btf_maps::{HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use nsp_common::{
    address::{Address, Family},
    overlay::Overlay,
};

/// Entries about IPv4 prefixes: the value of each has those of all that cover it.
#[btf_map]
static OVERLAY_V4: LpmTrie<[u8; 4], Overlay, 1024> = LpmTrie::new();

/// As `OVERLAY_V4`.
#[btf_map]
static OVERLAY_V6: LpmTrie<[u8; 16], Overlay, 1024> = LpmTrie::new();

/// Entries about names, by the identity that addresses are learned for.
#[btf_map]
static OVERLAY_NAMES: HashMap<u32, Overlay, 4096> = HashMap::new();

/// What there is about an address.
#[inline(always)]
pub(crate) fn temporary(address: &Address, family: Family) -> Option<&'static Overlay> {
    match family {
        Family::V4 => OVERLAY_V4.get(&Key::new(32, address.v4_octets())),
        Family::V6 => OVERLAY_V6.get(&Key::new(128, address.octets)),
    }
}

/// What there is about a name.
#[inline(always)]
pub(crate) fn temporary_of_name(name: u32) -> Option<&'static Overlay> {
    // SAFETY: plain integers in a map value. An entry that is replaced meanwhile is read as it was, or
    // as another that covered the name a moment ago.
    unsafe { OVERLAY_NAMES.get(&name) }
}
