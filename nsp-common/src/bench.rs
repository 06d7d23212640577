//! What the measuring programs and `nsp-bench` share. No part of the product.

/// Peers of a trace, a power of two: as many as a large table has entries.
pub const TRACE_PEERS: u32 = 1 << 20;

/// A peer of IPv4 that a frame seems to come from. As small as can be: what a trace takes of the caches, the
/// tables that are measured do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PeerV4 {
    /// Its address, network order.
    pub address: [u8; 4],
    /// Its port, host order.
    pub port: u16,
    /// Sum of the IPv4 header with a source and a checksum of zeros (RFC 1071), host order.
    pub base_sum: u16,
}

/// A peer of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PeerV6 {
    /// Its address, network order.
    pub address: [u8; 16],
    /// Its port, host order.
    pub port: u16,
    /// Zero.
    pub _pad: [u16; 3],
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

crate::shared!(PeerV4, 8);
crate::shared!(PeerV6, 24);
crate::shared!(State, 32);
