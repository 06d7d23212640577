//! Conversations both ends of which have spoken. Nothing evicts them, and each peer may have so many.
//!
//! Each has a place in a list, so that `ageing.rs` can look at a part of them at a time: a hash table
//! can be walked only as a whole. Places that are free lie on a stack of the kernel's; a conversation
//! that finds none is refused.

use aya_ebpf::{
    Global, bindings,
    btf_maps::{Array, HashMap, LruHashMap, Stack},
    macros::btf_map,
};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
};

use super::{flow_filter::expect, or_null};
use crate::atomic::add as add_word;

/// IPv4.
#[btf_map]
static FLOWS_V4: HashMap<FlowKeyV4, Proven, 262144> = HashMap::new();

/// IPv6.
#[btf_map]
static FLOWS_V6: HashMap<FlowKey, Proven, 65536> = HashMap::new();

/// Who is, or was, at each place of `FLOWS_V4`.
#[btf_map]
static PLACES_V4: Array<FlowKeyV4, 262144> = Array::new();

/// As `PLACES_V4`.
#[btf_map]
static PLACES_V6: Array<FlowKey, 65536> = Array::new();

/// Places of `PLACES_V4` that are free.
#[btf_map]
static FREE_V4: Stack<u32, 262144> = Stack::new();

/// As `FREE_V4`.
#[btf_map]
static FREE_V6: Stack<u32, 65536> = Stack::new();

/// How many proven conversations a peer has: an address, in IPv6 a /48. A count that is evicted
/// begins anew, so the cap bounds what one peer takes, not what a thousand do.
#[btf_map]
static PEERS: LruHashMap<Address, u64, 65536> = LruHashMap::new();

/// Proven conversations that one peer may have. The agent sets it to a part of the table.
#[unsafe(no_mangle)]
static PEER_FLOWS_MAX_V4: Global<u32> = Global::new(32768);
#[unsafe(no_mangle)]
static PEER_FLOWS_MAX_V6: Global<u32> = Global::new(8192);

const NOT_YET: u64 = bindings::BPF_NOEXIST as u64;
const EXISTS: i32 = -17;
/// There is no place left, or none for this peer (`ENOSPC`).
const FULL: i32 = -28;

/// The entry of a proven conversation, or null.
#[inline(always)]
pub(super) fn proven(key: &FlowKey) -> *mut Flow {
    if key.is_v4() {
        or_null(FLOWS_V4.get_ptr_mut(&key.v4())).cast()
    } else {
        or_null(FLOWS_V6.get_ptr_mut(key)).cast()
    }
}

/// Puts a conversation among the proven. `entry` has any place. Answers zero, or the kernel's error
/// number when the table or the peer's part of it is full. (A plain number: of a `Result` that is
/// fine the compiler leaves a pointer where the error would be, and does arithmetic with it.)
#[inline(always)]
pub(crate) fn put_proven(key: &FlowKey, entry: &mut Proven) -> i32 {
    expect(key);
    let peer = peer(key);
    let most = if key.is_v4() { &PEER_FLOWS_MAX_V4 } else { &PEER_FLOWS_MAX_V6 };
    if !take_place(&peer, most.load()) {
        return FULL;
    }
    let error = if key.is_v4() { put_v4(&key.v4(), entry) } else { put_v6(key, entry) };
    if error != 0 {
        give_back(&peer);
    }
    // Another processor was first: as good.
    if error == EXISTS { 0 } else { error }
}

macro_rules! put {
    ($name:ident, $key:ty, $flows:ident, $places:ident, $free:ident) => {
        #[inline(always)]
        fn $name(key: &$key, entry: &mut Proven) -> i32 {
            let Ok(Some(place)) = $free.pop() else { return FULL };
            entry.place = place;
            if let Err(error) = $flows.insert(key, entry, NOT_YET) {
                free(&$free, place);
                return error;
            }
            // Until this is written, who was there before does not have the place.
            if let Some(at) = $places.get_ptr_mut(place) {
                // SAFETY: a map value, not null; the place is this conversation's alone.
                unsafe { *at = *key };
            }
            0
        }
    };
}

