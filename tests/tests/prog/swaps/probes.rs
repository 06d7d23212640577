//! The packets of the flood.

use nsp_common::verdict::{
    Direction::{self, Inbound, Outbound},
    Verdict,
};
use nsp_tests::{
    packet::{
        BOTH,
        Family::{self, V4},
        Packet,
        dns::{self, A, AAAA},
        eth, tcp, udp,
    },
    prog::Frame,
};

use super::policies::{
    BANK, GUEST, MEMBER, MIRROR, NAMES, NEAR_BANK, OFFICE, OWN, RESOLVER, SECOND, SHOP, SPLIT,
    STEADY, STRANGER, VISITOR,
};

/// Addresses in both families.
type Ends = (&'static str, &'static str);

/// A second host beside each of these, whose conversations are open all the time: what it is told in is
/// no record of those who only knock.
const NEAR_OFFICE: Ends = ("203.0.113.6", "2001:db8:100::6");
const NEAR_GUEST: Ends = ("198.51.100.11", "2001:db8:a::11");
const NEAR_VISITOR: Ends = ("198.51.100.21", "2001:db8:b::21");
const NEAR_MIRROR: Ends = ("198.51.100.201", "2001:db8:6::201");

/// What a policy is to say of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes by the rule of this name.
    By(&'static str),
    /// It passes without a rule.
    Passes,
    /// It does not pass.
    Drops,
}
use Fate::{By, Drops, Passes};

/// What the first policy is to say, and the second.
type Fates = [Fate; 2];

const BY_OFFICE: Fates = [By("first-office"), By("second-office")];
const BY_MIRROR: Fates = [By("first-mirror"), By("second-mirror")];
const BY_NAMES: Fates = [By("first-names"), By("second-names")];
const BY_GUEST: Fates = [By("first-guest"), Drops];
const BY_VISITOR: Fates = [Drops, By("second-visitor")];
const BY_NOBODY: Fates = [Drops, Drops];

/// A packet of the flood.
#[derive(Clone)]
pub(super) struct Probe {
    /// What it is.
    pub(super) name: String,
    /// Ready to be judged.
    pub(super) frame: Frame,
    /// What is to become of it.
    pub(super) fates: Fates,
    /// It belongs to no conversation: the policy alone judges it.
    pub(super) is_fresh: bool,
}

impl Fate {
    /// Whether a packet goes on.
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            By(_) | Passes => Verdict::Pass,
            Drops => Verdict::Drop,
        }
    }
}

/// All of them, of both families.
pub(super) fn all() -> Vec<Probe> {
    let of = |family: &Family| [knocks(*family), calls(*family), strangers(*family)].concat();
    let others = conversations().into_iter().flat_map(|conversation| conversation.packets());
    BOTH.iter().flat_map(of).chain(others).collect()
}

/// What opens the conversations that [`all`] has packets of, where the policy in force allows it.
pub(super) fn handshakes() -> Vec<Frame> {
    conversations().iter().flat_map(Conversation::handshake).collect()
}

/// Datagrams from a port of who is always admitted, and of who is by the first policy alone.
pub(super) fn datagrams(port: u16) -> Vec<Frame> {
    let of = |family: &Family| {
        let family = *family;
        [NEAR_OFFICE, NEAR_GUEST].map(|peer| frame(family.ip(peer, OWN) / udp(port, 5432), Inbound))
    };
    BOTH.iter().flat_map(of).collect()
}

fn frame(packet: impl Into<Packet>, direction: Direction) -> Frame {
    Frame::new(&(eth() / packet.into()), direction)
}

fn fresh(family: Family, packet: Packet, direction: Direction, (what, fates): Told) -> Probe {
    let name = format!("{what}, {family:?} {direction:?}");
    Probe { name, frame: frame(packet, direction), fates, is_fresh: true }
}

