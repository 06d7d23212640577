//! The link header: Ethernet with up to two VLAN tags, or none at all.

use network_types::eth::EtherType;

use super::{Bytes, be16};
use crate::verdict::Reason;

/// Tags that are looked through (IEEE 802.1Q and 802.1ad); more are refused.
pub const VLAN_TAGS_MAX: u32 = 2;

const ETHERTYPE_IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
const ETHERTYPE_IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);
const ETHERTYPE_VLAN: u16 = u16::from_be(EtherType::Ieee8021q as u16);
const ETHERTYPE_QINQ: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
const ETHERTYPE_QINQ_OLD: u16 = u16::from_be(EtherType::Ieee8021QinQ1 as u16);

/// What a frame carries, and where that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// IPv4 at this offset.
    V4(u32),
    /// IPv6 at this offset.
    V6(u32),
}

/// Whether frames of a device begin with an Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkHeader {
    /// Ethernet.
    Ethernet,
    /// None: tun, WireGuard, PPP as TC sees them. The first byte tells the family.
    None,
}

/// Finds the IP header.
///
/// # Errors
/// [`Reason::NotIp`] for everything that is not IP (it passes), [`Reason::TruncatedLink`] and
/// [`Reason::TooManyTags`] for what cannot be classified.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B, link: LinkHeader) -> Result<Payload, Reason> {
    match link {
        LinkHeader::Ethernet => ethernet(bytes),
        LinkHeader::None => bare(bytes),
    }
}

#[inline(always)]
fn ethernet<B: Bytes + ?Sized>(bytes: &B) -> Result<Payload, Reason> {
    let Some([high, low]) = bytes.read::<2>(12) else {
        return Err(Reason::TruncatedLink);
    };
    let mut ethertype = be16(high, low);
    let mut offset = 14;
    let mut tags = 0;
    while ethertype == ETHERTYPE_VLAN
        || ethertype == ETHERTYPE_QINQ
        || ethertype == ETHERTYPE_QINQ_OLD
    {
        if tags == VLAN_TAGS_MAX {
            return Err(Reason::TooManyTags);
        }
        let Some([high, low]) = bytes.read::<2>(offset + 2) else {
            return Err(Reason::TruncatedLink);
        };
        ethertype = be16(high, low);
        offset += 4;
        tags += 1;
    }
    match ethertype {
        ETHERTYPE_IPV4 => Ok(Payload::V4(offset)),
        ETHERTYPE_IPV6 => Ok(Payload::V6(offset)),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn bare<B: Bytes + ?Sized>(bytes: &B) -> Result<Payload, Reason> {
    match bytes.read::<1>(0) {
        Some([first]) if first >> 4 == 4 => Ok(Payload::V4(0)),
        Some([first]) if first >> 4 == 6 => Ok(Payload::V6(0)),
        Some(_) => Err(Reason::NotIp),
        None => Err(Reason::TruncatedLink),
    }
}
