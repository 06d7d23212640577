//! Answers: of a resolver, when they come in; of a stub on this host, when they leave it.

use aya_ebpf::{cty::c_void, helpers::generated::bpf_loop};
use nsp_common::{
    address::{Address, Family},
    class, dns,
    learned::{Asked, PATIENCE_S, Source as LearnedFrom, Unit, expires_s},
    link::endpoint,
    verdict::Lesson,
};

use super::{SECOND, Source, announced, copied, group, nsp_read_message, question, tell};
use crate::{
    maps::{self, Reading, Work},
    ranges,
    teach::teach,
};

/// Takes an answer that comes in: the first to its question teaches. True when another may follow it in
/// the same segment of TCP.
#[inline(always)]
pub(crate) fn hear<S: Source>(hook: u32, source: &S) -> bool {
    let Some(work) = maps::work(hook) else { return false };
    let is_stream = work.packet.is_tcp();
    let begins = if is_stream { next_of_stream(work, source) } else { Some(0) };
    let Some(skip) = begins else { return false };
    hear_one(hook, skip, source);
    is_stream
}

/// Where the next message of a stream begins in a segment, if it does; the one after it is expected
/// behind it. A segment that is missing here, or comes in another order, ends the reading of the stream:
/// what is not read is not learned.
#[inline(always)]
fn next_of_stream<S: Source>(work: &Work, source: &S) -> Option<u32> {
    let packet = &work.packet;
    if packet.is_syn_ack() {
        maps::set_stream(&packet.key, packet.sequence.wrapping_add(1));
        return None;
    }
    let begins = maps::stream(&packet.key)?;
    let skip = begins.wrapping_sub(packet.sequence);
    let announced = announced(packet, skip, source)?;
    maps::set_stream(&packet.key, begins.wrapping_add(2 + announced));
    Some(skip)
}

#[inline(always)]
fn hear_one<S: Source>(hook: u32, skip: u32, source: &S) -> u32 {
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 0 };
    let Some(copied) = copied(&work.packet, skip, source, reading) else {
        tell(work, Lesson::Malformed);
        return 0;
    };
    let header = copied.header;
    reading.question = question(work, header.id);
    let Some(asked) = maps::asked(&reading.question) else {
        tell(work, Lesson::Unasked);
        return 0;
    };
    if !header.is_response || !header.is_query || header.questions != 1 {
        tell(work, Lesson::Malformed);
        return 0;
    }
    if work.now_ns.saturating_sub(asked.at_ns) > PATIENCE_S * SECOND {
        tell(work, Lesson::Late);
        return 0;
    }
    reading.asked = asked;
    let is_read = copied.is_whole && header.code == 0 && !header.is_truncated;
    reading.walk.begin(copied.length, if is_read { header.answers } else { 0 });
    nsp_read_message(hook);
    if !reading.walk.is_done() && !reading.walk.is_too_much() {
        tell(work, Lesson::Malformed);
        return 0;
    }
    if reading.walk.question_hash() != asked.hash
        || reading.walk.question_type != asked.kind
        || group(work.packet.ifindex) != asked.group
    {
        tell(work, Lesson::Mismatched);
        return 0;
    }
    if !maps::answered(&reading.question) {
        tell(work, Lesson::Late);
        return 0;
    }
    if header.code != 0 {
        tell(work, Lesson::Negative);
    } else if header.is_truncated {
        // What did fit is not all there is: the asker comes again by TCP.
        want(work, reading, Lesson::Truncated);
    } else if !copied.is_whole {
        want(work, reading, Lesson::Segmented);
    } else if reading.walk.is_too_much() {
        // Half of it would be learned in silence.
        want(work, reading, Lesson::TooMany);
    } else {
        learn_all(hook, work, reading, LearnedFrom::Answer);
    }
    0
}

