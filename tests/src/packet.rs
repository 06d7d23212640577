//! Packets, built by stacking layers, right by default and wrong on purpose.
//!
//! ```
//! use nsp_tests::packet::{eth, ipv4, tcp, vlan};
//! let syn = eth() / vlan(10) / ipv4("198.51.100.7", "192.0.2.1") / tcp(40000, 5432).syn();
//! assert_eq!(syn.bytes().len(), 14 + 4 + 20 + 20);
//! ```
//!
//! Lengths, checksums and the numbers by which a layer names the next one are filled in; every
//! one of them can be set by hand. A setter changes its own field and nothing else, so a packet
//! with one lie in it has exactly one. Nothing here touches the machine.

mod arp;
mod checksum;
pub mod dns;
mod eth;
mod extension;
mod family;
mod fragment;
pub mod icmp;
pub mod icmpv6;
pub mod igmp;
mod ipsec;
mod ipv4;
mod ipv6;
mod layer;
mod payload;
mod plan;
mod routing;
mod sctp;
mod tcp;
mod tunnel;
mod udp;

use std::{
    fmt,
    ops::{Div, Range},
    sync::Arc,
};

pub use self::{
    arp::{Arp, arp_reply, arp_request},
    checksum::{Checksum, crc32c, internet_checksum},
    eth::{BROADCAST, Eth, Llc, Mac, NEAR_MAC, PEER_MAC, Vlan, eth, llc, service_vlan, vlan},
    extension::{
        FragmentHeader, NoNextHeader, Options, destination_options, extension_fragment, hop_by_hop,
        no_next_header,
    },
    family::{BOTH, Family, InBoth, Ip},
    fragment::fragments,
    ipsec::{Ah, Esp, ah, esp},
    ipv4::{Ipv4, ipv4},
    ipv6::{Ipv6, ipv6},
    layer::{Addresses, Around, Layer, LinkType, Literal},
    payload::{Payload, payload, raw},
    plan::{OFFICE_V4, OFFICE_V6, Party, server_private},
    routing::{Routing, routing, segment_routing},
    sctp::{Sctp, sctp},
    tcp::{Tcp, flag, tcp},
    tunnel::{Gre, Vxlan, gre, vxlan},
    udp::{Udp, udp, udp_lite},
};

/// A stack of layers, outermost first, and what was done to its bytes afterwards.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    layers: Vec<Arc<dyn Layer>>,
    edits: Vec<Edit>,
}

/// A change to the finished bytes.
#[derive(Clone, Debug)]
enum Edit {
    Truncate(usize),
    Pad(usize),
    PadTo(usize),
    Patch(usize, Vec<u8>),
}

impl Packet {
    /// The packet that has this layer alone.
    pub fn of(layer: impl Layer + 'static) -> Self {
        Self { layers: vec![Arc::new(layer)], edits: Vec::new() }
    }

    /// Keeps the first `length` bytes; headers go on claiming what they claimed.
    #[must_use]
    pub fn truncate(self, length: usize) -> Self {
        self.edit(Edit::Truncate(length))
    }

    /// Adds `count` zero bytes that no header counts.
    #[must_use]
    pub fn pad(self, count: usize) -> Self {
        self.edit(Edit::Pad(count))
    }

    /// Adds zero bytes up to `length`, as a network card does with a frame under 60 bytes.
    #[must_use]
    pub fn pad_to(self, length: usize) -> Self {
        self.edit(Edit::PadTo(length))
    }

    /// Overwrites the bytes at `offset`, after everything else was computed.
    #[must_use]
    pub fn patch(self, offset: usize, bytes: &[u8]) -> Self {
        self.edit(Edit::Patch(offset, bytes.to_vec()))
    }

    /// The same packet as a device without link headers (tun, WireGuard) delivers it.
    #[must_use]
    pub fn without_link_header(mut self) -> Self {
        let links = self.layers.iter().take_while(|layer| layer.is_link()).count();
        self.layers.drain(..links);
        self
    }

    /// The packet as it goes over the wire.
    ///
    /// # Panics
    /// When a patch lies outside the packet: the test meant another packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.encode(0..self.layers.len(), None);
        for edit in &self.edits {
            match edit {
                Edit::Truncate(length) => bytes.truncate(*length),
                Edit::Pad(count) => bytes.resize(bytes.len() + count, 0),
                Edit::PadTo(length) => bytes.resize(bytes.len().max(*length), 0),
                Edit::Patch(offset, new) => {
                    let range = *offset..offset + new.len();
                    assert!(range.end <= bytes.len(), "patch {range:?} lies outside {self}");
                    bytes[range].copy_from_slice(new);
                }
            }
        }
        bytes
    }

    /// The bytes of this stack as they would follow headers that carry `addresses`.
    pub(crate) fn bytes_between(&self, addresses: Addresses) -> Vec<u8> {
        self.encode(0..self.layers.len(), Some(addresses))
    }

    /// The protocol number by which an IP header names this stack.
    pub(crate) fn protocol(&self) -> Option<u8> {
        self.layers.first().and_then(|layer| layer.protocol())
    }

    fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    fn encode(&self, range: Range<usize>, outer: Option<Addresses>) -> Vec<u8> {
        let Some((layer, rest)) = self.layers[range.clone()].split_first() else {
            return Vec::new();
        };
        let inside = layer.addresses(outer);
        let inner = self.encode(range.start + 1..range.end, inside);
        let next = rest.first();
        let around = Around {
            addresses: outer,
            next_link: next.and_then(|next| next.link_type()),
            next_protocol: next.and_then(|next| next.protocol()),
        };
        layer.encode(&around, inner)
    }
}

impl<Rest: Into<Self>> Div<Rest> for Packet {
    type Output = Self;

    fn div(mut self, rest: Rest) -> Self {
        let Self { layers, edits } = rest.into();
        self.layers.extend(layers);
        self.edits.extend(edits);
        self
    }
}

impl From<Packet> for Vec<u8> {
    fn from(packet: Packet) -> Self {
        packet.bytes()
    }
}

impl From<&Packet> for Packet {
    fn from(packet: &Packet) -> Self {
        packet.clone()
    }
}

/// `eth/ipv4/tcp`: what a failing test names the packet by.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.layers.iter().map(|layer| layer.name()).collect();
        f.write_str(&names.join("/"))?;
        for edit in &self.edits {
            match edit {
                Edit::Truncate(length) => write!(f, " cut to {length}")?,
                Edit::Pad(count) => write!(f, " padded by {count}")?,
                Edit::PadTo(length) => write!(f, " padded to {length}")?,
                Edit::Patch(offset, bytes) => write!(f, " {bytes:02x?} at {offset}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
