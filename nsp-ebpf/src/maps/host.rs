//! What follows the host, whatever the policy: routes, devices, resolvers, learned addresses.

use aya_ebpf::{
    btf_maps::{HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use nsp_common::{
    address::{Address, Family},
    learned::Learned,
    link::Link,
};

use super::copied;

/// Resolvers and platform endpoints: few, live.
#[btf_map]
static ENDPOINTS: HashMap<Address, u32, 256> = HashMap::new();

/// Which link groups this host routes to a prefix by: one bit a group, in two halves because a trie
/// aligns values to four bytes.
#[btf_map]
static ROUTES_V4: LpmTrie<[u8; 4], [u32; 2], 65536> = LpmTrie::new();

/// As `ROUTES_V4`.
#[btf_map]
static ROUTES_V6: LpmTrie<[u8; 16], [u32; 2], 65536> = LpmTrie::new();

/// Devices by index.
#[btf_map]
static LINKS: HashMap<u32, Link, 1024> = HashMap::new();

/// Names of learned IPv4 addresses.
#[btf_map]
pub(super) static LEARNED_V4: HashMap<[u8; 4], Learned, 65536> = HashMap::new();

/// Names of learned IPv6 addresses.
#[btf_map]
pub(super) static LEARNED_V6: HashMap<[u8; 16], Learned, 65536> = HashMap::new();

/// The link groups this host routes to an address by.
#[inline(always)]
pub(crate) fn route_groups(address: &Address, family: Family) -> u64 {
    let halves = match family {
        Family::V4 => ROUTES_V4.get(&Key::new(32, address.v4_octets())),
        Family::V6 => ROUTES_V6.get(&Key::new(128, address.octets)),
    };
    match halves {
        Some([low, high]) => u64::from(*low) | u64::from(*high) << 32,
        None => 0,
    }
}

/// Duties of an address.
#[inline(always)]
pub(crate) fn endpoint(address: &Address) -> u32 {
    copied!(ENDPOINTS, address).unwrap_or(0)
}

/// One device.
#[inline(always)]
pub(crate) fn link(ifindex: u32) -> Option<Link> {
    copied!(LINKS, &ifindex)
}

/// The names of an address.
#[inline(always)]
pub(crate) fn learned(address: &Address, family: Family) -> Option<&'static Learned> {
    // SAFETY: plain integers in a map value. An entry that is written meanwhile shows an old or a
    // new name with an old or a new end, each of which was right a moment ago.
    unsafe {
        match family {
            Family::V4 => LEARNED_V4.get(&address.v4_octets()),
            Family::V6 => LEARNED_V6.get(&address.octets),
        }
    }
}
