//! The programs' ways in, and how a packet looks that takes one of them.

use std::os::fd::{AsFd as _, OwnedFd};

use nsp_agent::datapath::Datapath;
use nsp_common::{
    flow::FlowKey,
    net::eth::LinkHeader,
    packet::{Packet, flags},
    verdict::{Direction, Verdict},
};

use super::{
    case::{TC_DROP, TC_PASS, XDP_DROP, XDP_PASS},
    lab::DEVICE,
};
use crate::raw;

/// One of the programs that judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// XDP.
    Xdp,
    /// TC ingress.
    Ingress,
    /// TC ingress of a device without link headers.
    IngressBare,
    /// TC egress.
    Egress,
    /// TC egress, of what came in by another device.
    Forwarded,
    /// TC egress of a device without link headers.
    EgressBare,
}

impl Entry {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Xdp,
        Self::Ingress,
        Self::IngressBare,
        Self::Egress,
        Self::Forwarded,
        Self::EgressBare,
    ];

    /// Which way its packets go.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Xdp | Self::Ingress | Self::IngressBare => Direction::Inbound,
            Self::Egress | Self::Forwarded | Self::EgressBare => Direction::Outbound,
        }
    }

    /// Whether its packets begin with an Ethernet header.
    pub const fn link(self) -> LinkHeader {
        match self {
            Self::IngressBare | Self::EgressBare => LinkHeader::None,
            _ => LinkHeader::Ethernet,
        }
    }

    /// The program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Xdp => "nsp_xdp",
            Self::Ingress => "nsp_ingress",
            Self::IngressBare => "nsp_ingress_bare",
            Self::Egress | Self::Forwarded => "nsp_egress",
            Self::EgressBare => "nsp_egress_bare",
        }
    }

    /// What the parser makes of bytes that come by this entry.
    pub fn parsed(self, bytes: &[u8]) -> Packet {
        let direction = self.direction() as u8;
        let mut packet = Packet { ifindex: DEVICE, direction, ..Packet::EMPTY };
        if self != Self::Xdp {
            packet.flags |= flags::LENGTH_FROM_BUFFER;
        }
        if self == Self::Forwarded {
            packet.flags |= flags::FORWARDED;
        }
        if self.link() == LinkHeader::None {
            packet.key.scope = FlowKey::scope_of(DEVICE);
        }
        packet.parse(bytes, self.link());
        packet
    }

    fn context(self, length: usize) -> Vec<u8> {
        if self == Self::Xdp {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress.
            let words = [0, length as u32, 0, DEVICE, 0, 0];
            return words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        }
        // struct __sk_buff: ingress_ifindex at offset 36, ifindex at 40.
        let mut context = vec![0; 192];
        if self == Self::Forwarded {
            context[36..40].copy_from_slice(&(DEVICE + 1).to_ne_bytes());
        }
        context[40..44].copy_from_slice(&DEVICE.to_ne_bytes());
        context
    }
}

/// The programs by their descriptors.
#[derive(Debug)]
pub struct Entries(Vec<(Entry, OwnedFd)>);

impl Entries {
    /// Those of a datapath.
    ///
    /// # Panics
    /// When there is no descriptor left.
    pub fn of(datapath: &Datapath) -> Self {
        let program = |entry: Entry| datapath.descriptor(entry.program()).expect("a descriptor");
        Self(Entry::ALL.map(|entry| (entry, program(entry))).into())
    }

    /// Has a packet judged for real; `None` where the kernel runs nothing on so few bytes.
    ///
    /// # Panics
    /// When the program answers neither pass nor drop.
    pub fn judge(&self, entry: Entry, bytes: &[u8]) -> Option<Verdict> {
        let (_, program) = self.0.iter().find(|(it, _)| *it == entry).expect("all are there");
        let (pass, drop) =
            if entry == Entry::Xdp { (XDP_PASS, XDP_DROP) } else { (TC_PASS, TC_DROP) };
        match raw::test_run(program.as_fd(), bytes, &entry.context(bytes.len())) {
            Ok(code) if code == pass => Some(Verdict::Pass),
            Ok(code) if code == drop => Some(Verdict::Drop),
            Ok(other) => panic!("{entry:?} answers {other}"),
            Err(_) => None,
        }
    }
}
