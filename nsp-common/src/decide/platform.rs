//! The endpoints of the cloud that this host runs in: metadata, health probes.

use super::{Decision, Seat, Tables, rules};
use crate::{
    class,
    net::protocol,
    packet::Packet,
    verdict::{Direction, Reason, TrafficClass},
};

const DNS: u16 = 53;
const HTTP: u16 = 80;
/// Azure's wire server talks to the agent there.
const WIRE_SERVER: u16 = 32526;

/// As the profile says, and logged either way. The metadata service hands out credentials, so what
/// denies it denies it on every platform, also where its address would pass as a private one.
///
/// An address is no proof, so the endpoints have the ports that they need and no more: the metadata
/// service HTTP, Azure's wire server DNS, HTTP and its own port. From there load balancers probe any
/// port of ours, by TCP, whose handshake goes where this host routes the address.
#[inline(always)]
pub(super) fn judge<T: Tables>(
    packet: &Packet,
    tables: &T,
    seat: &Seat,
    class_number: u32,
) -> Option<Decision> {
    let family = packet.ip_family();
    let is_tcp = packet.key.protocol == protocol::TCP;
    let is_metadata = packet.key.remote.is_metadata(family);
    let asks = matches!(seat.opener, Direction::Outbound);
    let fits = match (asks, packet.key.remote_port) {
        (true, HTTP) => is_tcp,
        (true, WIRE_SERVER) => is_tcp && !is_metadata,
        (true, DNS) => (is_tcp || packet.key.protocol == protocol::UDP) && !is_metadata,
        (true, _) => false,
        (false, _) => is_tcp && !is_metadata,
    };
    if !fits || packet.flaw != 0 {
        return None;
    }
    if seat.metadata_denied {
        let refuses = is_metadata && packet.way() == Direction::Outbound;
        return refuses
            .then(|| Decision::refuse(Reason::MetadataDenied, TrafficClass::Private, seat));
    }
    if tables.class(class_number).flags & class::flags::PLATFORM == 0
        || rules::is_late_answer(packet)
        || packet.way() == Direction::Inbound
            && (asks || !tables.routed_back(&packet.key.remote, family, packet.ifindex))
    {
        return None;
    }
    let mut decision = Decision::pass(Reason::Metadata, TrafficClass::Public, seat.opener);
    decision.association = seat.association;
    decision.mode = seat.mode;
    // The endpoint need not be a trusted peer, so its answers need a conversation.
    decision.flow = rules::opens(packet, &decision);
    Some(decision)
}
