//! Captures: the DNS messages in them, by UDP and by TCP.

use std::{fs, path::Path};

/// The payloads of a classic capture file that are to or from port 53, whole ones only.
pub fn messages(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("the capture can be read");
    let little = bytes[..4] == [0xd4, 0xc3, 0xb2, 0xa1] || bytes[..4] == [0x4d, 0x3c, 0xb2, 0xa1];
    let word = |at: usize| {
        let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
    };
    let link = word(20);
    let (mut at, mut found) = (24, Vec::new());
    while at + 16 <= bytes.len() {
        let length = word(at + 8) as usize;
        let frame = &bytes[at + 16..(at + 16 + length).min(bytes.len())];
        found.extend(payload(frame, link));
        at += 16 + length;
    }
    found
}

fn payload(frame: &[u8], link: u32) -> Option<Vec<u8>> {
    const ETHERNET: u32 = 1;
    let ip = match link {
        ETHERNET => {
            let mut at = 12;
            while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
            frame.get(at + 2..)?
        }
        _ => frame,
    };
    let (protocol, transport) = match ip.first()? >> 4 {
        // Fragments have no whole message.
        4 if ip.get(6)? & 0x3f == 0 && *ip.get(7)? == 0 => {
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            (*ip.get(9)?, ip.get(usize::from(ip[0] & 15) * 4..total.min(ip.len()))?)
        }
        6 => (*ip.get(6)?, ip.get(40..)?),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]));
    if port(0)? != 53 && port(2)? != 53 {
        return None;
    }
    match protocol {
        17 => Some(transport.get(8..)?.to_vec()),
        6 => {
            let data = transport.get(usize::from(transport.get(12)? >> 4) * 4..)?;
            let length = usize::from(u16::from_be_bytes([*data.first()?, *data.get(1)?]));
            // Messages that fill several segments are the agent's business.
            (data.len() == length + 2).then(|| data[2..].to_vec())
        }
        _ => None,
    }
}
