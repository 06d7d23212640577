//! The single exit of every packet: count, record, tell, track, answer.

use nsp_common::{
    event::{Addition, Grain, Loss, Record, RecordKey, category_counter, reason_counter},
    verdict::{Category, Verdict},
};

use crate::{
    atomic::add as add_word,
    count::{count, lose},
    flow,
    maps::{self, Work},
};

const EXISTS: i32 = -17;

/// Ends the matter of one packet.
#[inline(always)]
pub(crate) fn conclude(work: &mut Work) -> Verdict {
    let Work { packet, decision, .. } = work;
    count(reason_counter(decision.reason as u8, packet.way(), decision.verdict), packet);
    let category = decision.category();
    if !matches!(category, Category::None) {
        count(category_counter(category), packet);
        record(work, category);
    }
    let verdict = work.decision.verdict;
    if matches!(verdict, Verdict::Pass) {
        flow::track(work);
    }
    verdict
}

/// Adds the packet to its record; makes one and sends an event when it is the first of its kind.
/// When the table is full the peer's address is given up step by step before the record is.
#[inline(always)]
fn record(work: &mut Work, category: Category) {
    let Work {
        packet, event, record: first, decision, generation, now_ns, odd_epoch, cookie, ..
    } = work;
    let (odd, now_ns) = (*odd_epoch != 0, *now_ns);
    let addition = Addition::of(packet, decision);
    event.key = RecordKey::of(packet, decision, category, generation.number);
    if let Some(record) = maps::record(odd, Grain::Address, &event.key) {
        return accumulate(record, &addition, now_ns);
    }
    first.count = addition.count;
    first.packets = 1;
    first.bytes = addition.bytes;
    first.answers = addition.answers;
    first.first_ns = now_ns;
    first.last_ns = now_ns;
    first.opener_port = addition.opener_port;
    (first.pid, first.comm, first.cgroup) = (0, [0; 16], 0);
    if *cookie != 0 {
        maps::sign(*cookie, first);
    }
    match maps::put_record(odd, Grain::Address, &event.key, first) {
        Ok(()) => {
            event.opener_port = addition.opener_port;
            event.at_ns = now_ns;
            if !maps::send(event) {
                lose(Loss::Event, packet);
            }
            return;
        }
        Err(EXISTS) => {
            // Another processor was first.
            if let Some(record) = maps::record(odd, Grain::Address, &event.key) {
                return accumulate(record, &addition, now_ns);
            }
        }
        Err(_) => {}
    }
    if coarse(&mut event.key, Grain::Network, first, &addition, odd)
        || coarse(&mut event.key, Grain::Many, first, &addition, odd)
    {
        return;
    }
    lose(Loss::Record, packet);
}

/// Adds to a collapsed record, or makes one; false when there is no room.
#[inline(always)]
fn coarse(
    key: &mut RecordKey,
    grain: Grain,
    first: &Record,
    addition: &Addition,
    odd: bool,
) -> bool {
    key.coarsen(grain);
    for _ in 0..2 {
        if let Some(record) = maps::record(odd, grain, key) {
            accumulate(record, addition, first.last_ns);
            return true;
        }
        match maps::put_record(odd, grain, key, first) {
            Ok(()) => return true,
            // Another processor was first: look again.
            Err(EXISTS) => {}
            Err(_) => return false,
        }
    }
    false
}

#[inline(always)]
fn accumulate(record: *mut Record, addition: &Addition, now_ns: u64) {
    // SAFETY: a map value, not null; entries of an epoch are not removed before its programs are
    // done (the agent waits a grace period). Sums are atomic, the time is a plain store.
    unsafe {
        add_word(&raw mut (*record).packets, 1);
        add_word(&raw mut (*record).bytes, addition.bytes);
        if addition.count != 0 {
            add_word(&raw mut (*record).count, 1);
        }
        if addition.answers != 0 {
            add_word(&raw mut (*record).answers, 1);
        }
        (*record).last_ns = now_ns;
    }
}
