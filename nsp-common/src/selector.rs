//! Keys that lead from a packet to the resource it concerns, where a port alone does not.

use crate::{address::Address, verdict::Direction};

/// Levels of cgroups that are looked at, from the top: units live in the first few.
pub const CGROUP_LEVELS: i32 = 8;

/// What a selector goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A local address.
    Address = 1,
    /// A local address with protocol and port.
    AddressPort = 2,
    /// A device.
    Interface = 3,
    /// A cgroup, by its inode number.
    Cgroup = 4,
    /// A local address that an enforced association concerns, whatever the port.
    Enforced = 5,
}

/// Key of the selector table. The slot comes first: entries belong to one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Selector {
    /// The generation's slot.
    pub slot: u8,
    /// [`Kind`] as a number.
    pub kind: u8,
    /// Protocol, for [`Kind::AddressPort`]; direction, for [`Kind::Enforced`].
    pub protocol: u8,
    /// Zero.
    pub _pad: u8,
    /// Port in host order, for [`Kind::AddressPort`].
    pub port: u16,
    /// Zero.
    pub _pad2: u16,
    /// The address; or device index or cgroup id in host order in its first bytes.
    pub value: [u8; 16],
}

impl Selector {
    #[inline(always)]
    const fn new(slot: u32, kind: Kind, protocol: u8, port: u16, value: [u8; 16]) -> Self {
        Self { slot: slot as u8, kind: kind as u8, protocol, _pad: 0, port, _pad2: 0, value }
    }

    /// By local address.
    #[inline(always)]
    pub const fn address(slot: u32, address: &Address) -> Self {
        Self::new(slot, Kind::Address, 0, 0, address.octets)
    }

    /// By local address, protocol and port.
    #[inline(always)]
    pub const fn address_port(slot: u32, address: &Address, protocol: u8, port: u16) -> Self {
        Self::new(slot, Kind::AddressPort, protocol, port, address.octets)
    }

    /// By local address, where an enforced association may concern it.
    #[inline(always)]
    pub const fn enforced(slot: u32, address: &Address, direction: Direction) -> Self {
        Self::new(slot, Kind::Enforced, direction as u8, 0, address.octets)
    }

    /// By device.
    #[inline(always)]
    pub const fn interface(slot: u32, ifindex: u32) -> Self {
        let [a, b, c, d] = ifindex.to_ne_bytes();
        Self::new(slot, Kind::Interface, 0, 0, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// By cgroup.
    #[inline(always)]
    pub const fn cgroup(slot: u32, id: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = id.to_ne_bytes();
        Self::new(slot, Kind::Cgroup, 0, 0, [a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
    }
}

crate::shared!(Selector, 24);
