//! IGMP. Its datagrams have hop limit 1 and the router alert option `[0x94, 4, 0, 0]`.

use std::net::Ipv4Addr;

use super::{
    checksum::internet_checksum,
    layer::{Around, Layer, Literal, stackable},
};

/// The IPv4 router alert option.
pub const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// An IGMPv2 message.
#[derive(Clone, Debug)]
pub struct Igmp {
    kind: u8,
    group: Ipv4Addr,
}

/// "Who listens to `group`?" 0.0.0.0 asks about all.
pub fn query(group: impl Literal<Ipv4Addr>) -> Igmp {
    Igmp { kind: 0x11, group: group.value() }
}

/// "I listen to `group`."
pub fn report(group: impl Literal<Ipv4Addr>) -> Igmp {
    Igmp { kind: 0x16, group: group.value() }
}

/// "I leave `group`."
pub fn leave(group: impl Literal<Ipv4Addr>) -> Igmp {
    Igmp { kind: 0x17, group: group.value() }
}

impl Layer for Igmp {
    fn name(&self) -> &'static str {
        "igmp"
    }

    fn protocol(&self) -> Option<u8> {
        Some(2)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        let mut bytes = [&[self.kind, 0, 0, 0][..], &self.group.octets(), &inner].concat();
        let checksum = internet_checksum(&[&bytes]);
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

stackable!(Igmp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv4;

    #[test]
    fn report_follows_a_router_alert() {
        let options = ipv4("192.0.2.1", "224.0.0.251").hop_limit(1).options(&ROUTER_ALERT);
        let bytes = (options / report("224.0.0.251")).bytes();
        assert_eq!((bytes[0], bytes[9], bytes.len()), (0x46, 2, 32));
        assert_eq!(bytes[24..], [0x16, 0, 0x09, 0x04, 0xe0, 0, 0, 0xfb]);
    }
}
