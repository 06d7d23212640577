//! Packets that tell the two policies apart.

use std::fmt;

use nsp_tests::packet::{Family, Packet, eth, tcp, udp};

use super::texts::{
    BANK, Ends, GUEST, MEMBER, MIRROR, OFFICE, OWN, SECOND, SPLIT, STRANGER, VAULT, VISITOR,
};

/// Whether the first lets a packet pass, and the second.
type Fates = [bool; 2];
const FIRST: Fates = [true, false];
const SECOND_ALONE: Fates = [false, true];
const ALWAYS: Fates = [true, true];
const NEVER: Fates = [false, false];

/// What the network makes of packets of the server and for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// A packet, from a port that it has to itself.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    pub(super) way: Way,
    pub(super) from: Ends,
    pub(super) to: Ends,
    pub(super) is_tcp: bool,
    pub(super) port: u16,
    pub(super) fates: Fates,
}

const fn inbound(from: Ends, to: Ends, is_tcp: bool, port: u16, fates: Fates) -> Probe {
    Probe { way: Way::In, from, to, is_tcp, port, fates }
}

const fn outbound(to: Ends, is_tcp: bool, port: u16, fates: Fates) -> Probe {
    Probe { way: Way::Out, from: OWN, to, is_tcp, port, fates }
}

pub(super) const PROBES: [Probe; 26] = [
    inbound(GUEST, OWN, true, 5432, FIRST),
    inbound(GUEST, OWN, false, 5432, FIRST),
    inbound(VISITOR, OWN, true, 5432, SECOND_ALONE),
    inbound(VISITOR, OWN, false, 5432, SECOND_ALONE),
    inbound(STRANGER, OWN, true, 5432, NEVER),
    inbound(STRANGER, OWN, false, 5432, NEVER),
    inbound(SPLIT, OWN, true, 5432, FIRST),
    inbound(SPLIT, OWN, true, 5433, SECOND_ALONE),
    inbound(MEMBER, OWN, true, 5432, FIRST),
    inbound(STRANGER, OWN, true, 7100, FIRST),
    inbound(GUEST, SECOND, true, 8080, FIRST),
    inbound(VISITOR, SECOND, true, 8080, SECOND_ALONE),
    inbound(STRANGER, SECOND, true, 8080, NEVER),
    inbound(OFFICE, SECOND, true, 8080, ALWAYS),
    // The last of each kind passes always: what was sent before it and has not come by then was dropped.
    inbound(OFFICE, OWN, true, 5432, ALWAYS),
    inbound(OFFICE, OWN, false, 5432, ALWAYS),
    outbound(MIRROR, true, 443, ALWAYS),
    outbound(MIRROR, false, 123, ALWAYS),
    outbound(GUEST, true, 443, FIRST),
    outbound(GUEST, false, 123, FIRST),
    outbound(VISITOR, true, 443, SECOND_ALONE),
    outbound(VISITOR, false, 123, SECOND_ALONE),
    outbound(STRANGER, true, 443, NEVER),
    outbound(VAULT, true, 443, FIRST),
    outbound(VAULT, true, 8443, SECOND_ALONE),
    outbound(BANK, true, 443, ALWAYS),
];

impl Probe {
    pub(super) fn packet(&self, family: Family, source: u16) -> Packet {
        let ip = family.ip(self.from, self.to);
        if self.is_tcp {
            eth() / ip / tcp(source, self.port).syn()
        } else {
            eth() / ip / udp(source, self.port) / "anybody there?"
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, from, to: there, is_tcp, port, .. } = self;
        let kind = if *is_tcp { "tcp" } else { "udp" };
        write!(to, "{way:?} {} to {} {port}/{kind}", from.0, there.0)
    }
}
