//! Conversations both ends of which have spoken. Nothing evicts them: each has a timer that takes it
//! out when it has been idle for too long, also when the agent is dead, and each peer may have so
//! many.

use aya_ebpf::{
    Global, bindings,
    btf_maps::{HashMap, LruHashMap},
    cty::c_void,
    helpers::{bpf_ktime_get_coarse_ns, generated},
    macros::btf_map,
};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
};

use super::or_null;
use crate::atomic::add as add_word;

/// IPv4.
#[btf_map]
static FLOWS_V4: HashMap<FlowKeyV4, Proven, 262144> = HashMap::new();

/// IPv6.
#[btf_map]
static FLOWS_V6: HashMap<FlowKey, Proven, 65536> = HashMap::new();

/// How many proven conversations a peer has: an address, in IPv6 a /64. A count that is evicted
/// begins anew, so the cap bounds what one peer takes, not what a thousand do.
#[btf_map]
static PEERS: LruHashMap<Address, u64, 65536> = LruHashMap::new();

/// Proven conversations that one peer may have. The agent sets it to a part of the table.
#[unsafe(no_mangle)]
static PEER_FLOWS_MAX: Global<u32> = Global::new(32768);

const NOT_YET: u64 = bindings::BPF_NOEXIST as u64;
const EXISTS: i32 = -17;
/// The table of this peer is full (`ENOSPC`).
const FULL: i32 = -28;
const CLOCK_MONOTONIC: u64 = 1;

/// The entry of a proven conversation, or null.
#[inline(always)]
pub(super) fn proven(key: &FlowKey) -> *mut Flow {
    if key.is_v4() {
        or_null(FLOWS_V4.get_ptr_mut(&key.v4())).cast()
    } else {
        or_null(FLOWS_V6.get_ptr_mut(key)).cast()
    }
}

/// [`Proven`] before its timer is wound, under a name by which the kernel sees no timer: it would
/// not have one in the memory that programs work in.
#[repr(C)]
pub(crate) struct Unwound {
    /// The conversation.
    pub(crate) flow: Flow,
    /// Zeros.
    pub(crate) timer: [u64; 2],
}

const _: () = assert!(size_of::<Unwound>() == size_of::<Proven>());

/// Puts a conversation among the proven and winds its timer.
///
/// # Errors
/// The kernel's number, when the table or the peer's part of it is full.
#[inline(always)]
pub(crate) fn put_proven(key: &FlowKey, entry: &Unwound, now_ns: u64) -> Result<(), i32> {
    let left_ns = entry.flow.left_ns(key.protocol, now_ns);
    let peer = peer(key);
    if !take_place(&peer) {
        return Err(FULL);
    }
    // SAFETY: the same size and fields, integers all of them.
    let entry = unsafe { &*core::ptr::from_ref(entry).cast::<Proven>() };
    let put = if key.is_v4() {
        let key = key.v4();
        match FLOWS_V4.insert(&key, entry, NOT_YET) {
            Ok(()) => {
                let map = (&raw const FLOWS_V4).cast_mut().cast();
                wind(FLOWS_V4.get_ptr_mut(&key), map, over_v4 as *mut c_void, left_ns)
            }
            refused => refused,
        }
    } else {
        match FLOWS_V6.insert(key, entry, NOT_YET) {
            Ok(()) => {
                let map = (&raw const FLOWS_V6).cast_mut().cast();
                wind(FLOWS_V6.get_ptr_mut(key), map, over_v6 as *mut c_void, left_ns)
            }
            refused => refused,
        }
    };
    match put {
        Ok(()) => Ok(()),
        Err(EXISTS) => {
            // Another processor was first.
            give_back(&peer);
            Ok(())
        }
        Err(error) => {
            // Without a timer it would never go.
            remove(key);
            give_back(&peer);
            Err(error)
        }
    }
}

/// Takes a conversation out of the proven.
#[inline(always)]
pub(crate) fn remove_proven(key: &FlowKey) {
    if remove(key) {
        give_back(&peer(key));
    }
}

