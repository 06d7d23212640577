//! Real fragments of a real datagram.

use super::{
    Packet,
    family::{Family, InBoth},
    layer::Addresses,
    payload::raw,
};

/// The pieces of the datagram from `src` to `dst` that carries `transport`, each of at most
/// `piece_length` bytes, in order. The checksum inside covers the whole, as it must to be
/// accepted after reassembly.
///
/// # Panics
/// When `piece_length` is not a positive multiple of 8.
pub fn fragments<P: InBoth, Q: InBoth>(
    family: Family,
    (src, dst): (P, Q),
    id: u16,
    transport: impl Into<Packet>,
    piece_length: usize,
) -> Vec<Packet> {
    assert!(piece_length > 0 && piece_length.is_multiple_of(8), "pieces are whole 8-byte units");
    let addresses = match family {
        Family::V4 => Addresses { source: src.v4().into(), destination: dst.v4().into() },
        Family::V6 => Addresses { source: src.v6().into(), destination: dst.v6().into() },
    };
    let transport = transport.into();
    let protocol = transport.protocol().expect("a transport names itself");
    let bytes = transport.bytes_between(addresses);
    let last = bytes.len().saturating_sub(1) / piece_length;
    let pieces = bytes.chunks(piece_length).enumerate();
    pieces
        .map(|(index, piece)| {
            let header = family.ip((src.v4(), src.v6()), (dst.v4(), dst.v6()));
            header.fragment(id, index * piece_length, index < last) / raw(protocol, piece)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{BOTH, Party, udp};

    #[test]
    fn pieces_join_to_the_datagram() {
        for family in BOTH {
            let datagram = udp(4000, 5000) / [7; 100];
            let between = (Party::Office, Party::Server);
            let whole = (family.ip(between.0, between.1) / datagram.clone()).bytes();
            let pieces = fragments(family, between, 9, datagram, 48);
            let header = family.header_length() + if family == Family::V6 { 8 } else { 0 };
            let joined: Vec<u8> =
                pieces.iter().flat_map(|piece| piece.bytes()[header..].to_vec()).collect();
            assert_eq!(joined, whole[family.header_length()..]);
            assert_eq!(pieces.len(), 3);
        }
    }

    #[test]
    fn only_the_last_piece_ends_the_datagram() {
        let between = (Party::Office, Party::Server);
        let pieces = fragments(Family::V4, between, 9, udp(1, 2) / [0; 88], 48);
        let flags: Vec<_> = pieces.iter().map(|piece| piece.bytes()[6..8].to_vec()).collect();
        assert_eq!(flags, [[0x20, 0], [0, 6]]);
    }
}
