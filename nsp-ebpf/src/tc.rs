//! TC: what goes out, and what comes in where the driver has no XDP or frames have no link header.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use nsp_common::{
    net::eth::LinkHeader,
    packet::flags,
    verdict::{Direction, Verdict},
};

use crate::{
    judge,
    maps::{self, Hook},
    packet::Linear,
};

/// Headers the parser may want: link, tags, IPv6, a few extension headers, transport.
const HEADERS: u32 = 256;

/// TC ingress on an Ethernet device.
#[classifier]
fn nsp_ingress(context: TcContext) -> i32 {
    action(judge_buffer(&context, Hook::Ingress, LinkHeader::Ethernet))
}

/// TC egress on an Ethernet device.
#[classifier]
fn nsp_egress(context: TcContext) -> i32 {
    action(judge_buffer(&context, Hook::Egress, LinkHeader::Ethernet))
}

/// TC ingress on a device without link header.
#[classifier]
fn nsp_ingress_bare(context: TcContext) -> i32 {
    action(judge_buffer(&context, Hook::Ingress, LinkHeader::None))
}

/// TC egress on a device without link header.
#[classifier]
fn nsp_egress_bare(context: TcContext) -> i32 {
    action(judge_buffer(&context, Hook::Egress, LinkHeader::None))
}

/// Pass is "let the next one decide", never `TC_ACT_OK`, which would end the chain.
#[inline(always)]
fn action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}

#[inline(always)]
fn judge_buffer(context: &TcContext, hook: Hook, link: LinkHeader) -> Verdict {
    let Some(work) = maps::scratch(hook) else { return Verdict::Pass };
    let packet = &mut work.packet;
    let length = context.len();
    let wanted = if length < HEADERS { length } else { HEADERS };
    if context.data() + wanted as usize > context.data_end() {
        // Headers beyond the linear part. When they cannot be pulled, what can be read decides.
        let _pulled = context.pull_data(wanted);
    }
    // SAFETY: the context is the kernel's own.
    let skb = unsafe { &*context.skb.skb };
    packet.ifindex = skb.ifindex;
    packet.flags = flags::LENGTH_FROM_BUFFER;
    if matches!(hook, Hook::Egress) {
        packet.direction = Direction::Outbound as u8;
        if skb.ingress_ifindex != 0 {
            packet.flags |= flags::FORWARDED;
        }
    }
    if matches!(link, LinkHeader::None) {
        // Conversations inside a tunnel are not those outside.
        packet.key.scope = skb.ifindex as u16;
    }
    let bytes = Linear::new(context.data(), context.data_end(), length, &mut work.cursor);
    packet.parse(&bytes, link);
    match hook {
        Hook::Egress => judge::outbound(context.skb.skb, hook),
        _ => judge::inbound(hook),
    }
}
