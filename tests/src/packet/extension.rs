//! IPv6 extension headers: options, fragment and the end of the chain.

use super::layer::{Around, Layer, stackable};

/// A hop-by-hop or destination options header; see [`hop_by_hop`] and [`destination_options`].
#[derive(Clone, Debug)]
pub struct Options {
    protocol: u8,
    options: Vec<u8>,
    length: Option<u8>,
    next_header: Option<u8>,
}

/// A hop-by-hop options header that holds padding.
pub fn hop_by_hop() -> Options {
    Options { protocol: 0, options: Vec::new(), length: None, next_header: None }
}

/// A destination options header that holds padding.
pub fn destination_options() -> Options {
    Options { protocol: 60, ..hop_by_hop() }
}

impl Options {
    /// Adds options (type, length, value); padding to whole words follows them.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options.extend(options);
        self
    }

    /// Adds the router alert of MLD.
    #[must_use]
    pub fn router_alert(self) -> Self {
        self.options(&[5, 2, 0, 0])
    }

    /// Adds a jumbo payload option, as BIG TCP does.
    #[must_use]
    pub fn jumbo(self, bytes: u32) -> Self {
        self.options(&[&[0xc2, 4][..], &bytes.to_be_bytes()].concat())
    }

    /// The length field (8-byte words after the first), whatever the header has.
    #[must_use]
    pub fn length(self, words: u8) -> Self {
        Self { length: Some(words), ..self }
    }

    /// The next-header field, whatever follows.
    #[must_use]
    pub fn next_header(self, next_header: u8) -> Self {
        Self { next_header: Some(next_header), ..self }
    }
}

impl Layer for Options {
    fn name(&self) -> &'static str {
        if self.protocol == 0 { "hop-by-hop" } else { "destination-options" }
    }

    fn protocol(&self) -> Option<u8> {
        Some(self.protocol)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let mut body = self.options.clone();
        // The header is whole words of 8 bytes, and a PadN option of 2 to 8 bytes fills the gap.
        match (body.len() + 2).next_multiple_of(8) - body.len() - 2 {
            0 if !body.is_empty() => {}
            1 => body.push(0),
            gap => {
                let gap = if gap == 0 { 6 } else { gap };
                body.extend([1, u8::try_from(gap - 2).expect("a gap under 8")]);
                body.resize(body.len() + gap - 2, 0);
            }
        }
        let words = u8::try_from((body.len() + 2) / 8 - 1).expect("at most 2048 bytes of options");
        let next = self.next_header.or(around.next_protocol).unwrap_or(59);
        [&[next, self.length.unwrap_or(words)][..], &body, &inner].concat()
    }
}

/// A fragment header; see [`extension_fragment`].
#[derive(Clone, Debug)]
pub struct FragmentHeader {
    id: u32,
    offset_and_flags: u16,
    next_header: Option<u8>,
}

/// The fragment header of the piece of datagram `id` that starts at byte `offset`. Offset 0
/// without `more` is an atomic fragment (RFC 6946).
///
/// # Panics
/// When the offset is not a multiple of 8 under 65536.
pub fn extension_fragment(id: u32, offset: usize, more: bool) -> FragmentHeader {
    assert!(offset.is_multiple_of(8), "a fragment starts at a multiple of 8 bytes");
    let offset = u16::try_from(offset).expect("a fragment starts under 65536 bytes");
    FragmentHeader { id, offset_and_flags: offset | u16::from(more), next_header: None }
}

impl FragmentHeader {
    /// The next-header field, whatever follows.
    #[must_use]
    pub fn next_header(self, next_header: u8) -> Self {
        Self { next_header: Some(next_header), ..self }
    }
}

impl Layer for FragmentHeader {
    fn name(&self) -> &'static str {
        "fragment"
    }

    fn protocol(&self) -> Option<u8> {
        Some(44)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let next = self.next_header.or(around.next_protocol).unwrap_or(59);
        let mut bytes = vec![next, 0];
        bytes.extend(self.offset_and_flags.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(inner);
        bytes
    }
}

/// The end of a chain; see [`no_next_header`].
#[derive(Clone, Debug)]
pub struct NoNextHeader;

/// "No next header" (59): the header before it says so, and it has no bytes of its own.
pub fn no_next_header() -> NoNextHeader {
    NoNextHeader
}

impl Layer for NoNextHeader {
    fn name(&self) -> &'static str {
        "no-next-header"
    }

    fn protocol(&self) -> Option<u8> {
        Some(59)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        inner
    }
}

stackable!(Options, FragmentHeader, NoNextHeader);
