//! Conversations that are not proven yet, and the heads of fragmented datagrams. (`proven.rs` has the
//! others.)

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey, FlowKeyV4},
    packet::Packet,
    verdict::Direction,
};

use super::{copied, flow_filter::expect, proven::proven};
use crate::barrier;

/// Conversations that this host opened and nobody answered yet. What others send never makes an
/// entry here: their floods turn over the table below and nothing else.
#[btf_map]
static ASKED_V4: LruHashMap<FlowKeyV4, Flow, 65536> = LruHashMap::new();

/// As `ASKED_V4`.
#[btf_map]
static ASKED_V6: LruHashMap<FlowKey, Flow, 65536> = LruHashMap::new();

/// Conversations that others opened and have not proven to be there for.
#[btf_map]
static KNOCKED_V4: LruHashMap<FlowKeyV4, Flow, 65536> = LruHashMap::new();

/// As `KNOCKED_V4`.
#[btf_map]
static KNOCKED_V6: LruHashMap<FlowKey, Flow, 65536> = LruHashMap::new();

/// Key of a fragmented datagram (RFC 791, RFC 8200 4.5).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FragmentKey {
    remote: Address,
    local: Address,
    id: u32,
    /// And the tunnel it runs in, in the upper half.
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

impl Found {
    /// Nowhere.
    pub(crate) const NOTHING: Self = Self { flow: core::ptr::null_mut(), is_proven: false };
}

/// The entry of a conversation: proven ones first, then what this host opened.
#[inline(always)]
pub(crate) fn flow(key: &FlowKey) -> Found {
    let flow = proven(key);
    if !flow.is_null() {
        return Found { flow, is_proven: true };
    }
    let flow = if key.is_v4() {
        let key = key.v4();
        match ASKED_V4.get_ptr_mut(&key) {
            Some(flow) => known(flow),
            None => or_null(KNOCKED_V4.get_ptr_mut(&key)),
        }
    } else {
        match ASKED_V6.get_ptr_mut(key) {
            Some(flow) => known(flow),
            None => or_null(KNOCKED_V6.get_ptr_mut(key)),
        }
    };
    Found { flow, is_proven: false }
}

/// The same pointer, out of reach of the compiler, which would mask it against null with arithmetic
/// that the verifier refuses on pointers.
#[inline(always)]
fn known<T>(pointer: *mut T) -> *mut T {
    barrier::opaque(pointer as usize) as *mut T
}

#[inline(always)]
pub(super) fn or_null<T>(pointer: Option<*mut T>) -> *mut T {
    match pointer {
        Some(pointer) => known(pointer),
        None => core::ptr::null_mut(),
    }
}

/// Puts a conversation among the unproven, by who opened it.
#[inline(always)]
pub(crate) fn put_unproven(key: &FlowKey, flow: &Flow) -> Result<(), i32> {
    expect(key);
    match (key.is_v4(), flow.opened_by()) {
        (true, Direction::Outbound) => ASKED_V4.insert(&key.v4(), flow, 0),
        (true, Direction::Inbound) => KNOCKED_V4.insert(&key.v4(), flow, 0),
        (false, Direction::Outbound) => ASKED_V6.insert(key, flow, 0),
        (false, Direction::Inbound) => KNOCKED_V6.insert(key, flow, 0),
    }
}

/// Takes a conversation out of the unproven that `opener` opened.
#[inline(always)]
pub(crate) fn remove_unproven(key: &FlowKey, opener: Direction) {
    // Whether it was still there does not matter.
    let _gone = match (key.is_v4(), opener) {
        (true, Direction::Outbound) => ASKED_V4.remove(&key.v4()),
        (true, Direction::Inbound) => KNOCKED_V4.remove(&key.v4()),
        (false, Direction::Outbound) => ASKED_V6.remove(key),
        (false, Direction::Inbound) => KNOCKED_V6.remove(key),
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
            protocol: if packet.key.is_v4() { u32::from(packet.key.protocol) } else { 0 }
                | u32::from(packet.key.scope) << 16,
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
