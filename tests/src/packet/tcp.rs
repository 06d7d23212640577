//! TCP.

use super::{
    checksum::{Checksum, transport_checksum},
    layer::{Around, Layer, stackable},
};

/// The flag bits.
pub mod flag {
    /// The sender is done.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion experienced.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// A TCP header; see [`tcp`].
#[derive(Clone, Debug)]
pub struct Tcp {
    src: u16,
    dst: u16,
    seq: u32,
    ack_number: u32,
    flags: u8,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
    data_offset: Option<u8>,
    checksum: Checksum,
}

/// A TCP header without any flag (a "NULL scan" as it stands) from port `src` to port `dst`.
pub fn tcp(src: u16, dst: u16) -> Tcp {
    Tcp {
        src,
        dst,
        seq: 1000,
        ack_number: 0,
        flags: 0,
        window: 0xffff,
        urgent: 0,
        options: Vec::new(),
        data_offset: None,
        checksum: Checksum::Right,
    }
}

impl Tcp {
    /// Exactly these flags.
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    /// Adds SYN.
    #[must_use]
    pub fn syn(self) -> Self {
        self.with(flag::SYN)
    }

    /// Adds SYN and ACK: the server's half of the handshake.
    #[must_use]
    pub fn syn_ack(self) -> Self {
        self.with(flag::SYN | flag::ACK)
    }

    /// Adds ACK.
    #[must_use]
    pub fn ack(self) -> Self {
        self.with(flag::ACK)
    }

    /// Adds PSH.
    #[must_use]
    pub fn psh(self) -> Self {
        self.with(flag::PSH)
    }

    /// Adds FIN.
    #[must_use]
    pub fn fin(self) -> Self {
        self.with(flag::FIN)
    }

    /// Adds RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.with(flag::RST)
    }

    /// Adds URG.
    #[must_use]
    pub fn urg(self) -> Self {
        self.with(flag::URG)
    }

    /// The sequence number.
    #[must_use]
    pub fn seq(self, seq: u32) -> Self {
        Self { seq, ..self }
    }

    /// The acknowledgement number; the flag is [`Tcp::ack`].
    #[must_use]
    pub fn ack_number(self, ack_number: u32) -> Self {
        Self { ack_number, ..self }
    }

    /// The window.
    #[must_use]
    pub fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// The options, padded with end-of-list to whole words.
    ///
    /// # Panics
    /// When there are more than 40 bytes of them: no data offset says so.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        assert!(options.len() <= 40, "TCP has room for 40 bytes of options");
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        Self { options, ..self }
    }

    /// The data offset field in words, whatever the header has.
    #[must_use]
    pub fn data_offset(self, words: u8) -> Self {
        Self { data_offset: Some(words), ..self }
    }

    /// A checksum that is wrong.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    fn with(self, flags: u8) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
}

impl Layer for Tcp {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn protocol(&self) -> Option<u8> {
        Some(6)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).expect("at most 15 words");
        let mut bytes = Vec::new();
        bytes.extend(self.src.to_be_bytes());
        bytes.extend(self.dst.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack_number.to_be_bytes());
        bytes.extend([self.data_offset.unwrap_or(words) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(inner);
        let checksum = self.checksum.field(transport_checksum(around, 6, &bytes));
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

stackable!(Tcp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ipv4};

    /// A SYN to a public resolver, from Suricata's `dns-tcp-www-google-com.pcap`.
    #[test]
    fn syn_is_that_of_a_capture() {
        let options = [
            0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x15, 0x45, 0x5f, 0xf5, 0x00, 0x00,
            0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
        ];
        let header = [
            0x45, 0x00, 0x00, 0x3c, 0x35, 0x09, 0x40, 0x00, 0x40, 0x06, 0xee, 0x8c, 0x0a, 0x10,
            0x01, 0x0b, 0x08, 0x08, 0x04, 0x04, 0x95, 0x33, 0x00, 0x35, 0x76, 0x7f, 0x6a, 0xfc,
            0x00, 0x00, 0x00, 0x00, 0xa0, 0x02, 0x72, 0x10, 0xd2, 0xaa, 0x00, 0x00,
        ];
        let syn = ipv4("10.16.1.11", "8.8.4.4").id(0x3509).dont_fragment()
            / tcp(0x9533, 53).syn().seq(0x767f_6afc).window(0x7210).options(&options);
        assert_eq!(syn.bytes(), [&header[..], &options].concat());
    }

    #[test]
    fn flags_add_up() {
        let flags = |tcp: Tcp| Packet::from(tcp).bytes()[13];
        assert_eq!(flags(tcp(1, 2)), 0);
        assert_eq!(flags(tcp(1, 2).syn().fin()), 0x03);
        assert_eq!(flags(tcp(1, 2).syn_ack()), 0x12);
        assert_eq!(flags(tcp(1, 2).fin().psh().urg()), 0x29, "XMAS");
        assert_eq!(flags(tcp(1, 2).syn().flags(flag::RST)), 0x04, "exactly these");
    }

    #[test]
    fn data_offset_lies_alone() {
        let bytes = Packet::from(tcp(1, 2).data_offset(4)).bytes();
        assert_eq!((bytes[12], bytes.len()), (0x40, 20));
    }
}
