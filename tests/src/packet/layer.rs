//! What a layer must say, so that the one below can name and measure it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// One header (or the payload) of a packet.
pub trait Layer: fmt::Debug + Send + Sync {
    /// The short name by which a failing test shows the stack.
    fn name(&self) -> &'static str;

    /// The layer's bytes followed by `inner`, the finished bytes of all that it carries.
    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8>;

    /// How Ethernet names this layer, if it can follow an Ethernet header.
    fn link_type(&self) -> Option<LinkType> {
        None
    }

    /// How IP names this layer, if it can follow an IP header.
    fn protocol(&self) -> Option<u8> {
        None
    }

    /// Whether the layer is missing on a device without link headers.
    fn is_link(&self) -> bool {
        false
    }

    /// The addresses that checksums inside this layer cover.
    fn addresses(&self, outer: Option<Addresses>) -> Option<Addresses> {
        outer
    }
}

/// What the neighbours of a layer say to it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The addresses of the IP header around this layer.
    pub addresses: Option<Addresses>,
    /// How Ethernet names the next layer.
    pub next_link: Option<LinkType>,
    /// How IP names the next layer.
    pub next_protocol: Option<u8>,
}

/// Source and final destination: the part of a pseudo header that IP contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where the packet says it comes from.
    pub source: IpAddr,
    /// Where it goes in the end, past any routing header.
    pub destination: IpAddr,
}

/// What stands in the type field of an Ethernet or VLAN header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An ethertype.
    Ethertype(u16),
    /// The length of what follows: IEEE 802.3 with LLC.
    Length,
}

impl LinkType {
    pub(crate) fn field(next: Option<Self>, inner: &[u8]) -> u16 {
        match next {
            Some(Self::Ethertype(ethertype)) => ethertype,
            Some(Self::Length) => length_u16(inner.len()),
            // An experimental ethertype: no receiver takes the bytes for a known protocol.
            None => 0x88b5,
        }
    }
}

/// A length as a 16-bit field holds it.
pub(crate) fn length_u16(length: usize) -> u16 {
    u16::try_from(length).expect("a packet longer than 65535 bytes needs its length set by hand")
}

/// Something a test may write where an address is wanted: text, the address or a party.
pub trait Literal<T> {
    /// The value meant.
    fn value(self) -> T;
}

impl<T: FromStr> Literal<T> for &str {
    fn value(self) -> T {
        self.parse().unwrap_or_else(|_| {
            panic!("`{self}` is not a valid {}", std::any::type_name::<T>());
        })
    }
}

impl Literal<Self> for Ipv4Addr {
    fn value(self) -> Self {
        self
    }
}

impl Literal<Ipv4Addr> for [u8; 4] {
    fn value(self) -> Ipv4Addr {
        self.into()
    }
}

impl Literal<Self> for Ipv6Addr {
    fn value(self) -> Self {
        self
    }
}

impl Literal<Ipv6Addr> for [u8; 16] {
    fn value(self) -> Ipv6Addr {
        self.into()
    }
}

/// Lets a layer stand on either side of `/`; `@stack` is for what is more than one layer and
/// says itself how it becomes a packet.
macro_rules! stackable {
    (@stack $stack:ty) => {
        impl<Rest: Into<$crate::packet::Packet>> std::ops::Div<Rest> for $stack {
            type Output = $crate::packet::Packet;

            fn div(self, rest: Rest) -> Self::Output {
                $crate::packet::Packet::from(self) / rest
            }
        }
    };
    ($($layer:ty),+) => {$(
        impl From<$layer> for $crate::packet::Packet {
            fn from(layer: $layer) -> Self {
                Self::of(layer)
            }
        }

        $crate::packet::layer::stackable!(@stack $layer);
    )+};
}
pub(crate) use stackable;
