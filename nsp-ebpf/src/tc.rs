//! TC: what goes out, and what comes in where the driver has no XDP or frames have no link header.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_skb_ancestor_cgroup_id,
    macros::classifier,
    programs::TcContext,
};
use nsp_common::{
    decide::decide,
    net::eth::LinkHeader,
    packet::flags,
    verdict::{Direction, Verdict},
};

use crate::{
    maps::{self, Hook},
    packet::Linear,
    report,
    tables::{Live, NoSender, Sender},
};

/// Headers the parser may want: link, tags, IPv6, a few extension headers, transport.
const HEADERS: u32 = 256;

/// TC ingress on an Ethernet device.
#[classifier]
fn nsp_ingress(context: TcContext) -> i32 {
    action(judge(&context, Hook::Ingress, LinkHeader::Ethernet, NoSender))
}

/// TC egress on an Ethernet device.
#[classifier]
fn nsp_egress(context: TcContext) -> i32 {
    let sender = Socket(context.skb.skb);
    action(judge(&context, Hook::Egress, LinkHeader::Ethernet, sender))
}

/// TC ingress on a device without link header.
#[classifier]
fn nsp_ingress_bare(context: TcContext) -> i32 {
    action(judge(&context, Hook::Ingress, LinkHeader::None, NoSender))
}

/// TC egress on a device without link header.
#[classifier]
fn nsp_egress_bare(context: TcContext) -> i32 {
    let sender = Socket(context.skb.skb);
    action(judge(&context, Hook::Egress, LinkHeader::None, sender))
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
fn judge<S: Sender>(context: &TcContext, hook: Hook, link: LinkHeader, sender: S) -> Verdict {
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
    packet.parse(&Linear::new(context.data(), context.data_end(), length), link);
    let mut tables = Live::new(sender, false);
    let decision = decide(packet, &mut tables);
    report::conclude(work, &decision, &tables)
}

/// The socket a packet goes out by.
struct Socket(*mut aya_ebpf::bindings::__sk_buff);

impl Sender for Socket {
    #[inline(always)]
    fn ancestor_cgroup(&self, level: i32) -> u64 {
        // SAFETY: the context is the kernel's own; the helper answers zero without a socket.
        unsafe { bpf_skb_ancestor_cgroup_id(self.0, level) }
    }
}
