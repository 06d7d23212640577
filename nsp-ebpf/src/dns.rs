//! Names as they pass: questions that go out and answers that come in. How the addresses of names are
//! learned before a program has them (ADR 0008), and how questions are refused under strict DNS.
//!
//! A question to a trusted resolver is remembered (`ask`). The first answer that comes from where it
//! went, by the link it left by, with its number, name and type, teaches its addresses (`hear`). What a
//! stub resolver of this host answers teaches too, when it leaves the stub (`overhear`). All of them have
//! been judged before: they pass whatever becomes of them here.

mod ask;
mod hear;
mod strict;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    cty::c_void,
    helpers::generated::{bpf_loop, bpf_skb_load_bytes, bpf_xdp_load_bytes},
};
use nsp_common::{
    dns::{self, Header, MESSAGE_MAX, STEPS_MAX},
    event::lesson_counter,
    generation::flags as generation_flags,
    learned::QuestionKey,
    net::protocol,
    packet::{Packet, flags as packet_flags},
    verdict::{Lesson, Reason, Verdict},
};

pub(crate) use self::{
    ask::ask,
    hear::{hear, overhear},
    strict::{is_refused, is_strict},
};
use crate::{
    count::count,
    maps::{self, Hook, Reading, Work},
};

/// The port of DNS.
pub(crate) const PORT: u16 = 53;
/// Messages that are read of one segment of TCP: a program asks for both families at once.
pub(crate) const MESSAGES_MAX: u32 = 4;
pub(crate) const SECOND: u64 = 1_000_000_000;

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

/// A buffer at TC, or at the hook of a cgroup.
pub(crate) struct Buffer(pub(crate) *mut __sk_buff);

impl Source for Buffer {
    #[inline(always)]
    fn load(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as above.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to.cast(), length) == 0 }
    }
}

/// Of a call there is no message yet.
pub(crate) struct NoMessage;

impl Source for NoMessage {
    #[inline(always)]
    fn load(&self, _offset: u32, _to: *mut u8, _length: u32) -> bool {
        false
    }
}

/// Whether the packet that was judged is a message from or to a trusted resolver. Asked before the functions
/// that read it are called: to call them all for nothing would cost every packet.
#[inline(always)]
pub(crate) fn concerns(hook: Hook) -> bool {
    let Some(work) = maps::work(hook as u32) else { return false };
    matches!(work.decision.reason, Reason::Resolver)
        && matches!(work.decision.verdict, Verdict::Pass)
        && work.generation.has(generation_flags::BY_DNS)
        && work.packet.key.remote_port == PORT
        && work.packet.payload != 0
}

/// A message that was copied to its reading.
struct Copied {
    header: Header,
    /// Bytes that there are.
    length: u16,
    /// Whether that is all of it.
    is_whole: bool,
}

/// Copies the message that begins `skip` bytes into the payload of a packet, as much of it as is there. By
/// TCP its length goes before it (RFC 1035 4.2.2).
#[inline(always)]
fn copied<S: Source>(
    packet: &Packet,
    skip: u32,
    source: &S,
    reading: &mut Reading,
) -> Option<Copied> {
    let mut at = packet.payload + skip;
    let mut length = packet.end.wrapping_sub(at);
    let mut is_whole = !packet.has(packet_flags::FIRST_FRAGMENT);
    if packet.key.protocol == protocol::TCP {
        let announced = announced(packet, skip, source)?;
        at += 2;
        length = length.wrapping_sub(2);
        is_whole = announced <= length;
        length = if is_whole { announced } else { length };
    }
    if length == 0 || length > u32::from(u16::MAX) {
        return None;
    }
    if length > MESSAGE_MAX as u32 {
        length = MESSAGE_MAX as u32;
        is_whole = false;
    }
    // The verifier wants the bound in the number itself, and that it is not zero.
    let length = ((length - 1) & (MESSAGE_MAX as u32 - 1)) + 1;
    if !source.load(at, reading.message.as_mut_ptr(), length) {
        return None;
    }
    let header = Header::of(&reading.message, length as u16)?;
    Some(Copied { header, length: length as u16, is_whole })
}

/// The length that goes before a message by TCP.
#[inline(always)]
fn announced<S: Source>(packet: &Packet, skip: u32, source: &S) -> Option<u32> {
    let at = packet.payload + skip;
    let mut bytes = [0; 2];
    // A whole packet is no longer than this, and two bytes are there.
    if skip > u32::from(u16::MAX) || at + 2 > packet.end {
        return None;
    }
    let is_there = source.load(at, bytes.as_mut_ptr(), 2);
    is_there.then(|| u32::from(u16::from_be_bytes(bytes)))
}

/// Reads the message in the place of a hook. By itself, as in `judge.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_read_message(hook: u32) -> u32 {
    let mut hook = hook;
    // SAFETY: the callback is called with this number, which lives.
    unsafe { bpf_loop(STEPS_MAX, step as *mut c_void, (&raw mut hook).cast(), 0) };
    0
}

extern "C" fn step(_index: u32, hook: *mut u32) -> i64 {
    // SAFETY: the number that was given to bpf_loop.
    let Some(Reading { message, key, walk, .. }) = maps::reading(unsafe { *hook }) else {
        return 1;
    };
    i64::from(!dns::step(message, key, walk))
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
