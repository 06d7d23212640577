//! XDP: what comes in, before the stack sees it.

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS},
        xdp_md,
    },
    macros::xdp,
    programs::XdpContext,
};
use nsp_common::{
    net::eth::LinkHeader,
    verdict::{Direction, Verdict},
};

use crate::{
    dns::{self, Frame},
    judge,
    maps::{self, Hook},
    packet::Linear,
};

/// Native or generic XDP on an Ethernet device. Pass leaves the frame to the next program.
#[xdp(frags)]
fn nsp_xdp(context: XdpContext) -> u32 {
    nsp_parse_xdp(context.ctx);
    match judge::inbound(Hook::Xdp) {
        Verdict::Pass => {
            for _ in 0..dns::MESSAGES_MAX {
                if nsp_hear_xdp(context.ctx) == 0 {
                    break;
                }
            }
            XDP_PASS
        }
        Verdict::Drop => XDP_DROP,
    }
}

/// Reads the frame into the hook's work place. By itself, as in `tc.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_parse_xdp(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    let Some(work) = maps::scratch(Hook::Xdp) else { return 0 };
    let packet = &mut work.packet;
    // SAFETY: the context is the kernel's own.
    let length = unsafe { aya_ebpf::helpers::generated::bpf_xdp_get_buff_len(context.ctx) } as u32;
    packet.direction = Direction::Inbound as u8;
    packet.ifindex = context.ingress_ifindex() as u32;
    let bytes = Linear::new(context.data(), context.data_end(), length, &mut work.cursor);
    packet.parse(&bytes, LinkHeader::Ethernet);
    0
}

/// Learns from the packet, if it is an answer that does teach.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_hear_xdp(context: *mut xdp_md) -> u32 {
    let hook = Hook::Xdp as u32;
    let concerns = maps::work(hook).is_some_and(|work| dns::concerns(work));
    u32::from(concerns && dns::hear(hook, &Frame(context)))
}
