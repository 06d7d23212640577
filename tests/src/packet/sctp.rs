//! SCTP: the common header and single chunks.

use super::{
    checksum::crc32c,
    layer::{Around, Layer, stackable},
};

/// An SCTP packet; see [`sctp`].
#[derive(Clone, Debug)]
pub struct Sctp {
    src: u16,
    dst: u16,
    tag: u32,
    chunk: Vec<u8>,
    wrong: bool,
}

/// An SCTP common header without chunks from port `src` to port `dst`.
pub fn sctp(src: u16, dst: u16) -> Sctp {
    Sctp { src, dst, tag: 0, chunk: Vec::new(), wrong: false }
}

impl Sctp {
    /// The verification tag.
    #[must_use]
    pub fn tag(self, tag: u32) -> Self {
        Self { tag, ..self }
    }

    /// An INIT chunk: the first packet of an association.
    #[must_use]
    pub fn init(self) -> Self {
        // Initiate tag, window, 1 outbound and 1 inbound stream, first sequence number.
        self.chunk(1, &[0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1])
    }

    /// Any chunk, padded to whole words.
    #[must_use]
    pub fn chunk(mut self, kind: u8, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("a chunk under 64 KiB");
        self.chunk.extend([kind, 0]);
        self.chunk.extend(length.to_be_bytes());
        self.chunk.extend(value);
        self.chunk.resize(self.chunk.len().next_multiple_of(4), 0);
        self
    }

    /// A checksum that is wrong.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { wrong: true, ..self }
    }
}

impl Layer for Sctp {
    fn name(&self) -> &'static str {
        "sctp"
    }

    fn protocol(&self) -> Option<u8> {
        Some(132)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.src.to_be_bytes());
        bytes.extend(self.dst.to_be_bytes());
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.chunk);
        bytes.extend(inner);
        let checksum = crc32c(&bytes) ^ u32::from(self.wrong);
        // RFC 9260 sends the CRC's bytes lowest first.
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

stackable!(Sctp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn init_carries_a_crc_over_everything() {
        let mut bytes = Packet::from(sctp(4000, 36412).init()).bytes();
        assert_eq!(bytes.len(), 12 + 20);
        assert_eq!(bytes[12..16], [1, 0, 0, 20]);
        let sent = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        bytes[8..12].fill(0);
        assert_eq!(sent, crc32c(&bytes));
        let wrong = Packet::from(sctp(4000, 36412).init().bad_checksum()).bytes();
        assert_ne!(wrong[8..12], sent.to_le_bytes());
    }
}
