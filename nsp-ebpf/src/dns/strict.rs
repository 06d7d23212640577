//! Strict DNS: names that no outbound rule of the asker's profile has are not asked for, and nothing is
//! asked by TCP. A question is a way out for data, also to a resolver that is trusted.

use nsp_common::{
    address::Family,
    class,
    decide::{Decision, sender_of},
    dns::Header,
    generation::{association, flags as generation_flags},
    link::{endpoint, resolving},
    net::protocol,
    overlay::presence,
    packet::Packet,
};

use super::{PORT, Source, copied, nsp_read_message};
use crate::{
    call::is_agent,
    maps::{self, Reading, Work},
    sender::Sender,
    tables::Live,
};

/// Whether the policy asks for it, and the packet may be a question.
#[inline(always)]
pub(crate) fn is_strict(work: &Work) -> bool {
    work.generation.has(generation_flags::STRICT_DNS) && work.packet.key.remote_port == PORT
}

/// Whether what goes to port 53 is not to leave; then that is what was decided of it. The resolvers of
/// this host ask for others, who were asked themselves; the agent asks for the policy's own names.
#[inline(always)]
pub(crate) fn is_refused<P: Sender, S: Source>(hook: u32, sender: P, source: &S) -> bool {
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return false };
    if !is_resolver(&work.packet) || is_agent(work.cookie) {
        return false;
    }
    if sender.resolving() & (resolving::STUB | resolving::RECURSIVE) != 0 {
        return false;
    }
    let number = sender_of(&Live::of(sender, hook, work), &work.generation);
    let entry = maps::association(work.slot, number);
    if !entry.has(association::STRICT_DNS) {
        return false;
    }
    let lane = class::lane(entry.profile, true);
    let mut name = 0;
    if work.packet.key.protocol != protocol::TCP {
        let Some(copied) = copied(&work.packet, 0, source, reading) else {
            return refuse(work, number, 0);
        };
        reading.walk.begin(copied.length, 0);
        nsp_read_message(hook);
        let Header { is_response, is_query, questions, answers, .. } = copied.header;
        let is_question = copied.is_whole && !is_response && is_query && answers == 0;
        if is_question && questions == 1 && reading.walk.is_done() {
            // What is opened for the host is not opened for who has a perimeter of its own.
            let by_overlay = !entry.has(association::ALONE);
            if is_listed(work, reading, lane, by_overlay.then_some(entry.profile_identity)) {
                return false;
            }
            let hash = reading.walk.question_hash();
            name = (hash ^ hash >> 32) as u32;
            maps::set_naming(reading, 0, 0, (work.now_ns / super::SECOND) as u32);
            maps::refuse(name, reading);
        }
    }
    refuse(work, number, name)
}

#[inline(always)]
fn refuse(work: &mut Work, number: u16, name: u32) -> bool {
    work.decision = Decision::strict_dns(number, name);
    true
}

/// Whether an outbound rule of the profile has the name, or an entry of the live overlay.
#[inline(always)]
fn is_listed(work: &Work, reading: &mut Reading, lane: u32, profile: Option<u16>) -> bool {
    let Some(unit) = maps::unit(work.slot, reading) else { return false };
    if work.overlay & presence::NAMES != 0
        && let Some(profile) = profile
        && let Some(overlay) = maps::temporary_of_name(unit.name)
        && overlay.lets_out(profile, (work.now_ns / super::SECOND) as u32)
    {
        return true;
    }
    let number = maps::name_class(work.slot, unit.name).unwrap_or(0);
    let Some(header) = maps::class(work.slot, number) else { return false };
    let cell = maps::cell(work.slot, header.cells.wrapping_add(lane));
    number != 0 && cell.is_some_and(|cell| cell.owner == number + 1)
}

/// Whether DNS there is more than a peer like others: a trusted resolver, or one on this host.
#[inline(always)]
fn is_resolver(packet: &Packet) -> bool {
    let (remote, family): (_, Family) = (&packet.key.remote, packet.ip_family());
    remote.is_loopback(family)
        || maps::endpoint(remote) & (endpoint::RESOLVER | endpoint::OWN | endpoint::STUB) != 0
}
