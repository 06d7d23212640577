//! Devices as the reverse-path check sees them, and addresses with a duty of their own.

/// Devices (or groups of devices that reach the same networks) that a route can name.
pub const LINK_GROUPS_MAX: u8 = 64;

/// One device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Link {
    /// Its group, as a bit number in the values of the route table.
    pub group: u8,
    /// Zero.
    pub _pad: u8,
    /// Zero, or a number of its own for a tunnel: conversations inside are not those outside.
    pub scope: u16,
}

/// Bits of the endpoint table's value.
pub mod endpoint {
    /// A resolver that this host trusts.
    pub const RESOLVER: u32 = 1 << 0;
    /// This host's own: no name may stand for it.
    pub const OWN: u32 = 1 << 1;
    /// A stub or recursive resolver of this host listens here, at port 53.
    pub const STUB: u32 = 1 << 2;
}

/// Bits of the value of the table of cgroups whose programs resolve names for others, by cgroup id.
pub mod resolving {
    /// Nobody else's questions teach. Under the id zero; the others are listed.
    pub const ONLY_LISTED: u32 = 1 << 0;
    /// A stub resolver: its questions teach, whatever name they are about.
    pub const STUB: u32 = 1 << 1;
    /// A recursive resolver: may ask anybody at port 53.
    pub const RECURSIVE: u32 = 1 << 2;
    /// What it answers at a stub's address teaches.
    pub const ANSWERS: u32 = 1 << 3;
}

crate::shared!(Link, 4);
