//! Conversations by the hundred thousand: frames that are changed in place and run, for a packet built
//! anew takes ten times as long as the program. Checksums are then wrong, and no program looks at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsp_common::{address::Address, flow::FlowKey};

use super::{DEVICE, Lab, TC_PASS, XDP_PASS};
use crate::packet::{
    Family, NEAR_MAC, PEER_MAC,
    Party::{Office, Server},
    eth, flag, tcp, udp,
};

/// Clients may come to 5432 by tcp and udp, and this host may go to their 443/tcp and 123/udp.
pub const CROWD: &str = r#"
[perimeter]
name = "lab"
[profile.p.inbound.clients]
address_prefixes = ["198.18.0.0/15", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp"]
[profile.p.outbound.servers]
address_prefixes = ["198.18.0.0/15", "2001:db8:100::/40"]
ports = ["443/tcp", "123/udp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

/// Peers that there are: beyond, the same ones come by other ports.
const PEERS: u32 = 1 << 17;
/// So many when they are to be few.
const PEERS_FEW: u32 = 64;

/// A conversation of the crowd: its number gives the peer and the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    family: Family,
    service: Service,
    number: u32,
    peers: u32,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A client of 5432/tcp.
    Inbound,
    /// A client of 5432/udp.
    InboundUdp,
    /// This host at the peer's 443/tcp.
    Outbound,
    /// This host at the peer's 123/udp.
    OutboundUdp,
}

/// Runs packets of the crowd through the programs.
pub struct Crowd<'a> {
    lab: &'a Lab,
    frames: Frames,
}

/// Makes the frames.
#[derive(Default)]
pub struct Frames(Vec<(Kind, Vec<u8>)>);

/// A frame before its ends are written into it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    family: Family,
    is_udp: bool,
    flags: u8,
    comes: bool,
}

impl Member {
    /// Number `number` of these.
    pub const fn new(family: Family, service: Service, number: u32) -> Self {
        Self { family, service, number, peers: PEERS }
    }

    /// The same number when there are few peers, each with many conversations: then what is counted for
    /// each peer (access records, places) takes no room worth speaking of.
    #[must_use]
    pub const fn of_few(self) -> Self {
        Self { peers: PEERS_FEW, ..self }
    }

    /// The other end's address: in IPv6 each /48 of the prefix has an equal part of them.
    pub fn peer(&self) -> IpAddr {
        let peer = self.number % self.peers;
        let [_, a, b, c] = peer.to_be_bytes();
        match self.family {
            Family::V4 => Ipv4Addr::new(198, 18 + a, b, c).into(),
            Family::V6 => {
                let network = 0x100 | u16::from(c);
                Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, u16::from(a), u16::from(b)).into()
            }
        }
    }

    fn ports(&self) -> (u16, u16) {
        let own = 1024 + (self.number / self.peers) as u16;
        match self.service {
            Service::Inbound | Service::InboundUdp => (own, 5432),
            Service::Outbound => (443, own),
            Service::OutboundUdp => (123, own),
        }
    }

    fn is_udp(&self) -> bool {
        matches!(self.service, Service::InboundUdp | Service::OutboundUdp)
    }

    /// Its key in the tables.
    pub fn key(&self) -> FlowKey {
        let (remote_port, local_port) = self.ports();
        FlowKey {
            remote: Address::from(self.peer()),
            local: Address::from(Server.address(self.family)),
            remote_port,
            local_port,
            scope: 0,
            protocol: if self.is_udp() { 17 } else { 6 },
            family: if self.family == Family::V4 { 4 } else { 6 },
        }
    }
}

impl<'a> Crowd<'a> {
    /// By these programs.
    pub fn new(lab: &'a Lab) -> Self {
        Self { lab, frames: Frames::default() }
    }

    /// A packet from the peer; true when it passes.
    pub fn comes(&mut self, member: Member, flags: u8) -> bool {
        let frame = self.frames.from_peer(member, flags);
        self.lab.datapath.run("nsp_xdp", &frame, DEVICE).expect("it runs") == XDP_PASS
    }

    /// A packet to the peer; true when it passes.
    pub fn goes(&mut self, member: Member, flags: u8) -> bool {
        let frame = self.frames.to_peer(member, flags);
        self.lab.datapath.run("nsp_egress", &frame, DEVICE).expect("it runs") == TC_PASS
    }

    /// Opens a conversation and proves both ends of it.
    ///
    /// # Panics
    /// When a packet of it does not pass.
    pub fn open(&mut self, member: Member) {
        let passed = match member.service {
            Service::Inbound | Service::InboundUdp => {
                self.comes(member, flag::SYN)
                    && self.goes(member, flag::SYN | flag::ACK)
                    && self.comes(member, flag::ACK)
            }
            Service::Outbound | Service::OutboundUdp => {
                self.goes(member, flag::SYN)
                    && self.comes(member, flag::SYN | flag::ACK)
                    && self.goes(member, flag::ACK)
            }
        };
        assert!(passed, "{member:?} is not let through");
    }
}

impl Frames {
    /// The frame of a packet that the peer sends. Flags mean nothing in UDP.
    pub fn from_peer(&mut self, member: Member, flags: u8) -> Vec<u8> {
        self.frame(member, flags, true)
    }

    /// The frame of a packet to the peer.
    pub fn to_peer(&mut self, member: Member, flags: u8) -> Vec<u8> {
        self.frame(member, flags, false)
    }

    fn frame(&mut self, member: Member, flags: u8, comes: bool) -> Vec<u8> {
        let is_udp = member.is_udp();
        let flags = if is_udp { 0 } else { flags };
        let mut frame = self.template(Kind { family: member.family, is_udp, flags, comes });
        let (remote_port, local_port) = member.ports();
        let remote = (member.peer(), remote_port);
        let local = (Server.address(member.family), local_port);
        let (source, destination) = if comes { (remote, local) } else { (local, remote) };
        let mut at = if member.family == Family::V4 { 14 + 12 } else { 14 + 8 };
        for (address, _) in [source, destination] {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            frame[at..at + octets.len()].copy_from_slice(&octets);
            at += octets.len();
        }
        for (_, port) in [source, destination] {
            frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
            at += 2;
        }
        frame
    }

    fn template(&mut self, kind: Kind) -> Vec<u8> {
        if let Some((_, frame)) = self.0.iter().find(|(of, _)| *of == kind) {
            return frame.clone();
        }
        let link = if kind.comes { eth() } else { eth().dst(PEER_MAC).src(NEAR_MAC) };
        let ip = kind.family.ip(Office, Server);
        let frame = if kind.is_udp {
            (link / ip / udp(1, 1) / [0; 12]).bytes()
        } else {
            (link / ip / tcp(1, 1).flags(kind.flags)).bytes()
        };
        self.0.push((kind, frame.clone()));
        frame
    }
}
