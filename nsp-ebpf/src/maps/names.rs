//! Names, and what each unit has learned.

use aya_ebpf::{
    btf_maps::{ArrayOfMaps, HashMap, LpmTrie},
    cty::c_void,
    helpers::generated::bpf_map_lookup_elem,
    macros::btf_map,
};
use nsp_common::{
    address::{Address, Family},
    generation::SLOTS,
    learned::{Learned, LearnedName, RingEntry, RingKey, Unit},
    name::{BACKWARD_END, KEY_LEN},
};

use super::{
    host::{LEARNED_V4, LEARNED_V6},
    questions::Reading,
};

const NOT_YET: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;

/// The value is a [`Unit`] as two plain words: 6.1 takes an inner map whose value is a struct for another
/// kind than the template (`timer_off` in `bpf_map_meta_equal`).
type NameTrie = LpmTrie<[u8; KEY_LEN], [u32; 2], 1>;

/// Name to unit: one trie a slot, put in when it is full.
#[btf_map]
static NAMES: ArrayOfMaps<NameTrie, { SLOTS as usize }> = ArrayOfMaps::new();

/// The next place in the ring of each unit.
#[btf_map]
static RINGS: HashMap<u32, u64, 131072> = HashMap::new();

/// The rings.
#[btf_map]
static RING_PLACES: HashMap<RingKey, RingEntry, 131072> = HashMap::new();

/// What the asked name of a message is held by in the slot's generation.
#[inline(always)]
pub(crate) fn unit(slot: u32, reading: &mut Reading) -> Option<Unit> {
    let names = NAMES.get(slot)?;
    // The length of the prefix goes before the key, wherever that begins. The mask is for the
    // verifier: a key never begins after its zero.
    let start = reading.walk.key_start & BACKWARD_END;
    let bits = u32::from(BACKWARD_END + 1 - start) * 8;
    let at = (start as usize - 4) & BACKWARD_END as usize;
    let [a, b, c, d] = bits.to_ne_bytes();
    reading.key.bytes[at] = a;
    reading.key.bytes[at + 1] = b;
    reading.key.bytes[at + 2] = c;
    reading.key.bytes[at + 3] = d;
    let key: *const u8 = &raw const reading.key.bytes[at];
    let map: *mut c_void = core::ptr::from_ref(names).cast_mut().cast();
    // SAFETY: a map of the outer array, and a key of its size: 260 bytes from `at` on are inside.
    let unit = unsafe { bpf_map_lookup_elem(map, key.cast()) }.cast::<[u32; 2]>();
    // SAFETY: null, or a value of that map.
    let [name, quota] = unsafe { unit.as_ref() }.copied()?;
    Some(Unit { name, quota })
}

/// The names of an address, to be changed.
#[inline(always)]
pub(crate) fn names_of(address: &Address, family: Family) -> *mut Learned {
    let found = match family {
        Family::V4 => LEARNED_V4.get_ptr_mut(&address.v4_octets()),
        Family::V6 => LEARNED_V6.get_ptr_mut(&address.octets),
    };
    super::or_null(found)
}

/// Writes an address unless it is there.
#[inline(always)]
pub(crate) fn put_address(address: &Address, family: Family, learned: &Learned) -> i32 {
    let put = match family {
        Family::V4 => LEARNED_V4.insert(&address.v4_octets(), learned, NOT_YET),
        Family::V6 => LEARNED_V6.insert(&address.octets, learned, NOT_YET),
    };
    put.err().unwrap_or(0)
}

/// Takes an address out.
#[inline(always)]
pub(crate) fn remove_address(address: &Address, family: Family) {
    // Whether it was still there does not matter.
    let _gone = match family {
        Family::V4 => LEARNED_V4.remove(&address.v4_octets()),
        Family::V6 => LEARNED_V6.remove(&address.octets),
    };
}

/// One name of an address, changed in one store: a look-up sees the old or the new.
#[inline(always)]
pub(crate) fn set_name(place: &mut LearnedName, name: LearnedName) {
    let place = core::ptr::from_mut(place).cast::<u64>();
    let word = u64::from(name.name) | u64::from(name.expires_s) << 32;
    // SAFETY: two aligned words of four bytes that begin at a multiple of eight of a map value.
    unsafe { place.write_volatile(word) };
}

/// The counter of a unit's ring, made when it is not there.
#[inline(always)]
pub(crate) fn ring(name: u32) -> *mut u64 {
    if let Some(next) = RINGS.get_ptr_mut(&name) {
        return next;
    }
    // Another processor may be first: the one that is there counts.
    let _put = RINGS.insert(&name, &0, NOT_YET);
    super::or_null(RINGS.get_ptr_mut(&name))
}

/// Who has a place in a ring.
#[inline(always)]
pub(crate) fn ring_entry(key: &RingKey) -> Option<RingEntry> {
    super::copied!(RING_PLACES, key)
}

/// Gives a place in a ring to an address.
#[inline(always)]
pub(crate) fn set_ring_entry(key: &RingKey, entry: &RingEntry) -> i32 {
    RING_PLACES.insert(key, entry, 0).err().unwrap_or(0)
}
