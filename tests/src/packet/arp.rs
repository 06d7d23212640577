//! ARP, and RARP by its ethertype.

use std::net::Ipv4Addr;

use super::{
    eth::{Mac, PEER_MAC},
    layer::{Around, Layer, LinkType, Literal, stackable},
};

/// An ARP message; see [`arp_request`] and [`arp_reply`].
#[derive(Clone, Debug)]
pub struct Arp {
    ethertype: u16,
    operation: u16,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
}

/// "Who has `target`? Tell `sender`."
pub fn arp_request(sender: impl Literal<Ipv4Addr>, target: impl Literal<Ipv4Addr>) -> Arp {
    Arp {
        ethertype: 0x0806,
        operation: 1,
        sender: (PEER_MAC, sender.value()),
        target: ([0; 6], target.value()),
    }
}

/// "`sender` is at its hardware address", told to `target`.
pub fn arp_reply(sender: impl Literal<Ipv4Addr>, target: impl Literal<Ipv4Addr>) -> Arp {
    Arp { operation: 2, ..arp_request(sender, target) }
}

impl Arp {
    /// The hardware address of the sender.
    #[must_use]
    pub fn sender_mac(mut self, mac: Mac) -> Self {
        self.sender.0 = mac;
        self
    }

    /// The hardware address of the target.
    #[must_use]
    pub fn target_mac(mut self, mac: Mac) -> Self {
        self.target.0 = mac;
        self
    }

    /// The same message as RARP (0x8035), with its operations 3 and 4.
    #[must_use]
    pub fn reverse(self) -> Self {
        Self { ethertype: 0x8035, operation: self.operation + 2, ..self }
    }
}

impl Layer for Arp {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn link_type(&self) -> Option<LinkType> {
        Some(LinkType::Ethertype(self.ethertype))
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0x08, 0x00, 6, 4];
        bytes.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            bytes.extend(mac);
            bytes.extend(address.octets());
        }
        bytes.extend(inner);
        bytes
    }
}

stackable!(Arp);
