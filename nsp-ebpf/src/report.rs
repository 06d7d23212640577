//! The single exit of every packet: count, record, tell, track, answer.

use nsp_common::{
    decide::Decision,
    event::{Addition, Grain, Loss, Near, Record, RecordKey, category_counter, reason_counter},
    generation::Epoch,
    packet::Packet,
    verdict::{Category, Direction, Verdict},
};

use crate::{
    atomic::add as add_word,
    count::{count, count_alone, lose},
    flow, judge,
    maps::{self, Hook, Work},
};

const EXISTS: i32 = -17;
/// A table has no room (`E2BIG`, kernel/bpf/hashtab.c).
const FULL: i32 = -7;

/// Ends the matter of one packet. `is_alone`: see [`maps::Hook::is_alone`].
#[inline(always)]
pub(crate) fn conclude(work: &mut Work, hook: u32) -> Verdict {
    let is_alone = Hook::is_alone(hook);
    let Work { packet, decision, generation, now_ns, epoch, event, collapsed, .. } = work;
    let odd = Epoch(*epoch).is_odd();
    let category = decision.category();
    tally(reason_counter(decision.reason as u8, packet.way(), decision.verdict), packet, is_alone);
    if !matches!(category, Category::None) {
        tally(category_counter(category), packet, is_alone);
        event.key = RecordKey::of(packet, decision, category, generation.number);
        // What is denied comes by the million. When the tables are full it is not looked for in them, nor
        // is what belongs to a conversation that came too late for them.
        let is_one_of_many = is_alone
            && (matches!(decision.verdict, Verdict::Drop) || *collapsed != 0)
            && maps::is_full(odd, Grain::Network, is_stranger(packet, decision));
        let addition = Addition::of(packet, decision);
        if is_one_of_many {
            event.key.coarsen(Grain::Many);
        }
        if !is_one_of_many || !near(odd, &event.key, &addition, *now_ns) {
            judge::nsp_record(hook);
        }
    }
    let verdict = work.decision.verdict;
    if matches!(verdict, Verdict::Pass) {
        flow::track(work);
    }
    verdict
}

#[inline(always)]
fn tally(counter: u32, packet: &Packet, is_alone: bool) {
    if is_alone {
        count_alone(counter, packet);
    } else {
        count(counter, packet);
    }
}

/// Adds the packet to the record whose key lies in the work place; makes one and sends an event when it is
/// the first of its kind. When the table is full the peer's address is given up step by step before the
/// record is.
#[inline(always)]
pub(crate) fn record(work: &mut Work, is_alone: bool) {
    let Work { packet, event, record: first, decision, now_ns, epoch, cookie, collapsed, .. } =
        work;
    let (odd, now_ns) = (Epoch(*epoch).is_odd(), *now_ns);
    let is_stranger = is_stranger(packet, decision);
    let is_one_of_many = matches!(decision.verdict, Verdict::Drop) || *collapsed != 0;
    let addition = Addition::of(packet, decision);
    let is_full = maps::is_full(odd, Grain::Address, is_stranger);
    if !(is_full && is_one_of_many)
        && let Some(record) = maps::record(odd, Grain::Address, &event.key)
    {
        return accumulate(record, &addition, now_ns);
    }
    *collapsed = u32::from(is_full);
    first.count = addition.count;
    first.packets = 1;
    first.bytes = addition.bytes;
    first.answers = addition.answers;
    first.first_ns = now_ns;
    first.last_ns = now_ns;
    first.opener_port = addition.opener_port;
    (first.pid, first.comm, first.cgroup) = (0, [0; 16], 0);
    if !is_full {
        if *cookie != 0 {
            maps::sign(*cookie, first);
        }
        match maps::put_record(odd, Grain::Address, &event.key, first) {
            Ok(()) => {
                if is_stranger {
                    maps::count_stranger(odd, Grain::Address);
                }
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
            Err(FULL) => maps::set_full(odd, Grain::Address),
            Err(_) => {}
        }
    }
    let is_full = maps::is_full(odd, Grain::Network, is_stranger);
    if !(is_full && is_one_of_many) {
        match coarse(&mut event.key, Grain::Network, first, &addition, odd, is_full) {
            Coarse::Added => return,
            Coarse::Begun => {
                if is_stranger {
                    maps::count_stranger(odd, Grain::Network);
                }
                return;
            }
            Coarse::NoRoom => {}
        }
    }
    event.key.coarsen(Grain::Many);
    if is_alone && near(odd, &event.key, &addition, now_ns) {
        return;
    }
    if matches!(coarse(&mut event.key, Grain::Many, first, &addition, odd, false), Coarse::NoRoom) {
        lose(Loss::Record, packet);
    }
}

/// What others send and is denied: anybody can send as much of it as they like, in anybody's name.
#[inline(always)]
fn is_stranger(packet: &Packet, decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Drop) && matches!(packet.way(), Direction::Inbound)
}

/// Adds to this processor's row of many sources; false when the row is another key's.
#[inline(always)]
fn near(odd: bool, key: &RecordKey, addition: &Addition, now_ns: u64) -> bool {
    let Some(near) = maps::near(odd, key) else { return false };
    // SAFETY: per-processor memory of the map's value type, not null, which nobody else writes before its
    // epoch is over and a grace period behind it.
    let Near { key: own, record } = unsafe { &mut *near };
    if record.packets == 0 {
        *own = *key;
        record.first_ns = now_ns;
        record.opener_port = addition.opener_port;
    } else if *own != *key {
        return false;
    }
    record.count += addition.count;
    record.packets += 1;
    record.bytes += addition.bytes;
    record.answers += addition.answers;
    record.last_ns = now_ns;
    true
}

/// What became of a packet in a table of collapsed records.
enum Coarse {
    Added,
    Begun,
    NoRoom,
}

/// Adds to a collapsed record, or begins one where the table is not full.
#[inline(always)]
fn coarse(
    key: &mut RecordKey,
    grain: Grain,
    first: &Record,
    addition: &Addition,
    odd: bool,
    is_full: bool,
) -> Coarse {
    key.coarsen(grain);
    for _ in 0..2 {
        if let Some(record) = maps::record(odd, grain, key) {
            accumulate(record, addition, first.last_ns);
            return Coarse::Added;
        }
        if is_full {
            return Coarse::NoRoom;
        }
        match maps::put_record(odd, grain, key, first) {
            Ok(()) => return Coarse::Begun,
            // Another processor was first: look again.
            Err(EXISTS) => {}
            Err(FULL) if matches!(grain, Grain::Network) => {
                maps::set_full(odd, grain);
                return Coarse::NoRoom;
            }
            Err(_) => return Coarse::NoRoom,
        }
    }
    Coarse::NoRoom
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
