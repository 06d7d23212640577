//! What a decision does to the flow tables.

use nsp_common::{
    decide::FlowAction,
    event::Loss,
    flow::{Flow, UNSETTLED, progress},
    packet::{Packet, flags as packet_flags},
    verdict::TrafficClass,
};

use crate::{
    atomic::{add as add_word, exchange},
    barrier,
    count::lose,
    maps::{self, Found, Work},
};

/// Opens the packet's conversation, and remembers the head of a fragmented datagram.
#[inline(always)]
pub(crate) fn track(work: &Work) {
    let Work { packet, decision, generation, now_ns, collapsed, .. } = work;
    let opens = matches!(decision.flow, FlowAction::Open);
    // Tails of trusted peers pass by their address and belong into these peers' records.
    let is_trusted =
        matches!(decision.class, TrafficClass::Private | TrafficClass::Intra | TrafficClass::Cross);
    let is_head = packet.has(packet_flags::FIRST_FRAGMENT) && !is_trusted;
    if !opens && !is_head {
        return;
    }
    let seen_ns = Flow::seen(*now_ns, *collapsed != 0);
    let flow = Flow { seen_ns, ..Flow::open(packet, decision, generation.number, *now_ns) };
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

/// Copies an entry whose judgement other processors may write meanwhile ([`settle`]): all of it is of one
/// generation, or it is of none, and then the packet has it judged anew. The generation is read before
/// the rest and after it.
#[inline(always)]
pub(crate) fn copy(entry: *const Flow, to: *mut Flow) {
    const WORDS: usize = size_of::<Flow>() / 8;
    const { assert!(size_of::<Flow>().is_multiple_of(8) && align_of::<Flow>() == 8) };
    // SAFETY: a map value, not null, and a place of the same type, in words of both. Entries may be
    // another conversation's by now: plain integers all the same.
    unsafe {
        let before = (&raw const (*entry).generation).read_volatile();
        let from = entry.byte_add(barrier::zero_after(u64::from(before))).cast::<u64>();
        let mut read = 0;
        for at in 0..WORDS {
            let word = from.add(at).read_volatile();
            to.cast::<u64>().add(at).write_volatile(word);
            read |= word;
        }
        let entry = entry.byte_add(barrier::zero_after(read));
        let after = (&raw const (*entry).generation).read_volatile();
        (*to).generation = if before == after { before } else { UNSETTLED };
    }
}

/// Writes what a conversation was judged to be, unless another processor is about to.
#[inline(always)]
pub(crate) fn settle(entry: *mut Flow, judged: &Flow) {
    // SAFETY: a map value, not null.
    unsafe {
        let generation = &raw mut (*entry).generation;
        if exchange(generation, UNSETTLED) == UNSETTLED {
            return;
        }
        (&raw mut (*entry).standing).write_volatile(judged.standing);
        (&raw mut (*entry).rule).write_volatile(judged.rule);
        (&raw mut (*entry).reason).write_volatile(judged.reason);
        (&raw mut (*entry).association).write_volatile(judged.association);
        exchange(generation, judged.generation);
    }
}

/// Ages and counts. True when the entry, which was `flow`, belongs among the proven ([`promote`]): when
/// this packet proves both ends, and once a second as long as there was no room.
#[inline(always)]
pub(crate) fn touch(packet: &Packet, found: Found, flow: &Flow, seen_ns: u64) -> bool {
    // SAFETY: a map value, not null; nobody else keeps a reference to it. Other processors may
    // write the same words at once, plain stores of integers: the last one wins.
    let entry = unsafe { &mut *found.flow };
    let bits = flow.progress_after(packet);
    if bits != flow.progress {
        entry.progress = bits;
    }
    entry.seen_ns = seen_ns;
    // SAFETY: aligned words of the same map value.
    unsafe {
        add_word(&raw mut entry.packets, 1);
        add_word(&raw mut entry.bytes, u64::from(packet.length));
    }
    !found.is_proven
        && bits & progress::REPLIED != 0
        && (!flow.has(progress::REPLIED) || flow.seen_ns / SECOND != seen_ns / SECOND)
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