/// Takes what a stub or recursive resolver of this host says to a program: it is trusted as the ones it
/// asks are, and who speaks is known by its socket.
#[inline(always)]
pub(crate) fn overhear<S: Source>(hook: u32, source: &S) -> u32 {
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 0 };
    let Some(copied) = copied(&work.packet, 0, source, reading) else { return 0 };
    let header = copied.header;
    if !header.is_response || !header.is_query || header.questions != 1 || header.code != 0 {
        return 0;
    }
    let is_read = copied.is_whole && !header.is_truncated;
    reading.walk.begin(copied.length, if is_read { header.answers } else { 0 });
    nsp_read_message(hook);
    if !reading.walk.is_done() && !reading.walk.is_too_much() {
        tell(work, Lesson::Malformed);
        return 0;
    }
    let unit = maps::unit(work.slot, reading).unwrap_or(Unit { name: 0, quota: 0 });
    reading.asked = Asked { unit, ..reading.asked };
    if is_read && reading.walk.is_done() {
        learn_all(hook, work, reading, LearnedFrom::Stub);
    } else {
        want(work, reading, Lesson::Truncated);
    }
    0
}

/// Has the agent ask for a name of the policy whose answer could not be read.
#[inline(always)]
fn want(work: &Work, reading: &mut Reading, why: Lesson) {
    tell(work, why);
    if reading.asked.unit.name != 0 && !maps::want(reading, why as u8, work.now_ns) {
        tell(work, Lesson::Untold);
    }
}

#[inline(always)]
fn learn_all(hook: u32, work: &Work, reading: &mut Reading, from: LearnedFrom) {
    let now_s = (work.now_ns / SECOND) as u32;
    let unit = reading.asked.unit.name;
    if unit == 0 {
        tell(work, Lesson::Unlisted);
    }
    maps::set_naming(reading, unit, from as u8, now_s);
    let count = u32::from(reading.walk.found_len);
    let mut hook = hook;
    // SAFETY: the callback is called with this number, which lives.
    unsafe { bpf_loop(count, learn as *mut c_void, (&raw mut hook).cast(), 0) };
}

/// Learns one address of the answer in the place of a hook.
extern "C" fn learn(index: u32, hook: *mut u32) -> i64 {
    // SAFETY: the number that was given to bpf_loop.
    let hook = unsafe { *hook };
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 1 };
    let found = reading.walk.found[index as usize % dns::ADDRESSES_MAX];
    let address = Address { octets: found.octets };
    maps::name_address(&address, reading);
    if reading.asked.unit.name == 0 {
        return 0;
    }
    let family = if found.family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
    if is_forbidden(work, &address, family) {
        tell(work, Lesson::Forbidden);
        return 0;
    }
    nsp_learn(hook, index);
    0
}

/// Puts an address of the answer among the learned. By itself, as in `judge.rs`: beside the look-up of the
/// address there is no stack for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_learn(hook: u32, index: u32) -> u32 {
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 0 };
    let found = reading.walk.found[index as usize % dns::ADDRESSES_MAX];
    let address = Address { octets: found.octets };
    let family = if found.family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
    let now_s = (work.now_ns / SECOND) as u32;
    let expires_s = expires_s(found.ttl_s, work.now_ns);
    tell(work, teach(&address, family, reading.asked.unit, expires_s, now_s));
    0
}

/// Whether no name may stand for an address: what is private, special, or this host's own.
#[inline(always)]
fn is_forbidden(work: &Work, address: &Address, family: Family) -> bool {
    if address.is_special(family) || maps::endpoint(address) & endpoint::OWN != 0 {
        return true;
    }
    let is_private = |address: &Address, family| {
        let number = ranges::class_of(work.slot, address, family);
        let class = maps::class(work.slot, number);
        // Nor may a name lead to the cloud's own endpoints.
        class.is_some_and(|class| {
            class.flags & (class::flags::PRIVATE | class::flags::PLATFORM) != 0
        })
    };
    is_private(address, family)
        || address.embedded().is_some_and(|inner| {
            inner.is_special(Family::V4)
                || maps::endpoint(&inner) & endpoint::OWN != 0
                || is_private(&inner, Family::V4)
        })
}