#[inline(always)]
fn remove(key: &FlowKey) -> bool {
    if key.is_v4() { FLOWS_V4.remove(&key.v4()) } else { FLOWS_V6.remove(key) }.is_ok()
}

/// Starts the timer of an entry that is new.
#[inline(always)]
fn wind(
    entry: Option<*mut Proven>,
    map: *mut c_void,
    over: *mut c_void,
    left_ns: u64,
) -> Result<(), i32> {
    let Some(entry) = entry else { return Ok(()) };
    // SAFETY: a value of that map, not null; the kernel checks the rest itself.
    let result = unsafe {
        let timer: *mut bindings::bpf_timer = (&raw mut (*entry).timer).cast();
        match generated::bpf_timer_init(timer, map, CLOCK_MONOTONIC) {
            0 => match generated::bpf_timer_set_callback(timer, over) {
                0 => generated::bpf_timer_start(timer, left_ns, 0),
                error => error,
            },
            error => error,
        }
    };
    if result == 0 { Ok(()) } else { Err(result as i32) }
}

/// Winds the timer of a proven conversation anew: it has closed, and has less time left than before.
///
/// # Safety
/// `flow` was found by [`proven`].
#[inline(always)]
pub(crate) unsafe fn wind_anew(flow: *mut Flow, left_ns: u64) {
    let entry: *mut Proven = flow.cast();
    // SAFETY: the caller's: the flow is the first field of such an entry. When it fails, the timer
    // goes off when it would have.
    let _started =
        unsafe { generated::bpf_timer_start((&raw mut (*entry).timer).cast(), left_ns, 0) };
}

/// An IPv4 conversation's timer has gone off.
unsafe extern "C" fn over_v4(map: *mut c_void, key: *mut FlowKeyV4, entry: *mut Proven) -> i64 {
    // SAFETY: the kernel calls with a key and a value of the map.
    let (peer, protocol) = unsafe { (Address::v4((*key).remote), (*key).protocol) };
    over(map, key.cast(), entry, protocol, &peer);
    0
}

/// An IPv6 conversation's timer has gone off.
unsafe extern "C" fn over_v6(map: *mut c_void, key: *mut FlowKey, entry: *mut Proven) -> i64 {
    // SAFETY: as above.
    let (peer, protocol) = unsafe { (network((*key).remote), (*key).protocol) };
    over(map, key.cast(), entry, protocol, &peer);
    0
}

/// Takes the conversation out, or waits on where it has spoken meanwhile.
#[inline(always)]
fn over(map: *mut c_void, key: *mut c_void, entry: *mut Proven, protocol: u8, peer: &Address) {
    // SAFETY: as above; a helper without arguments, and two that check theirs.
    unsafe {
        let left_ns = (*entry).flow.left_ns(protocol, bpf_ktime_get_coarse_ns());
        if left_ns != 0 {
            let _started = generated::bpf_timer_start((&raw mut (*entry).timer).cast(), left_ns, 0);
        } else if generated::bpf_map_delete_elem(map, key) == 0 {
            give_back(peer);
        }
    }
}

#[inline(always)]
fn peer(key: &FlowKey) -> Address {
    if key.is_v4() { key.remote } else { network(key.remote) }
}

/// The /64 of an IPv6 address: whoever has one of its addresses has them all.
#[inline(always)]
fn network(address: Address) -> Address {
    Address { octets: (u128::from_be_bytes(address.octets) >> 64 << 64).to_be_bytes() }
}

#[inline(always)]
fn take_place(peer: &Address) -> bool {
    match PEERS.get_ptr_mut(peer) {
        // SAFETY: an aligned word of a map value, not null.
        Some(count) => unsafe {
            if *count >= u64::from(PEER_FLOWS_MAX.load()) {
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
            if *count > 0 {
                add_word(count, u64::MAX);
            }
        }
    }
}
