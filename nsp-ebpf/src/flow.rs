//! What a decision does to the flow tables.

use nsp_common::{
    decide::FlowAction,
    event::Loss,
    flow::{Flow, progress},
    packet::{Packet, flags as packet_flags},
    verdict::TrafficClass,
};

use crate::{
    atomic::add as add_word,
    count::lose,
    maps::{self, Found, Work},
};

/// Opens the packet's conversation, and remembers the head of a fragmented datagram.
#[inline(always)]
pub(crate) fn track(work: &Work) {
    let Work { packet, decision, generation, now_ns, .. } = work;
    let opens = matches!(decision.flow, FlowAction::Open);
    // Tails of trusted peers pass by their address and belong into these peers' records.
    let is_trusted =
        matches!(decision.class, TrafficClass::Private | TrafficClass::Intra | TrafficClass::Cross);
    let is_head = packet.has(packet_flags::FIRST_FRAGMENT) && !is_trusted;
    if !opens && !is_head {
        return;
    }
    let flow = Flow::open(packet, decision, generation.number, *now_ns);
    if is_head && maps::put_fragment_head(packet, &flow).is_err() {
        lose(Loss::Fragment, packet);
    }
    if !opens {
        return;
    }
    // A new conversation starts among the unproven. An old one with its key (a port used again)
    // goes: it would hide the new one, or come back after it.
    if maps::put_unproven(&packet.key, &flow).is_err() {
        lose(Loss::Flow, packet);
        return;
    }
    maps::remove_proven(&packet.key);
    maps::remove_unproven(&packet.key, decision.opener.reverse());
}

/// Ages and counts. True when the entry, which was `flow`, belongs among the proven ([`promote`]): when
/// this packet proves both ends, and once a second as long as there was no room.
#[inline(always)]
pub(crate) fn touch(packet: &Packet, found: Found, flow: &Flow, now_ns: u64) -> bool {
    // SAFETY: a map value, not null; nobody else keeps a reference to it. Other processors may
    // write the same words at once, plain stores of integers: the last one wins.
    let entry = unsafe { &mut *found.flow };
    let bits = flow.progress_after(packet);
    if bits != flow.progress {
        entry.progress = bits;
    }
    entry.seen_ns = now_ns;
    // SAFETY: aligned words of the same map value.
    unsafe {
        add_word(&raw mut entry.packets, 1);
        add_word(&raw mut entry.bytes, u64::from(packet.length));
    }
    !found.is_proven
        && bits & progress::REPLIED != 0
        && (!flow.has(progress::REPLIED) || flow.seen_ns / SECOND != now_ns / SECOND)
}

const SECOND: u64 = 1_000_000_000;

/// Moves the conversation in the work place to the proven.
#[inline(always)]
pub(crate) fn promote(work: &mut Work) {
    let Work { packet, entry, .. } = work;
    let key = &packet.key;
    if maps::put_proven(key, entry) != 0 {
        // Full: it stays where it can be evicted, and is counted.
        lose(Loss::Flow, packet);
        return;
    }
    maps::remove_unproven(key, entry.flow.opened_by());
}
