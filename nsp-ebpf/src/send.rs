//! What programs send by UDP, before it leaves: who may not send learns so at once (`EPERM`), also where
//! no call said where to. And what a stub resolver of this host answers, to whomever on it.
//!
//! The hook of a cgroup sees the packet as TC will, so a service that answers is told from a client that
//! asks by its conversation. TCP is left to the calls: a SYN that cannot be sent would be sent again.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use nsp_common::{
    generation::flags as generation_flags,
    link::{endpoint, resolving},
    net::{eth::LinkHeader, protocol},
    packet::flags,
    verdict::Direction,
};

use crate::{
    call::{alone, answer, nsp_stays_here},
    dns::{self, Buffer},
    judge,
    maps::{self, Hook},
    packet::Linear,
    sender::{Sender as _, Socket},
    tables::observe,
};

const REFUSED: i32 = 0;
const GRANTED: i32 = 1;

/// Every network namespace's own (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Where the protocol is in the header of IPv4, and the next header in that of IPv6.
const PROTOCOL_V4: u32 = 9;
const PROTOCOL_V6: u32 = 6;
/// `ETH_P_IP` and `ETH_P_IPV6` as a buffer has them.
const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

#[cgroup_skb(egress)]
fn nsp_send(context: SkBuffContext) -> i32 {
    let skb = context.skb.skb;
    match protocol(skb) {
        // Judged when it was connected (`call.rs`).
        protocol::TCP => GRANTED,
        protocol::UDP => datagram(skb),
        number => unseen(skb, number),
    }
}

#[inline(always)]
fn datagram(skb: *mut __sk_buff) -> i32 {
    // SAFETY: the context is the kernel's own.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // Sockets whose calls were seen are of the guarded network namespace.
    if maps::caller(cookie).is_none() {
        return unseen(skb, protocol::UDP);
    }
    alone(Hook::Send, || send(skb, cookie), || judge::nsp_is_alone_socket(skb) != 0)
}

/// What is not judged here: TC judges it, if it leaves by a judged device. Who has a perimeter of its own
/// is not let out by another, nor does it ask a resolver of this host by a socket that nobody has seen.
#[inline(always)]
fn unseen(skb: *mut __sk_buff, number: u8) -> i32 {
    // SAFETY: the context is the kernel's own.
    let ifindex = unsafe { (*skb).ifindex };
    let is_left_to_others = match number {
        protocol::UDP => maps::link(ifindex).is_some(),
        _ => ifindex == LOOPBACK || maps::link(ifindex).is_some(),
    };
    if is_left_to_others || judge::nsp_is_alone_socket(skb) == 0 { GRANTED } else { REFUSED }
}

/// The protocol behind the fixed header, or zero.
#[inline(always)]
fn protocol(skb: *mut __sk_buff) -> u8 {
    // SAFETY: the context is the kernel's own.
    let at = match unsafe { (*skb).protocol } {
        ETH_P_IP => PROTOCOL_V4,
        ETH_P_IPV6 => PROTOCOL_V6,
        _ => return 0,
    };
    let mut number = 0_u8;
    // SAFETY: as above; there is room for one byte.
    let read = unsafe { bpf_skb_load_bytes(skb.cast(), at, (&raw mut number).cast(), 1) };
    if read == 0 { number } else { 0 }
}

#[inline(always)]
fn send(skb: *mut __sk_buff, cookie: u64) -> i32 {
    nsp_parse_send(skb);
    let Some(work) = maps::work(Hook::Send as u32) else { return GRANTED };
    work.cookie = cookie;
    observe(work);
    if work.packet.flaw != 0 || !work.packet.has(flags::KEYED) {
        return GRANTED;
    }
    if nsp_overhear(skb) != 0 {
        return GRANTED;
    }
    let mut is_unjudged = false;
    if nsp_strict_send(skb) == 0 {
        let is_alone = work.generation.has(generation_flags::ALONE);
        let enforced = work.generation.has(generation_flags::ENFORCED_OUTBOUND)
            || work.generation.public_access != 0;
        // What does not leave by a judged device is not judged, but where somebody has a perimeter of its
        // own; and what stays on this host never is.
        is_unjudged = maps::link(work.packet.ifindex).is_none();
        if is_unjudged && (!is_alone || nsp_stays_here(Hook::Send as u32) != 0)
            || !is_unjudged && !enforced
        {
            return GRANTED;
        }
        judge::outbound_only(skb, Hook::Send);
    }
    answer(Hook::Send, work, is_unjudged)
}

/// Reads the packet into the hook's work place. By itself, as in `tc.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_parse_send(skb: *mut __sk_buff) -> u32 {
    let context = SkBuffContext::new(skb);
    let Some(work) = maps::scratch(Hook::Send) else { return 0 };
    let packet = &mut work.packet;
    // SAFETY: the context is the kernel's own.
    let buffer = unsafe { &*skb };
    packet.ifindex = buffer.ifindex;
    packet.flags = flags::LENGTH_FROM_BUFFER;
    packet.direction = Direction::Outbound as u8;
    packet.key.scope = maps::link(buffer.ifindex).map_or(0, |link| link.scope);
    let (data, end) = (buffer.data as usize, buffer.data_end as usize);
    let bytes = Linear::new(data, end, context.len(), &mut work.cursor);
    packet.parse(&bytes, LinkHeader::None);
    0
}

/// Learns from the packet if a stub resolver of this host answers with it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_overhear(skb: *mut __sk_buff) -> u32 {
    let hook = Hook::Send as u32;
    let Some(work) = maps::work(hook) else { return 0 };
    if work.packet.key.local_port != dns::PORT
        || maps::endpoint(&work.packet.key.local) & endpoint::STUB == 0
        || Socket(skb).resolving() & resolving::ANSWERS == 0
    {
        return 0;
    }
    dns::overhear(hook, &Buffer(skb));
    1
}

/// Whether the packet is a question that strict DNS does not let out.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_strict_send(skb: *mut __sk_buff) -> u32 {
    let hook = Hook::Send as u32;
    let is_strict = maps::work(hook).is_some_and(|work| dns::is_strict(work));
    u32::from(is_strict && dns::is_refused(hook, Socket(skb), &Buffer(skb)))
}
