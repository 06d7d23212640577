//! Questions that go out and answers that come in: how the addresses of names are learned, before a
//! program has them.
//!
//! A question to a trusted resolver about a name of the policy is remembered. The first answer that
//! comes from where it went, by the link it left by, with its number, name and type, teaches its
//! addresses. Both have been judged before: they pass whatever becomes of them here.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    cty::c_void,
    helpers::generated::{bpf_loop, bpf_skb_load_bytes, bpf_xdp_load_bytes},
};
use nsp_common::{
    address::{Address, Family},
    class,
    dns::{self, Header, MESSAGE_MAX, STEPS_MAX},
    event::lesson_counter,
    generation::flags as generation_flags,
    learned::{Asked, PATIENCE_S, QuestionKey, expires_s},
    link::endpoint,
    net::protocol,
    packet::Packet,
    verdict::{Lesson, Reason, Verdict},
};

use crate::{
    count::count,
    maps::{self, Reading, Work},
    teach::teach,
};

const DNS: u16 = 53;
const SECOND: u64 = 1_000_000_000;

/// Where a message is copied from.
pub(crate) trait Source {
    /// Copies `length` bytes from `offset` of the frame; false when they are not there.
    fn load(&self, offset: u32, to: *mut u8, length: u32) -> bool;
}

/// A frame at XDP.
pub(crate) struct Frame(pub(crate) *mut xdp_md);

impl Source for Frame {
    #[inline(always)]
    fn load(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: the context is the kernel's own; the caller has room for `length` bytes.
        unsafe { bpf_xdp_load_bytes(self.0, offset, to.cast(), length) == 0 }
    }
}

/// A buffer at TC.
pub(crate) struct Buffer(pub(crate) *mut __sk_buff);

impl Source for Buffer {
    #[inline(always)]
    fn load(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as above.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to.cast(), length) == 0 }
    }
}

/// Whether the packet that was judged is a message by UDP from or to a trusted resolver.
#[inline(always)]
pub(crate) fn concerns(work: &Work) -> bool {
    matches!(work.decision.reason, Reason::Resolver)
        && matches!(work.decision.verdict, Verdict::Pass)
        && work.generation.has(generation_flags::BY_DNS)
        && work.packet.key.protocol == protocol::UDP
        && work.packet.key.remote_port == DNS
        && work.packet.payload != 0
}

/// Copies the message of a packet; its header, and its length.
#[inline(always)]
fn copied<S: Source>(packet: &Packet, source: &S, reading: &mut Reading) -> Option<(Header, u16)> {
    let length = packet.length.wrapping_sub(packet.payload);
    if length == 0 || length > MESSAGE_MAX as u32 {
        return None;
    }
    // The verifier wants the bound in the number itself, and that it is not zero.
    let length = ((length - 1) & (MESSAGE_MAX as u32 - 1)) + 1;
    if !source.load(packet.payload, reading.message.as_mut_ptr(), length) {
        return None;
    }
    let header = Header::of(&reading.message, length as u16)?;
    Some((header, length as u16))
}

/// Remembers a question that goes out, if it is about a name of the policy.
#[inline(always)]
pub(crate) fn ask<S: Source>(hook: u32, source: &S) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let Some(reading) = maps::reading(hook) else { return 0 };
    let Some((header, length)) = copied(&work.packet, source, reading) else { return 0 };
    if header.is_response || !header.is_query || header.questions != 1 {
        return 0;
    }
    reading.walk.begin(length, 0);
    read(hook);
    if !reading.walk.is_done() {
        return 0;
    }
    let Some(unit) = maps::unit(work.slot, reading) else { return 0 };
    if unit.name == 0 {
        return 0;
    }
    let asked = Asked {
        hash: reading.walk.question_hash(),
        at_ns: work.now_ns,
        unit,
        kind: reading.walk.question_type,
        group: group(work.packet.ifindex),
        _pad: [0; 5],
    };
    if maps::ask(&question(work, header.id), &asked) {
        tell(work, Lesson::Asked);
    }
    0
}

/// Takes an answer that comes in: the first to its question teaches.
#[inline(always)]
pub(crate) fn hear<S: Source>(hook: u32, source: &S) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let Some(reading) = maps::reading(hook) else { return 0 };
    let Some((header, length)) = copied(&work.packet, source, reading) else {
        tell(work, Lesson::Malformed);
        return 0;
    };
    let key = question(work, header.id);
    let Some(asked) = maps::asked(&key) else {
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
    reading.walk.begin(length, if header.code == 0 { header.answers } else { 0 });
    read(hook);
    if reading.walk.progress != dns::Progress::Done as u8 {
        tell(work, if header.is_truncated { Lesson::Truncated } else { Lesson::Malformed });
        return 0;
    }
    if reading.walk.question_hash() != asked.hash
        || reading.walk.question_type != asked.kind
        || group(work.packet.ifindex) != asked.group
    {
        tell(work, Lesson::Mismatched);
        return 0;
    }
    if !maps::answered(&key) {
        tell(work, Lesson::Late);
        return 0;
    }
    if header.is_truncated {
        // What did fit is not all there is: the asker comes again by TCP.
        tell(work, Lesson::Truncated);
        return 0;
    }
    if header.code != 0 {
        tell(work, Lesson::Negative);
        return 0;
    }
    let count = u32::from(reading.walk.found_len);
    let mut hook = hook;
    // SAFETY: the callback is called with this number, which lives.
    unsafe { bpf_loop(count, learn as *mut c_void, (&raw mut hook).cast(), 0) };
    0
}

/// Reads the message in the place of a hook.
#[inline(always)]
fn read(hook: u32) {
    let mut hook = hook;
    // SAFETY: the callback is called with this number, which lives.
    unsafe { bpf_loop(STEPS_MAX, step as *mut c_void, (&raw mut hook).cast(), 0) };
}

extern "C" fn step(_index: u32, hook: *mut u32) -> i64 {
    // SAFETY: the number that was given to bpf_loop.
    let Some(Reading { message, key, walk, .. }) = maps::reading(unsafe { *hook }) else {
        return 1;
    };
    i64::from(!dns::step(message, key, walk))
}

/// Learns one address of the answer in the place of a hook.
extern "C" fn learn(index: u32, hook: *mut u32) -> i64 {
    // SAFETY: the number that was given to bpf_loop.
    let hook = unsafe { *hook };
    let (Some(work), Some(reading)) = (maps::work(hook), maps::reading(hook)) else { return 1 };
    let found = reading.walk.found[index as usize % dns::ADDRESSES_MAX];
    let address = Address { octets: found.octets };
    let family = if found.family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
    if is_forbidden(work, &address, family) {
        tell(work, Lesson::Forbidden);
        return 0;
    }
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
        let number = maps::class_of(work.slot, address, family).unwrap_or(0);
        let class = maps::class(work.slot, number);
        class.is_some_and(|class| class.flags & class::flags::PRIVATE != 0)
    };
    is_private(address, family)
        || address
            .embedded()
            .is_some_and(|inner| inner.is_special(Family::V4) || is_private(&inner, Family::V4))
}

#[inline(always)]
fn question(work: &Work, id: u16) -> QuestionKey {
    QuestionKey { flow: work.packet.key, id, _pad: 0 }
}

#[inline(always)]
fn group(ifindex: u32) -> u8 {
    maps::link(ifindex).map_or(u8::MAX, |link| link.group)
}

#[inline(always)]
fn tell(work: &Work, lesson: Lesson) {
    count(lesson_counter(lesson), &work.packet);
}
