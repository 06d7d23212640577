//! The two halves of judging, as functions that the verifier checks by themselves.
//!
//! A program's parser, the decision and the report each have tens of ways through. In one piece the
//! verifier would walk their product, beyond its million instructions; functions with global linkage
//! (kernel 5.6) are checked once each. They share the hook's work place and nothing else. Each looks
//! it up by itself: the verifier of 6.1 takes no key of a map from memory that comes as an argument.

use aya_ebpf::bindings::__sk_buff;
use nsp_common::{
    decide::{FlowAction, decide, rejudge},
    packet::flags as packet_flags,
    verdict::Verdict,
};

use crate::{
    flow,
    maps::{self, Hook},
    report,
    tables::{Described, Live, NoSender, Sender, Socket},
};

/// Decides about a packet that comes in.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_decide_inbound(hook: u32) -> u32 {
    decide_by(hook, NoSender)
}

/// Decides about a packet that goes out.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_decide_outbound(skb: *mut __sk_buff, hook: u32) -> u32 {
    decide_by(hook, Socket(skb))
}

/// Decides about a packet that is only described.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_decide_described(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let mut tables = Live::new(Described(&raw const work.cgroups), hook, work);
    work.generation = tables.generation.number;
    work.decision = decide(&work.packet, &mut tables);
    0
}

/// Judges a conversation anew: the one of the packet, or the one an ICMP error is about. Answers
/// zero when it is to be forgotten; what became of it lies in the work place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_rejudge(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let tables = Live::again(work);
    let generation = tables.generation;
    let key = if work.packet.has(packet_flags::ICMP_ERROR) {
        &work.packet.inner
    } else {
        &work.packet.key
    };
    u32::from(rejudge(key, &mut work.flow, &tables, &generation))
}

/// Counts, records and tracks what was decided; answers the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_report(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return Verdict::Pass as u32 };
    report::conclude(work) as u32
}

#[inline(always)]
fn decide_by<S: Sender>(hook: u32, sender: S) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let mut tables = Live::new(sender, hook, work);
    work.generation = tables.generation.number;
    work.now_ns = tables.now_ns;
    work.odd_epoch = u32::from(tables.odd_epoch);
    work.decision = decide(&work.packet, &mut tables);
    if matches!(work.decision.flow, FlowAction::Touch)
        && matches!(work.decision.verdict, Verdict::Pass)
        && !tables.found.flow.is_null()
    {
        flow::touch(&work.packet, &tables);
    }
    0
}

/// Both halves for the packet in the hook's work place, which comes in.
#[inline(always)]
pub(crate) fn inbound(hook: Hook) -> Verdict {
    nsp_decide_inbound(hook as u32);
    verdict(nsp_report(hook as u32))
}

/// Both halves for the packet in the hook's work place, which goes out.
#[inline(always)]
pub(crate) fn outbound(skb: *mut __sk_buff, hook: Hook) -> Verdict {
    nsp_decide_outbound(skb, hook as u32);
    verdict(nsp_report(hook as u32))
}

#[inline(always)]
fn verdict(number: u32) -> Verdict {
    if number == Verdict::Drop as u32 { Verdict::Drop } else { Verdict::Pass }
}
