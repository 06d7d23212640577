//! Bytes that are nobody's header.

use super::{
    Packet,
    layer::{Around, Layer, stackable},
};

/// The protocol number for experiments (RFC 3692): no stack takes the bytes for a known one.
const EXPERIMENTAL: u8 = 253;

/// Bytes as they are; see [`payload`] and [`raw`].
#[derive(Clone, Debug)]
pub struct Payload {
    protocol: u8,
    bytes: Vec<u8>,
}

/// Bytes as they are; text and byte slices after a `/` become one by themselves.
pub fn payload(bytes: impl AsRef<[u8]>) -> Payload {
    raw(EXPERIMENTAL, bytes)
}

/// Bytes that an IP header announces as `protocol`: any transport without a builder of its own,
/// or the middle of one, in a fragment.
pub fn raw(protocol: u8, bytes: impl AsRef<[u8]>) -> Payload {
    Payload { protocol, bytes: bytes.as_ref().to_vec() }
}

impl Layer for Payload {
    fn name(&self) -> &'static str {
        "payload"
    }

    fn protocol(&self) -> Option<u8> {
        Some(self.protocol)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        [&self.bytes[..], &inner].concat()
    }
}

impl From<&[u8]> for Packet {
    fn from(bytes: &[u8]) -> Self {
        payload(bytes).into()
    }
}

impl From<Vec<u8>> for Packet {
    fn from(bytes: Vec<u8>) -> Self {
        payload(bytes).into()
    }
}

impl From<&str> for Packet {
    fn from(text: &str) -> Self {
        payload(text).into()
    }
}

impl<const N: usize> From<[u8; N]> for Packet {
    fn from(bytes: [u8; N]) -> Self {
        payload(bytes).into()
    }
}

stackable!(Payload);
