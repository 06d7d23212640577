//! Who is who in every test: one address plan, in documentation and private ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{family::Family, layer::Literal};

/// The office's prefix, that rules allow.
pub const OFFICE_V4: &str = "203.0.113.0/24";

/// The office's prefix, that rules allow.
pub const OFFICE_V6: &str = "2001:db8:100::/40";

/// A host with a part to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The host that the perimeter protects.
    Server,
    /// A public client that rules allow, inside [`OFFICE_V4`] and [`OFFICE_V6`].
    Office,
    /// A public client that no rule names.
    Stranger,
    /// A client on the private network.
    Private,
    /// Another member of the perimeter, a neighbour of the server.
    Member,
}

impl Party {
    /// Everybody.
    pub const ALL: [Self; 5] =
        [Self::Server, Self::Office, Self::Stranger, Self::Private, Self::Member];

    /// The name in namespaces and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Office => "office",
            Self::Stranger => "stranger",
            Self::Private => "private",
            Self::Member => "member",
        }
    }

    /// The IPv4 address.
    pub const fn v4(self) -> Ipv4Addr {
        match self {
            Self::Server => Ipv4Addr::new(192, 0, 2, 1),
            Self::Office => Ipv4Addr::new(203, 0, 113, 5),
            Self::Stranger => Ipv4Addr::new(198, 51, 100, 7),
            Self::Private => Ipv4Addr::new(10, 0, 0, 9),
            Self::Member => Ipv4Addr::new(192, 0, 2, 10),
        }
    }

    /// The IPv6 address.
    pub const fn v6(self) -> Ipv6Addr {
        match self {
            Self::Server => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            Self::Office => Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 5),
            Self::Stranger => Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 7),
            Self::Private => Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 9),
            Self::Member => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10),
        }
    }

    /// The address of one family.
    pub const fn address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4()),
            Family::V6 => IpAddr::V6(self.v6()),
        }
    }
}

impl Literal<Ipv4Addr> for Party {
    fn value(self) -> Ipv4Addr {
        self.v4()
    }
}

impl Literal<Ipv6Addr> for Party {
    fn value(self) -> Ipv6Addr {
        self.v6()
    }
}

/// The server's address on the private network.
pub const fn server_private(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn office_is_inside_its_prefixes_and_the_others_are_not() {
        for party in Party::ALL {
            let inside_v4 = party.v4().octets()[..3] == [203, 0, 113];
            let inside_v6 = party.v6().octets()[..5] == [0x20, 0x01, 0x0d, 0xb8, 0x01];
            assert_eq!(inside_v4, party == Party::Office, "{party:?}");
            assert_eq!(inside_v6, party == Party::Office, "{party:?}");
        }
    }
}
