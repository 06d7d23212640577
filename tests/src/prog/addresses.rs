//! Addresses of a frame, read without the product's parser, to hold its records against.

use nsp_common::address::Address;

/// Source and destination of the IP header behind `link` bytes of link header and any tags; `None`
/// when they are not all there.
pub(super) fn addresses(frame: &[u8], has_link_header: bool) -> Option<(Address, Address)> {
    let (version, at) = if has_link_header {
        let mut at = 12;
        while let 0x8100 | 0x88a8 | 0x9100 = word(frame, at)? {
            at += 4;
        }
        match word(frame, at)? {
            0x0800 => (4, at + 2),
            0x86dd => (6, at + 2),
            _ => return None,
        }
    } else {
        (*frame.first()? >> 4, 0)
    };
    match version {
        4 if frame.len() >= at + 20 => Some((v4(frame, at + 12)?, v4(frame, at + 16)?)),
        6 => Some((v6(frame, at + 8)?, v6(frame, at + 24)?)),
        _ => None,
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

fn v4(frame: &[u8], at: usize) -> Option<Address> {
    Some(Address::v4(frame.get(at..at + 4)?.try_into().ok()?))
}

fn v6(frame: &[u8], at: usize) -> Option<Address> {
    Some(Address::v6(frame.get(at..at + 16)?.try_into().ok()?))
}
