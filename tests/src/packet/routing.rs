//! IPv6 routing headers: the deprecated type 0 and segment routing.

use std::net::{IpAddr, Ipv6Addr};

use super::layer::{Addresses, Around, Layer, Literal, stackable};

/// A routing header; see [`routing`] and [`segment_routing`].
#[derive(Clone, Debug)]
pub struct Routing {
    kind: u8,
    segments: Vec<Ipv6Addr>,
    segments_left: u8,
    length: Option<u8>,
}

/// A type 0 routing header (deprecated by RFC 5095) with these stops still to make; the last one
/// is where the packet ends, and what transport checksums cover.
pub fn routing<A: Literal<Ipv6Addr>>(segments: impl IntoIterator<Item = A>) -> Routing {
    let segments: Vec<_> = segments.into_iter().map(Literal::value).collect();
    let segments_left = u8::try_from(segments.len()).expect("at most 127 segments");
    Routing { kind: 0, segments, segments_left, length: None }
}

/// A segment routing header (type 4, RFC 8754); its segments stand in reverse order.
pub fn segment_routing<A: Literal<Ipv6Addr>>(segments: impl IntoIterator<Item = A>) -> Routing {
    let mut header = routing(segments);
    header.segments.reverse();
    Routing { kind: 4, segments_left: header.segments_left.saturating_sub(1), ..header }
}

impl Routing {
    /// The routing type, with everything else as it is.
    #[must_use]
    pub fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// The segments-left field; 0 means that the packet has arrived.
    #[must_use]
    pub fn segments_left(self, segments_left: u8) -> Self {
        Self { segments_left, ..self }
    }

    /// The length field (8-byte words after the first), whatever the header has.
    #[must_use]
    pub fn length(self, words: u8) -> Self {
        Self { length: Some(words), ..self }
    }
}

impl Layer for Routing {
    fn name(&self) -> &'static str {
        if self.kind == 4 { "segment-routing" } else { "routing" }
    }

    fn protocol(&self) -> Option<u8> {
        Some(43)
    }

    fn addresses(&self, outer: Option<Addresses>) -> Option<Addresses> {
        let end = if self.kind == 4 { self.segments.first() } else { self.segments.last() };
        match (outer, end) {
            (Some(outer), Some(end)) if self.segments_left > 0 => {
                Some(Addresses { destination: IpAddr::V6(*end), ..outer })
            }
            _ => outer,
        }
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let words = u8::try_from(self.segments.len() * 2).expect("at most 127 segments");
        let next = around.next_protocol.unwrap_or(59);
        let mut bytes = vec![next, self.length.unwrap_or(words), self.kind, self.segments_left];
        let last_entry = u8::try_from(self.segments.len()).unwrap_or(0).saturating_sub(1);
        bytes.extend([if self.kind == 4 { last_entry } else { 0 }, 0, 0, 0]);
        bytes.extend(self.segments.iter().flat_map(Ipv6Addr::octets));
        bytes.extend(inner);
        bytes
    }
}

stackable!(Routing);
