//! Verdicts, reasons and the words of the access log, numbered once for both sides of the kernel.
//!
//! **Invariant:** numbers are append-only. A reason that is retired keeps its number.

/// Declares an enum whose numbers and names cross the kernel boundary.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word that people and records see.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

numbered! {
    /// What becomes of the packet here. `Pass` lets the next program and the host's own firewall
    /// decide; it never ends the chain.
    Verdict {
        /// Let the next one decide.
        Pass = 0 "allow",
        /// Drop it here.
        Drop = 1 "deny",
    }
}

numbered! {
    /// Which way a packet goes, or which side opened a conversation.
    Direction {
        /// Towards this host.
        Inbound = 0 "Inbound",
        /// From this host.
        Outbound = 1 "Outbound",
    }
}

impl Direction {
    /// The other way.
    #[must_use]
    #[inline(always)]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

numbered! {
    /// How strictly an association is held, per direction.
    AccessMode {
        /// Judge and log; the host's own firewall decides alone.
        Transition = 0 "transition",
        /// What the perimeter denies is dropped.
        Enforced = 1 "enforced",
    }
}

numbered! {
    /// Where the other end of a packet stands.
    TrafficClass {
        /// What keeps the host on its network: neighbour discovery, DHCP, the resolvers.
        Infrastructure = 0 "Infrastructure",
        /// A private address that this host would route back to by the same interface.
        Private = 1 "Private",
        /// A member of this perimeter.
        Intra = 2 "Intra",
        /// A member of a linked perimeter.
        Cross = 3 "Cross",
        /// Everybody else.
        Public = 4 "Public",
        /// A source address that cannot be.
        Martian = 5 "Martian",
        /// Not established: not IP, or cut short before its addresses.
        Unknown = 6 "Unknown",
    }
}

numbered! {
    /// Why a packet passed or was dropped. A reason does not fix the verdict: `NoRule` drops when
    /// the association is enforced and passes, logged, in transition.
    Reason {
        /// No generation is published yet: the programs only look.
        NoPolicy = 0 "no policy is loaded",
        /// Not an IP packet (ARP, LLDP, ...).
        NotIp = 1 "not IP",
        /// Loopback traffic is never judged.
        Loopback = 2 "loopback",
        /// Neighbour or router discovery of this link (RFC 4861: hop limit 255).
        NeighbourDiscovery = 3 "neighbour discovery",
        /// Multicast listener discovery of this link (RFC 2710, 3810: hop limit 1).
        MulticastListener = 4 "multicast listener discovery",
        /// DHCP client traffic, v4 and v6, unicast renewals too.
        Dhcp = 5 "DHCP",
        /// IGMP.
        Igmp = 6 "IGMP",
        /// A multicast or broadcast destination.
        Multicast = 7 "multicast or broadcast",
        /// DNS to a trusted resolver, and its answers.
        Resolver = 8 "trusted resolver",
        /// A cloud platform's endpoint that the profile allows.
        Metadata = 9 "cloud endpoint",
        /// Forwarded traffic on a host whose policy says `forwarded = "pass"`.
        Forwarded = 10 "forwarded",
        /// DNS of this host's recursive resolver, to whomever it asks.
        Recursive = 11 "recursive resolver",

        /// Part of a conversation that was allowed when it opened.
        Flow = 16 "open conversation",
        /// Part of a conversation that was live when its association became enforced.
        Kept = 17 "kept conversation",
        /// An ICMP error about a conversation that passes.
        Related = 18 "ICMP error about an open conversation",
        /// A later fragment of a packet whose head passed.
        Fragment = 19 "fragment of a passed packet",

        /// A private peer, by the interface this host would answer on.
        Private = 24 "private peer",
        /// A member of the perimeter.
        Intra = 25 "member of the perimeter",
        /// A member of a linked perimeter.
        Cross = 26 "member of a linked perimeter",
        /// An access rule matches.
        Rule = 27 "access rule",
        /// No resource of the perimeter is concerned, and the policy leaves such traffic alone.
        Unassociated = 28 "no associated resource",
        /// No access rule matches.
        NoRule = 29 "no rule",
        /// No resource is concerned and `public_network_access` is not `enabled`.
        NoResource = 30 "public access is secured by the perimeter",

        /// The middle of a conversation that was never opened (an unsolicited SYN-ACK).
        NoFlow = 32 "no open conversation",
        /// TCP flags that no conversation has (SYN with FIN or RST, none at all).
        BadTcpFlags = 33 "impossible TCP flags",
        /// The conversation's rule is gone from the policy.
        Revoked = 34 "rule withdrawn",
        /// The conversation was ended by `nsp flows cut` or a strict apply.
        Cut = 35 "conversation cut",
        /// The flow table is full; the answers could not be recognised.
        FlowTableFull = 36 "flow table full",
        /// An ICMP error about no conversation that passes.
        IcmpUnrelated = 37 "ICMP error about no open conversation",
        /// ICMP that hosts should not take from the network (redirect, timestamp, mask).
        IcmpForbidden = 38 "forbidden ICMP type",
        /// A packet-too-big with an MTU below the protocol's minimum (RFC 8201, RFC 791).
        IcmpBadMtu = 39 "impossible path MTU",
        /// Discovery traffic that did not come from this link.
        RogueDiscovery = 40 "discovery from off the link",
        /// ICMP errors beyond the rate limit.
        IcmpRate = 41 "too many ICMP errors",

        /// A source address that cannot be on the wire.
        Martian = 48 "martian source",
        /// A cloud platform's endpoint that the profile denies.
        MetadataDenied = 49 "cloud endpoint denied by the profile",
        /// A question about a name that no outbound rule of the asker's profile has, or one by TCP, under
        /// strict DNS.
        StrictDns = 50 "strict DNS",
        /// `nsp block`, for a time.
        Blocked = 51 "temporary block",
        /// The `nsp allow` that the conversation was opened by is over or withdrawn.
        Lapsed = 52 "temporary allow is over",

        /// Cut short before or inside the link header.
        TruncatedLink = 56 "truncated link header",
        /// More than two VLAN tags.
        TooManyTags = 57 "too many VLAN tags",
        /// An IPv4 header whose version or lengths contradict each other.
        BadIpv4 = 58 "bad IPv4 header",
        /// An IPv6 header whose version or lengths contradict each other.
        BadIpv6 = 59 "bad IPv6 header",
        /// IPv4 source routing, or an IPv6 type 0 routing header (RFC 5095).
        SourceRoute = 60 "source route",
        /// More extension headers than are walked (RFC 7112).
        TooManyHeaders = 61 "too many extension headers",
        /// Cut short inside the transport header.
        TruncatedTransport = 62 "truncated transport header",
        /// A later fragment of a packet whose head was not seen to pass.
        OrphanFragment = 63 "fragment without a judged head",
        /// A first fragment too small to hold its transport header (RFC 1858).
        TinyFragment = 64 "tiny first fragment",
    }
}

impl Reason {
    /// Room for the counters: one more than the largest number, a power of two.
    pub const ROOM: usize = 128;
}

numbered! {
    /// The access-log category, with Azure's names. `None` marks what is counted, not logged.
    Category {
        /// Counted only.
        None = 0 "",
        /// Inbound, allowed by an access rule.
        PublicInboundPerimeterRulesAllowed = 1 "NspPublicInboundPerimeterRulesAllowed",
        /// Inbound, denied.
        PublicInboundPerimeterRulesDenied = 2 "NspPublicInboundPerimeterRulesDenied",
        /// Outbound, allowed by an access rule.
        PublicOutboundPerimeterRulesAllowed = 3 "NspPublicOutboundPerimeterRulesAllowed",
        /// Outbound, denied.
        PublicOutboundPerimeterRulesDenied = 4 "NspPublicOutboundPerimeterRulesDenied",
        /// Inbound in transition: the perimeter would deny, the host's own rules got the packet.
        PublicInboundResourceRulesAllowed = 5 "NspPublicInboundResourceRulesAllowed",
        /// Outbound in transition: likewise.
        PublicOutboundResourceRulesAllowed = 6 "NspPublicOutboundResourceRulesAllowed",
        /// Inbound from a member.
        IntraPerimeterInboundAllowed = 7 "NspIntraPerimeterInboundAllowed",
        /// Inbound from a linked perimeter.
        CrossPerimeterInboundAllowed = 8 "NspCrossPerimeterInboundAllowed",
        /// Outbound to a linked perimeter.
        CrossPerimeterOutboundAllowed = 9 "NspCrossPerimeterOutboundAllowed",
        /// Outbound to a member.
        OutboundAttempt = 10 "NspOutboundAttempt",
        /// Inbound from a private peer.
        PrivateInboundAllowed = 11 "NspPrivateInboundAllowed",
    }
}

numbered! {
    /// What became of a DNS answer, or of an address in one.
    Lesson {
        /// An address was learned, or its time prolonged.
        Learned = 0 "learned",
        /// A question to a trusted resolver was sent.
        Asked = 1 "asked",
        /// An answer that comes too late, or together with another one.
        Late = 2 "late answer",
        /// Its question is another, or it came by another link.
        Mismatched = 3 "answer to another question",
        /// It did not fit and was cut off: the agent asks again by itself.
        Truncated = 4 "truncated answer",
        /// It is no message.
        Malformed = 5 "malformed",
        /// It says that there is no such name, or that something failed.
        Negative = 6 "no such name or failure",
        /// A private, special or own address, which no name may stand for.
        Forbidden = 7 "forbidden address",
        /// The name has as many live addresses as it may.
        OverQuota = 8 "over the name's quota",
        /// The address has as many live names as it may, or the table is full.
        NoRoom = 9 "no room",
        /// An answer to no open question about a name of the policy: most are about others.
        Unasked = 10 "answer to no open question",
        /// It came in several segments or fragments, or is too long to be read: the agent asks by itself.
        Segmented = 11 "answer in pieces",
        /// The agent was not told of a name that it should ask for: the ring was full.
        Untold = 12 "agent not told",
        /// An answer about a name that no rule has.
        Unlisted = 13 "answer about a name of no rule",
        /// More addresses or aliases than are followed: the agent asks by itself.
        TooMany = 14 "answer with too many records",
    }
}

impl Category {
    /// The category of a decision, from what it says.
    #[inline(always)]
    pub const fn of(
        class: TrafficClass,
        opener: Direction,
        verdict: Verdict,
        would_deny: bool,
    ) -> Self {
        match (class, opener, verdict) {
            (TrafficClass::Infrastructure, _, Verdict::Pass) => Self::None,
            (TrafficClass::Private, Direction::Inbound, Verdict::Pass) if !would_deny => {
                Self::PrivateInboundAllowed
            }
            (TrafficClass::Private, Direction::Outbound, Verdict::Pass) if !would_deny => {
                Self::None
            }
            (TrafficClass::Intra, Direction::Inbound, Verdict::Pass) => {
                Self::IntraPerimeterInboundAllowed
            }
            (TrafficClass::Intra, Direction::Outbound, Verdict::Pass) => Self::OutboundAttempt,
            (TrafficClass::Cross, Direction::Inbound, Verdict::Pass) => {
                Self::CrossPerimeterInboundAllowed
            }
            (TrafficClass::Cross, Direction::Outbound, Verdict::Pass) => {
                Self::CrossPerimeterOutboundAllowed
            }
            (_, Direction::Inbound, Verdict::Drop) => Self::PublicInboundPerimeterRulesDenied,
            (_, Direction::Outbound, Verdict::Drop) => Self::PublicOutboundPerimeterRulesDenied,
            (_, Direction::Inbound, Verdict::Pass) => {
                if would_deny {
                    Self::PublicInboundResourceRulesAllowed
                } else {
                    Self::PublicInboundPerimeterRulesAllowed
                }
            }
            (_, Direction::Outbound, Verdict::Pass) => {
                if would_deny {
                    Self::PublicOutboundResourceRulesAllowed
                } else {
                    Self::PublicOutboundPerimeterRulesAllowed
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_fit_their_room() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
            assert!((*reason as usize) < Reason::ROOM);
        }
        assert_eq!(Reason::from_number(200), None);
    }

    #[test]
    fn would_deny_is_never_logged_as_a_rule_that_allowed() {
        let category = Category::of(TrafficClass::Public, Direction::Inbound, Verdict::Pass, true);
        assert_eq!(category.name(), "NspPublicInboundResourceRulesAllowed");
    }
}
