//! The endpoints of the cloud that this host runs in: metadata, health probes.

use super::{Decision, Seat, Tables, rules};
use crate::{
    class,
    net::protocol,
    packet::Packet,
    verdict::{Direction, Reason, TrafficClass},
};

const HTTP: u16 = 80;

/// As the profile says, and logged either way. The metadata service hands out credentials, so what
/// denies it denies it on every platform, also where its address would pass as a private one.
#[inline(always)]
pub(super) fn judge<T: Tables>(
    packet: &Packet,
    tables: &T,
    seat: &Seat,
    class_number: u32,
) -> Option<Decision> {
    let is_metadata = packet.key.remote.is_metadata(packet.ip_family());
    if is_metadata
        && (packet.key.protocol != protocol::TCP
            || packet.way() == Direction::Inbound
            || packet.key.remote_port != HTTP)
    {
        return None;
    }
    if seat.metadata_denied {
        return is_metadata
            .then(|| Decision::refuse(Reason::MetadataDenied, TrafficClass::Private, seat));
    }
    if tables.class(class_number).flags & class::flags::PLATFORM == 0
        || rules::is_late_answer(packet)
        || packet.flaw != 0
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
