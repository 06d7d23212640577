//! IP addresses as the kernel programs hold them, and the ranges with a fixed meaning.

/// An IPv4 or IPv6 address in network byte order; IPv4 in its mapped form, `::ffff:a.b.c.d`.
///
/// One type for both families keeps the decision free of twins. The family of a packet is held
/// beside it, so that a mapped address that came over the wire as IPv6 is never taken for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C, align(4))]
pub struct Address {
    /// The sixteen bytes, network order.
    pub octets: [u8; 16],
}

/// The family of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

impl Address {
    /// `::`, which stands for "none".
    pub const UNSPECIFIED: Self = Self { octets: [0; 16] };

    /// An IPv4 address from its four bytes.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self { octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] }
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline(always)]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self { octets }
    }

    /// The last four bytes: the IPv4 address of a mapped one.
    #[inline(always)]
    pub const fn v4_octets(&self) -> [u8; 4] {
        let o = &self.octets;
        [o[12], o[13], o[14], o[15]]
    }

    /// Whether this is in mapped form.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        let o = &self.octets;
        o[10] == 0xff && o[11] == 0xff && self.is_v4_compatible_head()
    }

    #[inline(always)]
    const fn is_v4_compatible_head(&self) -> bool {
        let o = &self.octets;
        (o[0] | o[1] | o[2] | o[3] | o[4] | o[5] | o[6] | o[7] | o[8] | o[9]) == 0
    }

    /// Whether this is the unspecified address of its family.
    #[inline(always)]
    pub fn is_unspecified(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4_octets() == [0; 4],
            Family::V6 => self.octets == [0; 16],
        }
    }

    /// Multicast, or the IPv4 limited broadcast.
    #[inline(always)]
    pub fn is_multicast(&self, family: Family) -> bool {
        match family {
            Family::V4 => {
                let v4 = self.v4_octets();
                v4[0] & 0xf0 == 0xe0 || v4 == [255; 4]
            }
            Family::V6 => self.octets[0] == 0xff,
        }
    }

    /// fe80::/10 (RFC 4291).
    #[inline(always)]
    pub const fn is_v6_link_local(&self) -> bool {
        self.octets[0] == 0xfe && self.octets[1] & 0xc0 == 0x80
    }

    /// 127/8 or ::1.
    #[inline(always)]
    pub fn is_loopback(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4_octets()[0] == 127,
            Family::V6 => {
                self.is_v4_compatible_head()
                    && self.octets[10] == 0
                    && self.octets[11] == 0
                    && self.v4_octets() == [0, 0, 0, 1]
            }
        }
    }

    /// A source that cannot be on the wire (RFC 6890): loopback, 0/8, multicast, 240/4, a mapped
    /// address. The unspecified address is left to the caller, who knows DHCP and DAD.
    #[inline(always)]
    pub fn is_martian_source(&self, family: Family) -> bool {
        if self.is_multicast(family) || self.is_loopback(family) {
            return true;
        }
        match family {
            Family::V4 => {
                let first = self.v4_octets()[0];
                first == 0 || first >= 240
            }
            Family::V6 => self.is_mapped(),
        }
    }

    /// An address that is nobody's in particular, or only this host's or link's: unspecified, loopback,
    /// link-local, multicast, 0/8 and 240/4, site-local, and in IPv6 the mapped and compatible ones.
    #[inline(always)]
    pub fn is_special(&self, family: Family) -> bool {
        self.is_martian_source(family)
            || self.is_unspecified(family)
            || match family {
                Family::V4 => matches!(self.v4_octets(), [169, 254, ..]),
                Family::V6 => {
                    self.is_v6_link_local() || self.octets[0] == 0xfe || self.is_v4_compatible()
                }
            }
    }

    /// Whether it is in ::/96, which once stood for IPv4 addresses (RFC 4291 2.5.5.1).
    #[inline(always)]
    const fn is_v4_compatible(&self) -> bool {
        self.is_v4_compatible_head() && self.octets[10] == 0 && self.octets[11] == 0
    }

    /// The IPv4 address that an IPv6 one leads to: NAT64 (64:ff9b::/96, RFC 6052; 64:ff9b:1::/48, RFC
    /// 8215), 6to4 (2002::/16, RFC 3056). Teredo (2001::/32) hides its address, inverted, too.
    #[inline(always)]
    pub fn embedded(&self) -> Option<Self> {
        let o = &self.octets;
        match (o[0], o[1], o[2], o[3]) {
            (0x00, 0x64, 0xff, 0x9b) => Some(Self::v4(self.v4_octets())),
            (0x20, 0x02, ..) => Some(Self::v4([o[2], o[3], o[4], o[5]])),
            (0x20, 0x01, 0, 0) => Some(Self::v4([!o[12], !o[13], !o[14], !o[15]])),
            _ => None,
        }
    }

    /// The metadata service of the large clouds: 169.254.169.254, fd00:ec2::254.
    #[inline(always)]
    pub fn is_metadata(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4_octets() == [169, 254, 169, 254],
            Family::V6 => {
                self.octets == [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54]
            }
        }
    }
}

#[cfg(feature = "user")]
impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

#[cfg(feature = "user")]
impl Address {
    /// As the standard library has it.
    pub fn to_ip(self, family: Family) -> core::net::IpAddr {
        match family {
            Family::V4 => self.v4_octets().into(),
            Family::V6 => self.octets.into(),
        }
    }
}

crate::shared!(Address, 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::loopback([127, 0, 0, 1], true)]
    #[case::this_network([0, 1, 2, 3], true)]
    #[case::multicast([224, 0, 0, 1], true)]
    #[case::reserved([240, 0, 0, 1], true)]
    #[case::just_below_multicast([223, 255, 255, 255], false)]
    #[case::documentation_is_public([192, 0, 2, 1], false)]
    #[case::private_is_not_martian([10, 0, 0, 1], false)]
    fn v4_martians(#[case] octets: [u8; 4], #[case] martian: bool) {
        assert_eq!(Address::v4(octets).is_martian_source(Family::V4), martian);
    }

    #[test]
    fn a_mapped_source_on_an_ipv6_packet_is_martian() {
        let mapped = Address::v4([198, 51, 100, 7]);
        assert!(mapped.is_martian_source(Family::V6));
        assert!(!mapped.is_martian_source(Family::V4));
    }

    #[test]
    fn v6_loopback_is_only_one_address() {
        let mut octets = [0; 16];
        octets[15] = 1;
        assert!(Address::v6(octets).is_loopback(Family::V6));
        octets[0] = 0x20;
        assert!(!Address::v6(octets).is_loopback(Family::V6));
    }
}