put!(put_v4, FlowKeyV4, FLOWS_V4, PLACES_V4, FREE_V4);
put!(put_v6, FlowKey, FLOWS_V6, PLACES_V6, FREE_V6);

macro_rules! remove {
    ($name:ident, $key:ty, $flows:ident, $free:ident) => {
        /// Takes a conversation out, if it is there and `is_over` of it; true when it is gone.
        #[inline(always)]
        fn $name(key: &$key, is_over: impl FnOnce(&Proven) -> bool) -> bool {
            let Some(entry) = $flows.get_ptr_mut(key) else { return false };
            // SAFETY: a map value, not null.
            let entry = unsafe { &*entry };
            let place = entry.place;
            // Of two that take it out one succeeds, and has the place to give back.
            let is_gone = is_over(entry) && $flows.remove(key).is_ok();
            if is_gone {
                free(&$free, place);
            }
            is_gone
        }
    };
}

remove!(remove_v4, FlowKeyV4, FLOWS_V4, FREE_V4);
remove!(remove_v6, FlowKey, FLOWS_V6, FREE_V6);

#[inline(always)]
fn free<const N: usize>(places: &Stack<u32, N>, place: u32) {
    // There is room for all places that there are.
    let _pushed = places.push(place, 0);
}

/// Takes a conversation out of the proven.
#[inline(always)]
pub(crate) fn remove_proven(key: &FlowKey) {
    let is_gone =
        if key.is_v4() { remove_v4(&key.v4(), |_| true) } else { remove_v6(key, |_| true) };
    if is_gone {
        give_back(&peer(key));
    }
}

/// Takes out the IPv4 conversation at a place, if it is over.
#[inline(always)]
pub(crate) fn age_v4(place: u32, now_ns: u64) {
    let Some(key) = PLACES_V4.get(place) else { return };
    let is_over =
        |entry: &Proven| entry.place == place && entry.flow.is_expired(key.protocol, now_ns);
    if remove_v4(key, is_over) {
        give_back(&Address::v4(key.remote));
    }
}

/// Takes out the IPv6 conversation at a place, if it is over.
#[inline(always)]
pub(crate) fn age_v6(place: u32, now_ns: u64) {
    let Some(key) = PLACES_V6.get(place) else { return };
    let is_over =
        |entry: &Proven| entry.place == place && entry.flow.is_expired(key.protocol, now_ns);
    if remove_v6(key, is_over) {
        give_back(&network(key.remote));
    }
}

/// Frees a place of the IPv4 table that nobody had yet.
#[inline(always)]
pub(crate) fn open_place_v4(place: u32) {
    free(&FREE_V4, place);
}

/// As [`open_place_v4`].
#[inline(always)]
pub(crate) fn open_place_v6(place: u32) {
    free(&FREE_V6, place);
}

#[inline(always)]
fn peer(key: &FlowKey) -> Address {
    if key.is_v4() { key.remote } else { network(key.remote) }
}

/// The /48 of an IPv6 address, which is what a customer is given (RFC 6177): whoever has one of its
/// addresses has them all.
#[inline(always)]
fn network(address: Address) -> Address {
    Address { octets: (u128::from_be_bytes(address.octets) >> 80 << 80).to_be_bytes() }
}

#[inline(always)]
fn take_place(peer: &Address, most: u32) -> bool {
    match PEERS.get_ptr_mut(peer) {
        // SAFETY: an aligned word of a map value, not null.
        Some(count) => unsafe {
            // A number that two processors have taken below zero together is none.
            if *count >= u64::from(most) && *count < 1 << 63 {
                return false;
            }
            add_word(count, 1);
        },
        // One too few when another processor was first.
        None => drop(PEERS.insert(peer, &1, 0)),
    }
    true
}

#[inline(always)]
fn give_back(peer: &Address) {
    if let Some(count) = PEERS.get_ptr_mut(peer) {
        // SAFETY: an aligned word of a map value, not null.
        unsafe {
            if *count > 0 && *count < 1 << 63 {
                add_word(count, u64::MAX);
            }
        }
    }
}
