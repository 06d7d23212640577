//! XDP: what comes in, before the stack sees it.

use core::cell::Cell;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS},
        xdp_md,
    },
    helpers::generated::bpf_xdp_get_buff_len,
    macros::xdp,
    programs::XdpContext,
};
use nsp_common::{
    net::{Bytes, eth::LinkHeader},
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
            hear(context.ctx);
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
    packet.direction = Direction::Inbound as u8;
    packet.ifindex = context.ingress_ifindex() as u32;
    let (data, end) = (context.data(), context.data_end());
    let length = (end - data) as u32;
    let first = Linear::new(data, end, length, &mut work.cursor);
    let frame = Pieces { first, context: context.ctx, length: Cell::new(length) };
    packet.parse(&frame, LinkHeader::Ethernet);
    0
}

/// A frame that may go on behind its first piece. How long it is costs a call, so the kernel is asked when
/// a header says that it is longer; else it counts as long as its first piece.
struct Pieces {
    first: Linear,
    context: *mut xdp_md,
    /// As far as is known.
    length: Cell<u32>,
}

impl Bytes for Pieces {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length.get()
    }

    #[inline(always)]
    fn reaches(&self, end: u32) -> bool {
        if end <= self.length.get() {
            return true;
        }
        // SAFETY: the context is the kernel's own.
        let whole = unsafe { bpf_xdp_get_buff_len(self.context) } as u32;
        self.length.set(whole);
        end <= whole
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.first.read(offset)
    }

    #[inline(always)]
    fn forget(&self, offset: u32) -> u32 {
        self.first.forget(offset)
    }
}

/// Learns from all that the packet says.
#[inline(always)]
fn hear(context: *mut xdp_md) {
    if !dns::concerns(Hook::Xdp) {
        return;
    }
    for _ in 0..dns::MESSAGES_MAX {
        if nsp_hear_xdp(context) == 0 {
            return;
        }
    }
}

/// Learns from a packet of a resolver, if it is an answer that does teach.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_hear_xdp(context: *mut xdp_md) -> u32 {
    u32::from(dns::hear(Hook::Xdp as u32, &Frame(context)))
}
