//! TC: what goes out, and what comes in where the driver has no XDP or frames have no link header.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_get_socket_cookie,
    macros::classifier,
    programs::TcContext,
};
use nsp_common::{
    flow_key::FlowKey,
    net::eth::LinkHeader,
    packet::flags,
    verdict::{Direction, Verdict},
};

use crate::{
    dns::{self, Buffer},
    judge,
    maps::{self, Hook},
    packet::Linear,
};

/// Headers the parser may want: link, tags, IPv6, a few extension headers, transport.
const HEADERS: u32 = 256;

/// TC ingress on an Ethernet device.
#[classifier]
fn nsp_ingress(context: TcContext) -> i32 {
    read(&context, nsp_parse_ingress);
    let verdict = judge::inbound(Hook::Ingress);
    hear(context.skb.skb);
    action(verdict)
}

/// TC egress on an Ethernet device.
#[classifier]
fn nsp_egress(context: TcContext) -> i32 {
    read(&context, nsp_parse_egress);
    let verdict = judge::outbound(context.skb.skb, Hook::Egress);
    ask(context.skb.skb);
    action(verdict)
}

/// TC ingress on a device without link header.
#[classifier]
fn nsp_ingress_bare(context: TcContext) -> i32 {
    read(&context, nsp_parse_ingress_bare);
    let verdict = judge::inbound(Hook::Ingress);
    hear(context.skb.skb);
    action(verdict)
}

/// TC egress on a device without link header.
#[classifier]
fn nsp_egress_bare(context: TcContext) -> i32 {
    read(&context, nsp_parse_egress_bare);
    let verdict = judge::outbound(context.skb.skb, Hook::Egress);
    ask(context.skb.skb);
    action(verdict)
}

/// Pass is "let the next one decide", never `TC_ACT_OK`, which would end the chain.
#[inline(always)]
fn action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}

/// Learns from a packet that came in from a resolver, if it is an answer that does teach.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_hear_skb(skb: *mut __sk_buff) -> u32 {
    u32::from(dns::hear(Hook::Ingress as u32, &Buffer(skb)))
}

/// Remembers the question that a packet to a resolver asks, if it does and its answer will teach.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_ask_skb(skb: *mut __sk_buff, skip: u32) -> u32 {
    dns::ask(Hook::Egress as u32, skip, &Buffer(skb))
}

/// Learns from all that a packet says.
#[inline(always)]
fn hear(skb: *mut __sk_buff) {
    if !dns::concerns(Hook::Ingress) {
        return;
    }
    for _ in 0..dns::MESSAGES_MAX {
        if nsp_hear_skb(skb) == 0 {
            return;
        }
    }
}

/// Remembers all that a packet asks.
#[inline(always)]
fn ask(skb: *mut __sk_buff) {
    if !dns::concerns(Hook::Egress) {
        return;
    }
    let mut skip = 0;
    for _ in 0..dns::MESSAGES_MAX {
        skip = nsp_ask_skb(skb, skip);
        if skip == 0 {
            return;
        }
    }
}

/// Reads the headers. Most buffers have theirs in the linear part and nothing else, and to have more put
/// there may cost a new head: so that is done when something was missing. When it cannot be, what can be
/// read decides. (What is behind the headers may still be the sender's to write.)
#[inline(always)]
fn read(context: &TcContext, parser: extern "C" fn(*mut __sk_buff) -> u32) {
    let skb = context.skb.skb;
    if parser(skb) != 0 && context.pull_data(HEADERS.min(context.len())).is_ok() {
        parser(skb);
    }
}

/// A parser of its own for each program: the verifier checks it once, by itself, and its stack is
/// free again when the decision needs room.
macro_rules! parser {
    ($name:ident, $hook:expr, $link:expr) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $name(skb: *mut __sk_buff) -> u32 {
            u32::from(parse(&TcContext::new(skb), $hook, $link))
        }
    };
}

parser!(nsp_parse_ingress, Hook::Ingress, LinkHeader::Ethernet);
parser!(nsp_parse_egress, Hook::Egress, LinkHeader::Ethernet);
parser!(nsp_parse_ingress_bare, Hook::Ingress, LinkHeader::None);
parser!(nsp_parse_egress_bare, Hook::Egress, LinkHeader::None);

/// Reads the buffer into the hook's work place; true when something may be beyond its linear part.
#[inline(always)]
fn parse(context: &TcContext, hook: Hook, link: LinkHeader) -> bool {
    let Some(work) = maps::scratch(hook) else { return false };
    let packet = &mut work.packet;
    let length = context.len();
    // SAFETY: the context is the kernel's own.
    let skb = unsafe { &*context.skb.skb };
    packet.ifindex = skb.ifindex;
    packet.flags = flags::LENGTH_FROM_BUFFER;
    if matches!(hook, Hook::Egress) {
        packet.direction = Direction::Outbound as u8;
        // SAFETY: the context is the kernel's own; without a socket the answer is zero.
        work.cookie = unsafe { bpf_get_socket_cookie(context.skb.skb.cast()) };
        if skb.ingress_ifindex != 0 {
            packet.flags |= flags::FORWARDED;
        }
    }
    if matches!(link, LinkHeader::None) {
        packet.key.scope = FlowKey::scope_of(skb.ifindex);
    }
    let bytes = Linear::new(context.data(), context.data_end(), length, &mut work.cursor);
    packet.parse(&bytes, link);
    let linear = (context.data_end() - context.data()) as u32;
    linear < HEADERS.min(length) && packet.lacks_something()
}
