//! Captures: the packets in them, and the DNS messages in those, by UDP and by TCP.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

/// The port of DNS.
pub const PORT: u16 = 53;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ETHERNET: u32 = 1;

/// An IP packet of a capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// From its IP header on, with what pads a short frame of Ethernet.
    pub bytes: Vec<u8>,
}

/// What a packet says that is not a later fragment: its ports, and the message that it holds whole.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// The DNS message, if it is not in pieces.
    pub message: Option<Vec<u8>>,
}

/// The IP packets of a classic capture file, those that were captured whole.
///
/// # Panics
/// When it is no such file.
pub fn packets(path: &Path) -> Vec<Captured> {
    let bytes = fs::read(path).expect("the capture can be read");
    let little = bytes[..4] == [0xd4, 0xc3, 0xb2, 0xa1] || bytes[..4] == [0x4d, 0x3c, 0xb2, 0xa1];
    let word = |at: usize| {
        let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
    };
    let link = word(20);
    let (mut at, mut found) = (24, Vec::new());
    while at + 16 <= bytes.len() {
        let (length, whole) = (word(at + 8) as usize, word(at + 12) as usize);
        let frame = &bytes[at + 16..(at + 16 + length).min(bytes.len())];
        if frame.len() == whole {
            found.extend(ip_of(frame, link).map(|ip| Captured { bytes: ip.to_vec() }));
        }
        at += 16 + length;
    }
    found
}

/// The DNS messages of a capture file that are in one packet each.
///
/// # Panics
/// When it is no such file.
pub fn messages(path: &Path) -> Vec<Vec<u8>> {
    let transports = packets(path).into_iter().filter_map(|packet| packet.transport());
    transports.filter_map(|transport| transport.message).collect()
}

fn ip_of(frame: &[u8], link: u32) -> Option<&[u8]> {
    if link != ETHERNET {
        return Some(frame);
    }
    let mut at = 12;
    while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    match frame.get(at..at + 2)? {
        [0x08, 0x00] | [0x86, 0xdd] => frame.get(at + 2..),
        _ => None,
    }
}

impl Captured {
    /// Whether it is IPv4; else it is IPv6.
    pub fn is_v4(&self) -> bool {
        self.bytes.first().is_some_and(|first| first >> 4 == 4)
    }

    /// Where it comes from.
    pub fn source(&self) -> Option<IpAddr> {
        if self.is_v4() {
            let octets: [u8; 4] = *self.bytes.get(12..)?.first_chunk()?;
            return Some(Ipv4Addr::from(octets).into());
        }
        let octets: [u8; 16] = *self.bytes.get(8..)?.first_chunk()?;
        Some(Ipv6Addr::from(octets).into())
    }

    /// The same packet between others: everything else is left as it is.
    ///
    /// # Panics
    /// When they are of another family, or the packet has no whole header.
    #[must_use]
    pub fn between(&self, source: IpAddr, destination: IpAddr) -> Self {
        let mut bytes = self.bytes.clone();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) if self.is_v4() => {
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) if !self.is_v4() => {
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
            }
            _ => panic!("{source} and {destination} are of another family"),
        }
        Self { bytes }
    }

    /// The same packet without what pads its frame.
    #[must_use]
    pub fn without_padding(&self) -> Self {
        let (at, before) = if self.is_v4() { (2, 0) } else { (4, 40) };
        let length = self.bytes.get(at..at + 2).map(|it| u16::from_be_bytes([it[0], it[1]]));
        let length = length.map_or(self.bytes.len(), |length| before + usize::from(length));
        Self { bytes: self.bytes[..length.min(self.bytes.len())].to_vec() }
    }

    /// Its ports, and the message in it.
    pub fn transport(&self) -> Option<Transport> {
        let ip = &self.bytes[..];
        let mut is_piece = false;
        let (protocol, transport) = if self.is_v4() {
            let (flags, low) = (*ip.get(6)?, *ip.get(7)?);
            if flags & 0x1f != 0 || low != 0 {
                return None;
            }
            is_piece |= flags & 0x20 != 0;
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            (*ip.get(9)?, ip.get(usize::from(ip[0] & 15) * 4..total.min(ip.len()))?)
        } else {
            const FRAGMENT: u8 = 44;
            let end = 40 + usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
            let payload = ip.get(40..end.min(ip.len()))?;
            if *ip.get(6)? == FRAGMENT {
                let offset = u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]);
                if offset >> 3 != 0 {
                    return None;
                }
                is_piece = offset & 1 != 0;
                (*payload.first()?, payload.get(8..)?)
            } else {
                (*ip.get(6)?, payload)
            }
        };
        let port = |at| Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]));
        let (source, destination) = (port(0)?, port(2)?);
        let is_dns = source == PORT || destination == PORT;
        let message = if is_dns && !is_piece { message(protocol, transport) } else { None };
        matches!(protocol, TCP | UDP).then_some(Transport { source, destination, message })
    }
}

fn message(protocol: u8, transport: &[u8]) -> Option<Vec<u8>> {
    if protocol == UDP {
        return Some(transport.get(8..)?.to_vec());
    }
    let data = transport.get(usize::from(transport.get(12)? >> 4) * 4..)?;
    let length = usize::from(u16::from_be_bytes([*data.first()?, *data.get(1)?]));
    // Messages that fill several segments are the agent's business.
    (data.len() == length + 2).then(|| data[2..].to_vec())
}
