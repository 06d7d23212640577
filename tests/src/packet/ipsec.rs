//! The two IPsec headers, extension headers in IPv6 and protocols in IPv4.

use super::layer::{Around, Layer, stackable};

/// An authentication header; see [`ah`].
#[derive(Clone, Debug)]
pub struct Ah {
    icv: Vec<u8>,
    length: Option<u8>,
}

/// An authentication header with a check value of 12 zero bytes. Its length field counts 4-byte
/// words, unlike that of every other extension header.
pub fn ah() -> Ah {
    Ah { icv: vec![0; 12], length: None }
}

impl Ah {
    /// The integrity check value.
    ///
    /// # Panics
    /// When it is not whole words.
    #[must_use]
    pub fn icv(self, icv: &[u8]) -> Self {
        assert!(icv.len().is_multiple_of(4), "the check value is whole 4-byte words");
        Self { icv: icv.to_vec(), ..self }
    }

    /// The length field (4-byte words after the first two), whatever the header has.
    #[must_use]
    pub fn length(self, words: u8) -> Self {
        Self { length: Some(words), ..self }
    }
}

impl Layer for Ah {
    fn name(&self) -> &'static str {
        "ah"
    }

    fn protocol(&self) -> Option<u8> {
        Some(51)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let words = u8::try_from(self.icv.len() / 4 + 1).expect("at most 1016 bytes of value");
        let next = around.next_protocol.unwrap_or(59);
        let security_index_and_sequence = [0, 0, 1, 0, 0, 0, 0, 1];
        let fixed = [next, self.length.unwrap_or(words), 0, 0];
        [&fixed[..], &security_index_and_sequence, &self.icv, &inner].concat()
    }
}

/// An encapsulating security payload; see [`esp`].
#[derive(Clone, Debug)]
pub struct Esp;

/// An ESP header; what follows stands for the encrypted bytes.
pub fn esp() -> Esp {
    Esp
}

impl Layer for Esp {
    fn name(&self) -> &'static str {
        "esp"
    }

    fn protocol(&self) -> Option<u8> {
        Some(50)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        [&[0, 0, 1, 0, 0, 0, 0, 1][..], &inner].concat()
    }
}

stackable!(Ah, Esp);
