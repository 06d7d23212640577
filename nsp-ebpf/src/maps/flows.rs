//! Conversations, proven and not, and the heads of fragmented datagrams.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap},
    macros::btf_map,
};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey, FlowKeyV4},
    packet::Packet,
};

use super::copied;
use crate::barrier;

/// Conversations only one end of which is proven. A flood turns this table over and nothing else.
#[btf_map]
static PENDING_V4: LruHashMap<FlowKeyV4, Flow, 65536> = LruHashMap::new();

/// As `PENDING_V4`.
#[btf_map]
static PENDING_V6: LruHashMap<FlowKey, Flow, 65536> = LruHashMap::new();

/// Conversations both ends of which have spoken. Nothing is ever evicted.
#[btf_map]
static FLOWS_V4: HashMap<FlowKeyV4, Flow, 262144> = HashMap::new();

/// As `FLOWS_V4`.
#[btf_map]
static FLOWS_V6: HashMap<FlowKey, Flow, 65536> = HashMap::new();

/// Key of a fragmented datagram (RFC 791, RFC 8200 4.5).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FragmentKey {
    remote: Address,
    local: Address,
    id: u32,
    protocol: u32,
}

/// Heads of fragmented datagrams that passed: their tails follow them.
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, Flow, 8192> = LruHashMap::new();

/// Where a conversation was found. Two plain words: the verifier follows no pointer that the
/// compiler has packed into an `Option` of a pair.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its entry, or null.
    pub(crate) flow: *mut Flow,
    /// Whether both ends are proven.
    pub(crate) is_proven: bool,
}

/// The entry of a conversation, proven ones first.
#[inline(always)]
pub(crate) fn flow(key: &FlowKey) -> Found {
    if key.is_v4() {
        let key = key.v4();
        match FLOWS_V4.get_ptr_mut(&key) {
            Some(flow) => Found { flow: kept(flow), is_proven: true },
            None => Found { flow: or_null(PENDING_V4.get_ptr_mut(&key)), is_proven: false },
        }
    } else {
        match FLOWS_V6.get_ptr_mut(key) {
            Some(flow) => Found { flow: kept(flow), is_proven: true },
            None => Found { flow: or_null(PENDING_V6.get_ptr_mut(key)), is_proven: false },
        }
    }
}

/// The same pointer, out of reach of the compiler, which would mask it against null with arithmetic
/// that the verifier refuses on pointers.
#[inline(always)]
fn kept<T>(pointer: *mut T) -> *mut T {
    barrier::opaque(pointer as usize) as *mut T
}

#[inline(always)]
fn or_null<T>(pointer: Option<*mut T>) -> *mut T {
    match pointer {
        Some(pointer) => kept(pointer),
        None => core::ptr::null_mut(),
    }
}

/// Puts a conversation among the unproven, or among the proven.
#[inline(always)]
pub(crate) fn put_flow(key: &FlowKey, flow: &Flow, proven: bool) -> Result<(), i32> {
    match (key.is_v4(), proven) {
        (true, true) => FLOWS_V4.insert(&key.v4(), flow, 0),
        (true, false) => PENDING_V4.insert(&key.v4(), flow, 0),
        (false, true) => FLOWS_V6.insert(key, flow, 0),
        (false, false) => PENDING_V6.insert(key, flow, 0),
    }
}

/// Takes a conversation out of the unproven (`proven` false) or the proven.
#[inline(always)]
pub(crate) fn remove_flow(key: &FlowKey, proven: bool) {
    // Whether it was still there does not matter.
    let _gone = match (key.is_v4(), proven) {
        (true, true) => FLOWS_V4.remove(&key.v4()),
        (true, false) => PENDING_V4.remove(&key.v4()),
        (false, true) => FLOWS_V6.remove(key),
        (false, false) => PENDING_V6.remove(key),
    };
}

impl FragmentKey {
    #[inline(always)]
    fn of(packet: &Packet) -> Self {
        Self {
            remote: packet.key.remote,
            local: packet.key.local,
            id: packet.fragment_id,
            // RFC 8200 identifies a datagram by addresses and identification; what a later fragment's
            // header names is not what the head came to.
            protocol: if packet.key.is_v4() { u32::from(packet.key.protocol) } else { 0 },
        }
    }
}

/// What became of the head of a fragment.
#[inline(always)]
pub(crate) fn fragment_head(packet: &Packet) -> Option<Flow> {
    copied!(FRAGMENTS, &FragmentKey::of(packet))
}

/// Remembers that the head of a fragmented datagram passed.
#[inline(always)]
pub(crate) fn put_fragment_head(packet: &Packet, flow: &Flow) -> Result<(), i32> {
    FRAGMENTS.insert(&FragmentKey::of(packet), flow, 0)
}
