//! One packet as the decision sees it; the parsers of [`crate::net`] fill it in.

use crate::{
    address::{Address, Family},
    flow_key::FlowKey,
    net::protocol::{self, tcp},
    verdict::Direction,
};

/// Bits of [`Packet::flags`].
pub mod flags {
    /// Source and destination could be read.
    pub const ADDRESSED: u16 = 1 << 0;
    /// Source and destination port are those of TCP, UDP or SCTP.
    pub const PORTS: u16 = 1 << 1;
    /// The fields of the flow key are known.
    pub const KEYED: u16 = 1 << 2;
    /// The first of several fragments.
    pub const FIRST_FRAGMENT: u16 = 1 << 3;
    /// A later fragment: nothing behind the IP header can be read.
    pub const LATER_FRAGMENT: u16 = 1 << 4;
    /// An ICMP error.
    pub const ICMP_ERROR: u16 = 1 << 5;
    /// [`super::Packet::inner`] holds the packet inside an ICMP error.
    pub const INNER: u16 = 1 << 6;
    /// A packet-too-big with an impossible MTU.
    pub const BAD_MTU: u16 = 1 << 7;
    /// The length comes from the socket buffer; a length field of zero is our own BIG TCP.
    pub const LENGTH_FROM_BUFFER: u16 = 1 << 8;
    /// At egress: the packet came in by another device.
    pub const FORWARDED: u16 = 1 << 9;
    /// No packet yet: a program asks the kernel for a way to a peer. By which device it would leave is
    /// not known.
    pub const CALL: u16 = 1 << 10;
}

/// One packet. Plain integers, so that the kernel programs can hold it in a map's memory, where the
/// verifier forgets how each field came about and does not walk every way twice. Addresses and ports
/// are stored by end, not by way, so that the key of the flow tables lies ready in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// The conversation it belongs to. Meaningful as such when it is [`flags::KEYED`].
    pub key: FlowKey,
    /// The conversation that an ICMP error is about, when it is [`flags::INNER`].
    pub inner: FlowKey,
    /// Length in bytes, counted in the records: of the frame, or of the socket buffer. Of a frame in pieces
    /// at XDP that is refused before its header's length was looked at, the first piece.
    pub length: u32,
    /// The device it came in by or goes out by.
    pub ifindex: u32,
    /// Identification of a fragmented datagram.
    pub fragment_id: u32,
    /// Where the payload of UDP or TCP begins in the frame; zero when it is something else.
    pub payload: u32,
    /// Sequence number of TCP.
    pub sequence: u32,
    /// Bits of [`flags`].
    pub flags: u16,
    /// TCP flags.
    pub tcp_flags: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// [`Direction`] as a number.
    pub direction: u8,
    /// [`crate::verdict::Reason`] why it is malformed, as a number; zero when it is not.
    pub flaw: u8,
    /// Where the datagram ends in the frame, when [`Packet::payload`] is known; what is behind it pads.
    pub end: u32,
}

crate::shared!(Packet, 112);

impl Packet {
    /// A packet of which nothing is known.
    pub const EMPTY: Self = Self {
        key: FlowKey::EMPTY,
        inner: FlowKey::EMPTY,
        length: 0,
        ifindex: 0,
        fragment_id: 0,
        payload: 0,
        sequence: 0,
        flags: 0,
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
        hop_limit: 0,
        direction: 0,
        flaw: 0,
        end: 0,
    };