/// A packet in words, and what is to become of it.
type Told = (&'static str, Fates);

/// What others open.
fn knocks(family: Family) -> Vec<Probe> {
    let syn = |from: Ends, to: Ends, port| family.ip(from, to) / tcp(40_000, port).syn();
    [
        (OFFICE, OWN, 5432, ("office to the database", BY_OFFICE)),
        (GUEST, OWN, 5432, ("guest to the database", BY_GUEST)),
        (VISITOR, OWN, 5432, ("visitor to the database", BY_VISITOR)),
        (STRANGER, OWN, 5432, ("stranger to the database", BY_NOBODY)),
        (SPLIT, OWN, 5432, ("split to one port", [By("first-split"), Drops])),
        (SPLIT, OWN, 5433, ("split to the other", [Drops, By("second-split")])),
        (STEADY, OWN, 22, ("steady", [By("steady"); 2])),
        (STEADY, OWN, 23, ("steady elsewhere", BY_NOBODY)),
        (OFFICE, OWN, 6000, ("office to the service", BY_OFFICE)),
        (OFFICE, OWN, 7000, ("office to the listener", BY_OFFICE)),
        (STRANGER, OWN, 7100, ("stranger to the trial", [Passes, Drops])),
        (MEMBER, OWN, 22, ("member", [Passes, Drops])),
        (OFFICE, SECOND, 8080, ("office to the address", [By("first-archive"), By("second-zone")])),
        (OFFICE, SECOND, 9000, ("office to its files", [By("first-archive"), By("second-zone")])),
        (STRANGER, SECOND, 8080, ("stranger to the address", BY_NOBODY)),
    ]
    .map(|(from, to, port, told)| fresh(family, syn(from, to, port), Inbound, told))
    .into()
}

/// Of nobody who is admitted; but did they pass once, more would.
fn strangers(family: Family) -> Vec<Probe> {
    let ip = || family.ip(STRANGER, OWN);
    [
        (ip() / family.echo_request(7, 1), ("stranger's ping", BY_NOBODY)),
        (ip() / udp(40_000, 5432), ("stranger's datagram", BY_NOBODY)),
    ]
    .map(|(packet, told)| Probe { is_fresh: false, ..fresh(family, packet, Inbound, told) })
    .into()
}

/// What this host opens and asks.
fn calls(family: Family) -> Vec<Probe> {
    let syn = |to: Ends| family.ip(OWN, to) / tcp(50_000, 443).syn();
    let kind = if family == V4 { A } else { AAAA };
    let question = |id: u16, name: &str| {
        family.ip(OWN, RESOLVER) / udp(50_000 + id, 53) / dns::query(id, name, kind)
    };
    let [first, second, bank] = NAMES;
    [
        (syn(MIRROR), ("to the mirror", BY_MIRROR)),
        (syn(GUEST), ("to the guest", BY_GUEST)),
        (syn(VISITOR), ("to the visitor", BY_VISITOR)),
        (syn(SHOP), ("to the shop, by its names", BY_NAMES)),
        (syn(BANK), ("to the bank, by its name", BY_NAMES)),
        (syn(STRANGER), ("to a stranger", BY_NOBODY)),
        (question(1, first), ("asks for the first's name", [Passes, Drops])),
        (question(2, second), ("asks for the second's name", [Drops, Passes])),
        (question(3, bank), ("asks for the name of both", [Passes, Passes])),
        (question(4, "nobody.example.com"), ("asks for nobody's name", BY_NOBODY)),
    ]
    .map(|(packet, told)| fresh(family, packet, Outbound, told))
    .into()
}

/// How a conversation is held.
#[derive(Clone, Copy, Debug)]
enum Means {
    Tcp(u16),
    Udp(u16),
    Ping,
}

/// One that is open all the time.
#[derive(Clone, Copy, Debug)]
struct Conversation {
    family: Family,
    peer: Ends,
    opener: Direction,
    by: Means,
    fates: Fates,
}

fn conversations() -> Vec<Conversation> {
    let stories = [
        (NEAR_OFFICE, Inbound, Means::Tcp(5432), BY_OFFICE),
        // Its resource is another in each policy.
        (NEAR_OFFICE, Inbound, Means::Tcp(6000), BY_OFFICE),
        (NEAR_OFFICE, Inbound, Means::Udp(5432), BY_OFFICE),
        (NEAR_OFFICE, Inbound, Means::Ping, BY_OFFICE),
        (NEAR_MIRROR, Outbound, Means::Tcp(443), BY_MIRROR),
        (NEAR_MIRROR, Outbound, Means::Udp(123), BY_MIRROR),
        (NEAR_MIRROR, Outbound, Means::Ping, BY_MIRROR),
        (NEAR_BANK, Outbound, Means::Tcp(443), BY_NAMES),
        // One policy revokes these, the other revives them.
        (NEAR_GUEST, Inbound, Means::Tcp(5432), BY_GUEST),
        (NEAR_GUEST, Inbound, Means::Udp(5432), BY_GUEST),
        (NEAR_GUEST, Outbound, Means::Tcp(443), BY_GUEST),
        (NEAR_VISITOR, Inbound, Means::Tcp(5432), BY_VISITOR),
        (NEAR_VISITOR, Outbound, Means::Udp(123), BY_VISITOR),
    ];
    let of = |family: &Family| {
        let family = *family;
        let of_story = |(peer, opener, by, fates)| Conversation { family, peer, opener, by, fates };
        stories.map(of_story)
    };
    BOTH.iter().flat_map(of).collect()
}

impl Conversation {
    /// A packet of the side that asked, or of the other.
    fn frame(&self, asks: bool, packet: impl Into<Packet>) -> Frame {
        let direction = if asks { self.opener } else { self.opener.reverse() };
        let ip = match direction {
            Inbound => self.family.ip(self.peer, OWN),
            Outbound => self.family.ip(OWN, self.peer),
        };
        frame(Packet::from(ip) / packet.into(), direction)
    }

    fn handshake(&self) -> Vec<Frame> {
        let [request, answer] = self.exchange();
        match self.by {
            Means::Tcp(port) => vec![
                self.frame(true, tcp(40_001, port).syn()),
                self.frame(false, tcp(port, 40_001).syn_ack()),
                request,
            ],
            Means::Udp(_) | Means::Ping => vec![request.clone(), answer, request],
        }
    }

    /// A packet each way, once it is open.
    fn exchange(&self) -> [Frame; 2] {
        match self.by {
            Means::Tcp(port) => [
                self.frame(true, tcp(40_001, port).ack()),
                self.frame(false, tcp(port, 40_001).ack()),
            ],
            Means::Udp(port) => {
                [self.frame(true, udp(40_001, port)), self.frame(false, udp(port, 40_001))]
            }
            Means::Ping => [
                self.frame(true, self.family.echo_request(9, 1)),
                self.frame(false, self.family.echo_reply(9, 1)),
            ],
        }
    }

    fn packets(&self) -> Vec<Probe> {
        let Self { family, peer, opener, by, fates } = self;
        let named = |(what, frame)| Probe {
            name: format!("{what} with {} by {by:?}, {family:?}, opened {opener:?}", peer.0),
            frame,
            fates: *fates,
            is_fresh: false,
        };
        ["request", "answer"].into_iter().zip(self.exchange()).map(named).collect()
    }
}
