//! What a decision does to the flow tables.

use nsp_common::{
    decide::FlowAction,
    event::Loss,
    flow::{Flow, flags},
    packet::{Packet, flags as packet_flags},
    verdict::TrafficClass,
};

use crate::{
    atomic::add as add_word,
    count::lose,
    maps::{self, Work},
    tables::{Live, Sender},
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
    let flow = Flow::open(packet, decision, *generation, *now_ns);
    if is_head && maps::put_fragment_head(packet, &flow).is_err() {
        lose(Loss::Fragment, packet);
    }
    if !opens {
        return;
    }
    // A new conversation starts among the unproven. An old one with its key (a port used again)
    // goes: look-ups try the proven first, and it would hide the new one.
    if maps::put_flow(&packet.key, &flow, false).is_err() {
        lose(Loss::Flow, packet);
        return;
    }
    maps::remove_flow(&packet.key, true);
}

/// Ages and counts; moves a conversation to the proven once both ends are.
#[inline(always)]
pub(crate) fn touch<S: Sender>(packet: &Packet, tables: &Live<S>) {
    // SAFETY: a map value, not null; nobody else keeps a reference to it. Other processors may
    // write the same words at once, plain stores of integers: the last one wins.
    let entry = unsafe { &mut *tables.found.flow };
    let bits = entry.flags_after(packet);
    if bits != entry.flags {
        entry.flags = bits;
    }
    entry.seen_ns = tables.now_ns;
    // SAFETY: aligned words of the same map value.
    unsafe {
        add_word(&raw mut entry.packets, 1);
        add_word(&raw mut entry.bytes, u64::from(packet.length));
    }
    if !tables.found.is_proven && bits & flags::REPLIED != 0 {
        let key = &packet.key;
        if maps::put_flow(key, entry, true).is_err() {
            // Full: it stays where it can be evicted, and is counted.
            lose(Loss::Flow, packet);
            return;
        }
        maps::remove_flow(key, false);
    }
}
