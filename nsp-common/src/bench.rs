//! What the measuring programs and `nsp-bench` share. No part of the product.

use crate::address::Address;

/// Peers of a trace, a power of two: as many as a large table has entries.
pub const TRACE_PEERS: u32 = 1 << 20;

/// A peer that a frame seems to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// Its address.
    pub address: Address,
    /// Its port, host order.
    pub port: u16,
    /// Sum of the IPv4 header with a source and a checksum of zeros (RFC 1071), host order.
    pub base_sum: u16,
    /// Zero.
    pub _pad: u32,
}

/// Where in the trace a processor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// The next peer.
    pub next: u64,
    /// What the last run found.
    pub found: u64,
    /// Not zero: the next run waits for it.
    pub is_dependent: u64,
    /// Zero, which the compiler does not know.
    pub zero: u64,
}

crate::shared!(Peer, 24);
crate::shared!(State, 32);
