//! The filter before the tables of conversations: one bit says that a conversation is in none of them.
//!
//! A flood from random sources has no conversations, and to find none takes three look-ups, each of which
//! misses the cache. A Bloom filter with one hash function (Bloom, CACM 13(7), 1970) says so for one. A bit
//! that is set says nothing: then the tables are asked.
//!
//! Bits are set before a conversation is put into a table, and never cleared one by one. There are two
//! halves. The programs set bits in both and read one; the agent empties the other, waits until no program
//! runs that has not seen it empty, sets the bits of all conversations there are, and then has that one
//! read (`nsp-agent/src/datapath/filter.rs`). Without an agent it fills up, and the tables are asked as
//! before.

use crate::flow_key::FlowKey;

/// Bits of a half, a power of two.
pub const BITS: u32 = 1 << 20;
/// Words of a half.
pub const WORDS: usize = BITS as usize / 64;

/// One half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Half(pub [u64; WORDS]);

crate::shared!(Half, WORDS * 8);

/// Which bit is a conversation's: its word, and the bit in it.
#[inline(always)]
pub const fn place(key: &FlowKey) -> (usize, u64) {
    let FlowKey { remote, local, remote_port, local_port, scope, protocol, family: _ } = key;
    let ports = (*remote_port as u64) << 16 | *local_port as u64;
    let rest = ports << 24 | (*scope as u64) << 8 | *protocol as u64;
    // Multipliers of splitmix64 (Steele et al. 2014), whose upper bits depend on all of a number.
    let mixed = folded(&remote.octets).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ rest;
    let mixed = (mixed ^ mixed >> 31 ^ folded(&local.octets)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bit = (mixed >> (64 - BITS.ilog2())) as usize;
    ((bit / 64) & (WORDS - 1), 1 << (bit % 64))
}

/// An address in eight bytes. Of IPv4 all but the last four are the same.
#[inline(always)]
const fn folded(octets: &[u8; 16]) -> u64 {
    let bits = u128::from_ne_bytes(*octets);
    ((bits >> 64) as u64).rotate_left(32) ^ (bits as u64).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        address::{Address, Family},
        net::protocol,
    };

    fn key(remote: Address, remote_port: u16, local_port: u16, family: Family) -> FlowKey {
        FlowKey {
            remote,
            local: Address::v4([192, 0, 2, 1]),
            remote_port,
            local_port,
            scope: 0,
            protocol: protocol::UDP,
            family: family as u8,
        }
    }

    /// Neighbours in every field have bits of their own, but for as many as chance wants.
    #[test]
    fn what_differs_in_little_is_spread() {
        let of_v4 = |n: u32| key(Address::v4(n.to_be_bytes()), 443, 5000, Family::V4);
        let of_ports = |n: u32| key(Address::v4([198, 51, 100, 7]), n as u16, 443, Family::V4);
        let of_v6 = |n: u32| {
            let bits = 0x2001_0db8_u128 << 96 | u128::from(n) << 48;
            key(Address::v6(bits.to_be_bytes()), 443, 5000, Family::V6)
        };
        let kinds: [&dyn Fn(u32) -> FlowKey; 3] = [&of_v4, &of_ports, &of_v6];
        for kind in kinds {
            let count = 50_000;
            let places: HashSet<_> = (0..count).map(|n| place(&kind(n))).collect();
            // 50,000 of 2^20 places: 2.3 % are there already.
            assert!(places.len() as u32 > count * 96 / 100, "{} of {count}", places.len());
        }
    }
}
