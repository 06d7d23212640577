//! The key of a conversation, in the long form and in the kernel's short one for IPv4.

use crate::address::{Address, Family};

/// One conversation, seen from this host. Ports in host order. In ICMP the identifier of an echo
/// stands for the asker's port and zero for the answerer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The other end.
    pub remote: Address,
    /// This end.
    pub local: Address,
    /// The other end's port.
    pub remote_port: u16,
    /// This end's port.
    pub local_port: u16,
    /// Zero, or the tunnel device it runs in.
    pub scope: u16,
    /// Transport protocol.
    pub protocol: u8,
    /// [`Family`] as a number.
    pub family: u8,
}

/// [`FlowKey`] of IPv4, as the kernel's table holds it: the hash of 16 bytes is a third cheaper
/// than that of 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKeyV4 {
    /// The other end.
    pub remote: [u8; 4],
    /// This end.
    pub local: [u8; 4],
    /// The other end's port.
    pub remote_port: u16,
    /// This end's port.
    pub local_port: u16,
    /// As in [`FlowKey`].
    pub scope: u16,
    /// Transport protocol.
    pub protocol: u8,
    /// Zero.
    pub _pad: u8,
}

impl FlowKey {
    /// No conversation.
    pub const EMPTY: Self = Self {
        remote: Address::UNSPECIFIED,
        local: Address::UNSPECIFIED,
        remote_port: 0,
        local_port: 0,
        scope: 0,
        protocol: 0,
        family: 0,
    };

    /// The short form. Meaningful for IPv4 only.
    #[inline(always)]
    pub const fn v4(&self) -> FlowKeyV4 {
        FlowKeyV4 {
            remote: self.remote.v4_octets(),
            local: self.local.v4_octets(),
            remote_port: self.remote_port,
            local_port: self.local_port,
            scope: self.scope,
            protocol: self.protocol,
            _pad: 0,
        }
    }

    /// [`FlowKey::scope`] of a tunnel device: conversations inside it are not those outside. Indices
    /// beyond 16 bits are folded; two tunnels would have to differ by a multiple of 65,537 to share
    /// conversations.
    #[inline(always)]
    pub const fn scope_of(ifindex: u32) -> u16 {
        (ifindex ^ ifindex >> 16) as u16
    }

    /// IPv4 or IPv6.
    #[inline(always)]
    pub const fn ip_family(&self) -> Family {
        if self.is_v4() { Family::V4 } else { Family::V6 }
    }

    /// Whether it is IPv4.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.family == Family::V4 as u8
    }
}

impl FlowKeyV4 {
    /// The long form.
    pub const fn long(&self) -> FlowKey {
        FlowKey {
            remote: Address::v4(self.remote),
            local: Address::v4(self.local),
            remote_port: self.remote_port,
            local_port: self.local_port,
            scope: self.scope,
            protocol: self.protocol,
            family: Family::V4 as u8,
        }
    }
}

crate::shared!(FlowKey, 40);
crate::shared!(FlowKeyV4, 16);