    /// Empties it, but for what an ICMP error is about, which is read when its flag is set and not before.
    #[inline(always)]
    pub const fn clear(&mut self) {
        let Self {
            key,
            inner: _,
            length,
            ifindex,
            fragment_id,
            payload,
            sequence,
            flags,
            tcp_flags,
            icmp_type,
            icmp_code,
            hop_limit,
            direction,
            flaw,
            end,
        } = self;
        *key = FlowKey::EMPTY;
        (*length, *ifindex, *fragment_id, *payload, *sequence, *end) = (0, 0, 0, 0, 0, 0);
        (*flags, *tcp_flags, *icmp_type, *icmp_code) = (0, 0, 0, 0);
        (*hop_limit, *direction, *flaw) = (0, 0, 0);
    }

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag == flag
    }

    /// Whether a header was not there to be read, as far as that can be told: a flaw may be of that or of
    /// the packet, and so may an ICMP error be that says of nothing what it is about.
    #[inline(always)]
    pub const fn lacks_something(&self) -> bool {
        self.flaw != 0 || self.has(flags::ICMP_ERROR) && !self.has(flags::INNER)
    }

    /// IPv4 or IPv6.
    #[inline(always)]
    pub const fn ip_family(&self) -> Family {
        if self.key.family == Family::V6 as u8 { Family::V6 } else { Family::V4 }
    }

    /// Which way it goes.
    #[inline(always)]
    pub const fn way(&self) -> Direction {
        if self.direction == Direction::Outbound as u8 {
            Direction::Outbound
        } else {
            Direction::Inbound
        }
    }

    /// Stores the addresses of the IP header by end.
    #[inline(always)]
    pub(crate) const fn set_addresses(&mut self, source: Address, destination: Address) {
        (self.key.remote, self.key.local) = self.by_end(source, destination);
        self.flags |= flags::ADDRESSED;
    }

    /// Stores the ports of the transport header by end, in host order.
    #[inline(always)]
    pub(crate) const fn set_ports(&mut self, source: u16, destination: u16) {
        (self.key.remote_port, self.key.local_port) = match self.way() {
            Direction::Inbound => (source, destination),
            Direction::Outbound => (destination, source),
        };
        self.flags |= flags::KEYED;
    }

    /// Stores the packet inside an ICMP error. It went the other way than the error: it was ours
    /// when the error comes in, the peer's when the error goes out.
    #[inline(always)]
    pub(crate) const fn set_inner(&mut self, source: Address, destination: Address) {
        // What is not read further on is zero, whatever packet was here before.
        self.inner = FlowKey::EMPTY;
        (self.inner.local, self.inner.remote) = self.by_end(source, destination);
        (self.inner.family, self.inner.scope) = (self.key.family, self.key.scope);
    }

    /// Likewise its ports.
    #[inline(always)]
    pub(crate) const fn set_inner_ports(&mut self, source: u16, destination: u16) {
        (self.inner.local_port, self.inner.remote_port) = match self.way() {
            Direction::Inbound => (source, destination),
            Direction::Outbound => (destination, source),
        };
    }

    #[inline(always)]
    const fn by_end(&self, source: Address, destination: Address) -> (Address, Address) {
        match self.way() {
            Direction::Inbound => (source, destination),
            Direction::Outbound => (destination, source),
        }
    }

    /// Source address of the IP header.
    #[inline(always)]
    pub const fn source(&self) -> &Address {
        match self.way() {
            Direction::Inbound => &self.key.remote,
            Direction::Outbound => &self.key.local,
        }
    }

    /// Destination address of the IP header.
    #[inline(always)]
    pub const fn destination(&self) -> &Address {
        match self.way() {
            Direction::Inbound => &self.key.local,
            Direction::Outbound => &self.key.remote,
        }
    }

    /// Source port of the transport header.
    #[inline(always)]
    pub const fn source_port(&self) -> u16 {
        match self.way() {
            Direction::Inbound => self.key.remote_port,
            Direction::Outbound => self.key.local_port,
        }
    }

    /// Destination port of the transport header.
    #[inline(always)]
    pub const fn destination_port(&self) -> u16 {
        match self.way() {
            Direction::Inbound => self.key.local_port,
            Direction::Outbound => self.key.remote_port,
        }
    }

    /// Whether the packet inside an ICMP error was sent by the address the error goes to.
    #[inline(always)]
    pub fn inner_was_sent_by_destination(&self) -> bool {
        match self.way() {
            Direction::Inbound => self.inner.local.octets == self.key.local.octets,
            Direction::Outbound => self.inner.remote.octets == self.key.remote.octets,
        }
    }

    /// A TCP segment that asks to open a conversation: SYN alone (ECN bits aside).
    #[inline(always)]
    pub const fn is_bare_syn(&self) -> bool {
        self.is_tcp() && self.tcp_flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN
    }

    /// A TCP segment that answers one that asks.
    #[inline(always)]
    pub const fn is_syn_ack(&self) -> bool {
        self.is_tcp() && self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK
    }

    /// TCP flags that no conversation has: SYN with FIN or RST, or none of SYN, ACK and RST.
    #[inline(always)]
    pub const fn has_bad_tcp_flags(&self) -> bool {
        let flags = self.tcp_flags;
        self.is_tcp()
            && ((flags & tcp::SYN != 0 && flags & (tcp::FIN | tcp::RST) != 0)
                || flags & (tcp::SYN | tcp::ACK | tcp::RST) == 0)
    }

    /// A TCP segment whose flags could be read.
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.key.protocol == protocol::TCP && self.has(flags::PORTS)
    }
}
