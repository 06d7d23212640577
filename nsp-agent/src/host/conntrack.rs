//! The conversations that the host's own connection tracking knows, where it is loaded: those of
//! containers behind address translation among them, which have no socket here.
//!
//! Read from the kernel by ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).

use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::{AF_INET, AF_INET6};
use rtnetlink::{
    packet_core::{DecodeError, parse_ip, parse_u8},
    sys::protocols::NETLINK_NETFILTER,
};

use super::netlink::{Message, Netlink, NetlinkError, attributes};

const TABLE: &str = "tracked connections";
/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
/// Size of `struct nfgenmsg`.
const FIXED_LEN: usize = 4;
/// `IPS_SEEN_REPLY`.
const SEEN_REPLY: u32 = 1 << 1;

/// `CTA_*`.
mod attribute {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
}

/// `CTA_TUPLE_*`, `CTA_IP_*` and `CTA_PROTO_*`.
mod tuple_attribute {
    pub(super) const IP: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const SOURCE_V4: u16 = 1;
    pub(super) const DESTINATION_V4: u16 = 2;
    pub(super) const SOURCE_V6: u16 = 3;
    pub(super) const DESTINATION_V6: u16 = 4;
    pub(super) const NUMBER: u16 = 1;
    pub(super) const SOURCE_PORT: u16 = 2;
    pub(super) const DESTINATION_PORT: u16 = 3;
}

/// One direction of a conversation, as its packets are on the wire where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// From.
    pub source: SocketAddr,
    /// To.
    pub destination: SocketAddr,
}

/// A tracked conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Transport protocol.
    pub protocol: u8,
    /// Of its first packet, before any translation.
    pub original: Tuple,
    /// Of the answers, before they are translated back.
    pub reply: Tuple,
    /// Whether there was an answer.
    pub replied: bool,
}

/// Reads the tracked conversations with ports of this thread's network namespace.
///
/// # Errors
///
/// When the kernel has no connection tracking, or says what cannot be read.
pub async fn read() -> Result<Vec<Tracked>, NetlinkError> {
    let netlink = Netlink::open(NETLINK_NETFILTER, TABLE)?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let request = Message { kind: GET, payload: vec![family, 0, 0, 0] };
        for message in netlink.dump(TABLE, &request).await? {
            let tracked = tracked(&message.payload);
            found.extend(tracked.map_err(|source| NetlinkError::Decode { table: TABLE, source })?);
        }
    }
    Ok(found)
}

/// One entry; `None` when it has no ports.
fn tracked(payload: &[u8]) -> Result<Option<Tracked>, DecodeError> {
    let (mut original, mut reply, mut status) = (None, None, 0);
    for attribute in attributes(payload, FIXED_LEN) {
        match attribute? {
            (attribute::ORIGINAL, value) => original = tuple(value)?,
            (attribute::REPLY, value) => reply = tuple(value)?,
            (attribute::STATUS, value) => {
                status = u32::from_be_bytes(value.try_into().map_err(|_| "four bytes of status")?);
            }
            _ => {}
        }
    }
    let (Some((protocol, original)), Some((_, reply))) = (original, reply) else {
        return Ok(None);
    };
    Ok(Some(Tracked { protocol, original, reply, replied: status & SEEN_REPLY != 0 }))
}

fn tuple(value: &[u8]) -> Result<Option<(u8, Tuple)>, DecodeError> {
    let (mut source, mut destination) = (None::<IpAddr>, None::<IpAddr>);
    let (mut protocol, mut from, mut to) = (0, None, None);
    for attribute in attributes(value, 0) {
        match attribute? {
            (tuple_attribute::IP, value) => {
                for address in attributes(value, 0) {
                    match address? {
                        (tuple_attribute::SOURCE_V4 | tuple_attribute::SOURCE_V6, value) => {
                            source = Some(parse_ip(value)?);
                        }
                        (
                            tuple_attribute::DESTINATION_V4 | tuple_attribute::DESTINATION_V6,
                            value,
                        ) => destination = Some(parse_ip(value)?),
                        _ => {}
                    }
                }
            }
            (tuple_attribute::PROTOCOL, value) => {
                for part in attributes(value, 0) {
                    match part? {
                        (tuple_attribute::NUMBER, value) => protocol = parse_u8(value)?,
                        (tuple_attribute::SOURCE_PORT, value) => from = Some(port(value)?),
                        (tuple_attribute::DESTINATION_PORT, value) => {
                            to = Some(port(value)?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (Some(source), Some(destination), Some(from), Some(to)) = (source, destination, from, to)
    else {
        return Ok(None);
    };
    let tuple = Tuple {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    Ok(Some((protocol, tuple)))
}

fn port(value: &[u8]) -> Result<u16, DecodeError> {
    Ok(u16::from_be_bytes(value.try_into().map_err(|_| "two bytes of a port")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        attribute(kind | 1 << 15, &parts.concat())
    }

    fn side(kind: u16, source: [u8; 4], from: u16, destination: [u8; 4], to: u16) -> Vec<u8> {
        let ip = nested(1, &[attribute(1, &source), attribute(2, &destination)]);
        let ports = [attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())];
        let protocol = nested(2, &[attribute(1, &[6]), ports.concat()]);
        nested(kind, &[ip, protocol])
    }

    #[test]
    fn published_connection_has_both_its_tuples() {
        let bytes = [
            vec![2, 0, 0, 0],
            side(1, [198, 51, 100, 7], 40000, [192, 0, 2, 1], 8080),
            side(2, [172, 17, 0, 2], 80, [198, 51, 100, 7], 40000),
            attribute(3, &0x18e_u32.to_be_bytes()),
            attribute(99, b"of a newer kernel"),
        ];
        let found = tracked(&bytes.concat()).unwrap().unwrap();
        assert_eq!((found.protocol, found.replied), (6, true));
        assert_eq!(found.original.source, "198.51.100.7:40000".parse().unwrap());
        assert_eq!(found.original.destination, "192.0.2.1:8080".parse().unwrap());
        assert_eq!(found.reply.source, "172.17.0.2:80".parse().unwrap());
    }

    #[test]
    fn entry_without_ports_is_passed_over_and_a_broken_one_refused() {
        let icmp = nested(1, &[nested(2, &[attribute(1, &[1])])]);
        assert_eq!(tracked(&[vec![2, 0, 0, 0], icmp].concat()).unwrap(), None);
        assert!(tracked(&[2, 0, 0, 0, 200, 0, 1, 0]).is_err());
    }
}
