//! Protocol numbers that the decision knows by name (IANA), and TCP's flags.

use network_types::ip::IpProto;

/// ICMP.
pub const ICMP: u8 = IpProto::Icmp as u8;
/// IGMP.
pub const IGMP: u8 = IpProto::Igmp as u8;
/// TCP.
pub const TCP: u8 = IpProto::Tcp as u8;
/// UDP.
pub const UDP: u8 = IpProto::Udp as u8;
/// ICMPv6.
pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
/// SCTP.
pub const SCTP: u8 = IpProto::Sctp as u8;

/// TCP flag bits (RFC 9293).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Acknowledgement.
    pub const ACK: u8 = 0x10;
}
