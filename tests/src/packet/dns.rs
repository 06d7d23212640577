//! DNS messages: one question, and answers without compression.

use std::net::IpAddr;

use super::layer::{Around, Layer, stackable};

/// An IPv4 address record.
pub const A: u16 = 1;
/// An alias record.
pub const CNAME: u16 = 5;
/// An IPv6 address record.
pub const AAAA: u16 = 28;

const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// A DNS message; see [`query`].
#[derive(Clone, Debug)]
pub struct Dns {
    id: u16,
    flags: u16,
    question: Vec<u8>,
    answers: Vec<Vec<u8>>,
}

/// A query for records of type `kind`, recursion desired.
pub fn query(id: u16, name: &str, kind: u16) -> Dns {
    query_of_wire(id, &wire_name(name), kind)
}

/// The same for a name in wire form, whatever its bytes.
pub fn query_of_wire(id: u16, name: &[u8], kind: u16) -> Dns {
    let question = [name, &kind.to_be_bytes(), &[0, 1]].concat();
    Dns { id, flags: RECURSION_DESIRED, question, answers: Vec::new() }
}

impl Dns {
    /// Turns the query into a response without answers.
    #[must_use]
    pub fn response(self) -> Self {
        Self { flags: self.flags | RESPONSE | RECURSION_AVAILABLE, ..self }
    }

    /// The response code: 2 server failure, 3 no such name.
    #[must_use]
    pub fn code(self, code: u16) -> Self {
        Self { flags: (self.flags & !0x000f) | (code & 0x000f), ..self }
    }

    /// Sets the truncation bit.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self { flags: self.flags | TRUNCATED, ..self }
    }

    /// Adds an address of `owner` to the answers.
    #[must_use]
    pub fn address(self, owner: &str, address: IpAddr, ttl_secs: u32) -> Self {
        match address {
            IpAddr::V4(address) => self.record(owner, A, ttl_secs, &address.octets()),
            IpAddr::V6(address) => self.record(owner, AAAA, ttl_secs, &address.octets()),
        }
    }

    /// Adds "`owner` is an alias of `target`" to the answers.
    #[must_use]
    pub fn alias(self, owner: &str, target: &str, ttl_secs: u32) -> Self {
        self.record(owner, CNAME, ttl_secs, &wire_name(target))
    }

    /// Adds an address whose owner is the name at `offset` of the message.
    #[must_use]
    pub fn pointed(mut self, offset: u8, address: IpAddr, ttl_secs: u32) -> Self {
        let (kind, data) = match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        let length = data.len() as u8;
        let fixed = [&kind.to_be_bytes()[..], &[0, 1], &ttl_secs.to_be_bytes(), &[0, length]];
        self.answers.push([&[0xc0, offset][..], &fixed.concat(), &data].concat());
        self
    }

    /// Adds any record to the answers.
    #[must_use]
    pub fn record(mut self, owner: &str, kind: u16, ttl_secs: u32, data: &[u8]) -> Self {
        let length = u16::try_from(data.len()).expect("record data under 64 KiB");
        let mut record = wire_name(owner);
        record.extend(kind.to_be_bytes());
        record.extend([0, 1]);
        record.extend(ttl_secs.to_be_bytes());
        record.extend(length.to_be_bytes());
        record.extend(data);
        self.answers.push(record);
        self
    }
}

/// A name in wire form; an empty text or a lone dot is the root.
///
/// # Panics
/// When a label has no bytes or more than 63.
pub fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|_| !name.is_empty() && name != ".") {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        wire.push(length.unwrap_or_else(|| panic!("`{label}` is not a label of 1 to 63 bytes")));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

impl Layer for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        let answers = u16::try_from(self.answers.len()).expect("at most 65535 answers");
        let mut bytes = Vec::new();
        for field in [self.id, self.flags, 1, answers, 0, 0] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(&self.question);
        bytes.extend(self.answers.iter().flatten());
        bytes.extend(inner);
        bytes
    }
}

stackable!(Dns);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn answer_repeats_the_question() {
        let answer = query(7, "db.example.com", A).response().code(0).address(
            "db.example.com",
            "192.0.2.9".parse().unwrap(),
            300,
        );
        let bytes = Packet::from(answer).bytes();
        assert_eq!(bytes[..12], [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[12..32], *b"\x02db\x07example\x03com\x00\x00\x01\x00\x01");
        assert_eq!(bytes[bytes.len() - 10..], [0, 0, 1, 44, 0, 4, 192, 0, 2, 9]);
    }

    #[test]
    fn names_end_in_the_root() {
        assert_eq!(wire_name("example.com."), wire_name("example.com"));
        assert_eq!(wire_name("."), [0]);
        assert_eq!(wire_name(""), [0]);
    }
}
