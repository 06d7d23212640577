//! What a decision does to the flow tables.

use nsp_common::{
    decide::{Decision, FlowAction},
    event::Loss,
    flow::{Flow, flags},
    packet::{Packet, flags as packet_flags},
};

use crate::{
    atomic::add as add_word,
    maps,
    report::lose,
    tables::{Live, Sender},
};

/// Opens or touches the packet's conversation.
#[inline(always)]
pub(crate) fn track<S: Sender>(packet: &Packet, decision: &Decision, tables: &Live<S>) {
    match decision.flow {
        FlowAction::None => {}
        FlowAction::Open => open(packet, decision, tables),
        FlowAction::Touch => {
            if let Some((flow, proven)) = tables.found {
                touch(packet, tables, flow, proven);
            }
        }
    }
    if packet.has(packet_flags::FIRST_FRAGMENT) {
        let head = Flow::open(packet, decision, tables.generation_number(), tables.now_ns);
        if maps::put_fragment_head(packet, &head).is_err() {
            lose(Loss::Fragment, packet);
        }
    }
}

/// A new conversation starts among the unproven. An old one with its key (a port used again) goes.
#[inline(always)]
fn open<S: Sender>(packet: &Packet, decision: &Decision, tables: &Live<S>) {
    let key = &packet.key;
    let flow = Flow::open(packet, decision, tables.generation_number(), tables.now_ns);
    if maps::put_flow(key, &flow, false).is_err() {
        lose(Loss::Flow, packet);
        return;
    }
    // Look-ups try the proven first: an old entry there would hide the new one.
    maps::remove_flow(key, true);
}

/// Ages and counts; moves a conversation to the proven once both ends are.
#[inline(always)]
fn touch<S: Sender>(packet: &Packet, tables: &Live<S>, flow: *mut Flow, proven: bool) {
    // SAFETY: a map value, not null; nobody else keeps a reference to it. Other processors may
    // write the same words at once, plain stores of integers: the last one wins.
    let entry = unsafe { &mut *flow };
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
    if !proven && bits & flags::REPLIED != 0 {
        let key = &packet.key;
        if maps::put_flow(key, entry, true).is_err() {
            // Full: it stays where it can be evicted, and is counted.
            lose(Loss::Flow, packet);
            return;
        }
        maps::remove_flow(key, false);
    }
}
