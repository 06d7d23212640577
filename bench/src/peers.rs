//! Who frames seem to come from.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use nsp_common::bench::TRACE_PEERS;

use crate::prefixes::{Covered, Random, is_public};

/// A peer's address and port.
pub(crate) type Peer = (IpAddr, u16);

/// Peers in the order in which they take turns.
pub(crate) type Peers = Arc<[Peer]>;

/// A peer of each prefix of a set, in random order: an address within, any of its.
pub(crate) fn within(prefixes: &[IpNet], random: &mut Random) -> Peers {
    (0..TRACE_PEERS)
        .map(|_| {
            let prefix = prefixes[random.below(prefixes.len() as u64) as usize];
            (inside(prefix, random), port(random))
        })
        .collect()
}

/// As [`within`], but a few prefixes have most of the traffic (Zipf with exponent 1.1).
pub(crate) fn zipf(prefixes: &[IpNet], random: &mut Random) -> Peers {
    let weights = (1..=prefixes.len()).map(|rank| (rank as f64).powf(-1.1));
    let sums: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let all = sums.last().copied().unwrap_or(0.0);
    (0..TRACE_PEERS)
        .map(|_| {
            let at = random.next() as f64 / u64::MAX as f64 * all;
            let rank = sums.partition_point(|sum| *sum < at).min(prefixes.len() - 1);
            // Ranks in no order of address.
            let prefix = prefixes[rank.wrapping_mul(0x9e37_79b1) % prefixes.len()];
            (inside(prefix, random), port(random))
        })
        .collect()
}

/// An address within a prefix.
pub(crate) fn inside(prefix: IpNet, random: &mut Random) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let hosts = net.broadcast().to_bits() - net.network().to_bits();
            Ipv4Addr::from_bits(net.network().to_bits() | random.next() as u32 & hosts).into()
        }
        IpNet::V6(net) => {
            let hosts = net.broadcast().to_bits() - net.network().to_bits();
            let any = u128::from(random.next()) << 64 | u128::from(random.next());
            Ipv6Addr::from_bits(net.network().to_bits() | any & hosts).into()
        }
    }
}

/// A port that clients have.
pub(crate) fn port(random: &mut Random) -> u16 {
    1024 + random.below(64_000) as u16
}

/// Peers that no prefix of the set covers.
pub(crate) fn outside(prefixes: &[IpNet], family: &str, random: &mut Random) -> Peers {
    let covered = Covered::of(prefixes);
    let mut peers = Vec::with_capacity(TRACE_PEERS as usize);
    while peers.len() < TRACE_PEERS as usize {
        let address: IpAddr = if family == "v4" {
            Ipv4Addr::from_bits(0x0100_0000 + random.below(0xdd00_0000) as u32).into()
        } else {
            let high = 0x2400_0000_0000_0000_u64 | random.next() >> 7;
            Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(random.next())).into()
        };
        if !covered.contains(address) && is_public(address) {
            peers.push((address, port(random)));
        }
    }
    peers.into()
}
