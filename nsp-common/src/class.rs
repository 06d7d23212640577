//! Address classes, port classes, and the matrix that turns the two into an access rule.
//!
//! A class is the set of (profile, rule) pairs whose prefixes cover an address, with what the
//! perimeter knows of it beside (private, member, linked). The compiler numbers the sets, a table
//! maps an address to its number in one lookup, and two small arrays give the rule:
//!
//! ```text
//! class ─► first cell ─┐
//! lane (profile, way) ─┴─► cell ─► row ─┐
//! protocol + port ─► port class ────────┴─► rule number
//! ```
//!
//! The cells are a comb: the sparse rows of all classes laid over each other, each cell naming the
//! class it belongs to, so that a look-up is one load and one comparison.

use crate::net::protocol;

/// Bits of [`Class::flags`].
pub mod flags {
    /// In the private ranges of the policy.
    pub const PRIVATE: u16 = 1 << 0;
    /// A member of this perimeter.
    pub const MEMBER: u16 = 1 << 1;
    /// A member of a linked perimeter.
    pub const LINKED: u16 = 1 << 2;
    /// An endpoint of the cloud that this host runs in.
    pub const PLATFORM: u16 = 1 << 3;
}

/// The class of an address that no prefix covers.
pub const CLASS_NONE: u32 = 0;

/// One address class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Class {
    /// Where its cells begin; the lane is added.
    pub cells: u32,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Zero.
    pub _pad: u16,
}

/// One cell of the comb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cell {
    /// The class this cell belongs to, plus one; zero is free.
    pub owner: u32,
    /// The row of rules.
    pub row: u32,
}

/// What a policy says about one (protocol, port).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortEntry {
    /// The port class; zero is every port that no rule names.
    pub class: u16,
    /// The association that listens there on any address, or zero.
    pub association: u16,
}

/// Port classes and listeners of one generation. Indices are whole types, so that no look-up needs
/// a bounds check.
#[repr(C)]
pub struct PortTable {
    /// TCP, by port.
    pub tcp: [PortEntry; 65536],
    /// UDP, by port.
    pub udp: [PortEntry; 65536],
    /// SCTP, by port.
    pub sctp: [PortEntry; 65536],
    /// Every other protocol, by its number.
    pub others: [PortEntry; 256],
}

impl PortTable {
    /// What the policy says of a port, or of a protocol without ports.
    #[inline(always)]
    pub const fn entry(&self, protocol: u8, port: u16) -> PortEntry {
        match protocol {
            protocol::TCP => self.tcp[port as usize],
            protocol::UDP => self.udp[port as usize],
            protocol::SCTP => self.sctp[port as usize],
            other => self.others[other as usize],
        }
    }
}

/// Entries of a [`PortTable`].
pub const PORT_ENTRIES: usize = 3 * 65536 + 256;

/// Where the entry of a port lies in a [`PortTable`] taken as one array.
pub const fn port_index(protocol: u8, port: u16) -> usize {
    match protocol {
        protocol::TCP => port as usize,
        protocol::UDP => 65536 + port as usize,
        protocol::SCTP => 2 * 65536 + port as usize,
        other => 3 * 65536 + other as usize,
    }
}

const _: () = assert!(size_of::<PortTable>() == PORT_ENTRIES * size_of::<PortEntry>());

/// Number of a rule within one generation: ordered by profile, direction and name, so that of two
/// matching rules the smaller number is the first by name. Zero is none.
pub type RuleNumber = u32;

/// The lane of a profile in one direction: the column of the comb.
#[inline(always)]
pub const fn lane(profile: u16, outbound: bool) -> u32 {
    profile as u32 * 2 + outbound as u32
}

crate::shared!(Class, 8);
crate::shared!(Cell, 8);
crate::shared!(PortEntry, 4);
