//! Programs for measuring alone, in an object of their own (feature `bench`): what a packet costs before
//! anything is decided, and what the parts cost.
//!
//! A test run repeats one frame, which would find every table warm. So the program that is run is
//! [`bench_vary4`] or [`bench_vary6`]: it gives the frame the next peer of a [trace](TRACE_V4) and calls the program
//! that is measured by a tail call, which never comes back. The row `noop` is the same with a program that
//! does nothing.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{Array, HashMap, PerCpuArray, ProgramArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use nsp_common::{
    address::{Address, Family},
    bench::{PeerV4, PeerV6, State, TRACE_PEERS},
    flow::{FlowKeyV4, Proven},
    generation::Current,
    net::protocol,
};

use crate::{barrier, maps, ranges, xdp};

const MMAPABLE: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;

/// Peers that take turns.
#[btf_map]
static TRACE_V4: Array<PeerV4, { TRACE_PEERS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static TRACE_V6: Array<PeerV6, { TRACE_PEERS as usize }, MMAPABLE> = Array::new();

/// Where in the trace each processor is.
#[btf_map]
static STATE: PerCpuArray<State, 1> = PerCpuArray::new();

/// The program that is measured, at index zero.
#[btf_map]
static MEASURED: ProgramArray<1> = ProgramArray::new();

/// As [`MEASURED`], for programs of others that do not take frames in pieces: the kernel lets no program
/// that does call one that does not.
#[btf_map]
static MEASURED_LINEAR: ProgramArray<1> = ProgramArray::new();

/// What an established conversation is held against: one look-up by the same key among as many entries.
#[btf_map]
static HASHED: HashMap<FlowKeyV4, Proven, 1048576> = HashMap::new();

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Ports of TCP and UDP.
const PORTS: usize = 4;

/// Gives an IPv4 frame its next peer.
#[xdp(frags)]
fn bench_vary4(context: XdpContext) -> u32 {
    if vary4(&context) {
        // SAFETY: nothing of this program is needed any more.
        unsafe { MEASURED.tail_call(&context, 0) };
    }
    XDP_PASS
}

/// The same for [`MEASURED_LINEAR`].
#[xdp]
fn bench_vary4_linear(context: XdpContext) -> u32 {
    if vary4(&context) {
        // SAFETY: as above.
        unsafe { MEASURED_LINEAR.tail_call(&context, 0) };
    }
    XDP_PASS
}

#[inline(always)]
fn vary4(context: &XdpContext) -> bool {
    if let Some(at) = next()
        && let Some(peer) = TRACE_V4.get(at)
        && let Some(frame) = head::<{ ETHERNET + IPV4 + PORTS }>(context)
    {
        let source = peer.address;
        // The header's checksum is that of a source of zeros, whose complement is in its place.
        let [a, b, c, d] = source;
        let sum = u32::from(peer.base_sum)
            + u32::from(u16::from_be_bytes([a, b]))
            + u32::from(u16::from_be_bytes([c, d]));
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
        frame[ETHERNET + 12..ETHERNET + 16].copy_from_slice(&source);
        let ports = ETHERNET + IPV4;
        frame[ports..ports + 2].copy_from_slice(&peer.port.to_be_bytes());
        return true;
    }
    false
}

/// Gives an IPv6 frame its next peer.
#[xdp(frags)]
fn bench_vary6(context: XdpContext) -> u32 {
    if let Some(at) = next()
        && let Some(peer) = TRACE_V6.get(at)
        && let Some(frame) = head::<{ ETHERNET + IPV6 + PORTS }>(&context)
    {
        frame[ETHERNET + 8..ETHERNET + 24].copy_from_slice(&peer.address);
        let ports = ETHERNET + IPV6;
        frame[ports..ports + 2].copy_from_slice(&peer.port.to_be_bytes());
        // SAFETY: as above.
        unsafe { MEASURED.tail_call(&context, 0) };
    }
    XDP_PASS
}

/// Nothing.
#[xdp(frags)]
fn bench_noop(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// Reading the headers.
#[xdp(frags)]
fn bench_parse(context: XdpContext) -> u32 {
    xdp::nsp_parse_xdp(context.ctx);
    XDP_DROP
}

/// The look-up of an IPv4 source, by the engine of the programs, in the generation in force.
#[xdp(frags)]
fn bench_lookup4(context: XdpContext) -> u32 {
    if let Some(frame) = head::<{ ETHERNET + IPV4 }>(&context) {
        let mut octets = [0; 4];
        octets.copy_from_slice(&frame[ETHERNET + 12..ETHERNET + 16]);
        found(Address::v4(octets), Family::V4);
    }
    XDP_DROP
}

/// The look-up of an IPv6 source.
#[xdp(frags)]
fn bench_lookup6(context: XdpContext) -> u32 {
    if let Some(frame) = head::<{ ETHERNET + IPV6 }>(&context) {
        let mut octets = [0; 16];
        octets.copy_from_slice(&frame[ETHERNET + 8..ETHERNET + 24]);
        found(Address::v6(octets), Family::V6);
    }
    XDP_DROP
}

/// One look-up of a hash table by the key of the frame's conversation.
#[xdp(frags)]
fn bench_hash(context: XdpContext) -> u32 {
    if let Some(frame) = head::<{ ETHERNET + IPV4 + PORTS }>(&context) {
        let four = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
        let two = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let key = FlowKeyV4 {
            remote: four(ETHERNET + 12),
            local: four(ETHERNET + 16),
            remote_port: two(ETHERNET + IPV4),
            local_port: two(ETHERNET + IPV4 + 2),
            scope: 0,
            protocol: protocol::TCP,
            _pad: 0,
        };
        // SAFETY: plain integers in a map value.
        let seen = unsafe { HASHED.get(key) }.map_or(0, |entry| entry.flow.seen_ns);
        remember(seen);
    }
    XDP_DROP
}

/// The place of the next peer in the trace.
#[inline(always)]
fn next() -> Option<u32> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: per-processor memory of the map's value type.
    let state = unsafe { &mut *state };
    let mut at = state.next;
    if state.is_dependent != 0 {
        // What was found last is awaited, and changes nothing.
        at += state.found & state.zero;
    }
    state.next = at + 1;
    Some(at as u32 & (TRACE_PEERS - 1))
}

#[inline(always)]
fn found(address: Address, family: Family) {
    // Whatever the programs judge by; a trial has an end, which nobody awaits here.
    let slot = maps::control().map_or(0, |control| Current(control.current).slot(0));
    remember(u64::from(ranges::class_of(slot, &address, family)));
}

#[inline(always)]
fn remember(found: u64) {
    if let Some(state) = STATE.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (*state).found = found };
    }
}

/// The first `N` bytes of a frame.
#[inline(always)]
fn head<const N: usize>(context: &XdpContext) -> Option<&'static mut [u8; N]> {
    let start = context.data();
    if barrier::opaque(start + N) > context.data_end() {
        return None;
    }
    // SAFETY: the comparison above put all N bytes before data_end; bytes have no alignment. Nobody else
    // holds them while the program runs.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}
