//! The two halves of judging, as functions that the verifier checks by themselves.
//!
//! A program's parser, the decision and the report each have tens of ways through. In one piece the
//! verifier would walk their product, beyond its million instructions; functions with global linkage
//! (kernel 5.6) are checked once each. They share a packet's [`Work`] and nothing else.

use aya_ebpf::bindings::__sk_buff;
use nsp_common::{
    decide::{FlowAction, decide},
    verdict::Verdict,
};

use crate::{
    flow,
    maps::Work,
    report,
    tables::{Live, NoSender, Sender, Socket},
};

/// Decides about a packet that comes in.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_decide_inbound(work: *mut Work) -> u32 {
    decide_by(work, NoSender)
}

/// Decides about a packet that goes out.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_decide_outbound(skb: *mut __sk_buff, work: *mut Work) -> u32 {
    decide_by(work, Socket(skb))
}

/// Counts, records and tracks what was decided; answers the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_report(work: *mut Work) -> u32 {
    // SAFETY: null or a whole work place: the verifier insists on it at every call.
    let Some(work) = (unsafe { work.as_mut() }) else { return Verdict::Pass as u32 };
    report::conclude(work) as u32
}

#[inline(always)]
fn decide_by<S: Sender>(work: *mut Work, sender: S) -> u32 {
    // SAFETY: as in `nsp_report`.
    let Some(work) = (unsafe { work.as_mut() }) else { return 0 };
    let mut tables = Live::new(sender, false);
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

/// Both halves for a packet that comes in.
#[inline(always)]
pub(crate) fn inbound(work: &mut Work) -> Verdict {
    nsp_decide_inbound(work);
    verdict(nsp_report(work))
}

/// Both halves for a packet that goes out.
#[inline(always)]
pub(crate) fn outbound(skb: *mut __sk_buff, work: &mut Work) -> Verdict {
    nsp_decide_outbound(skb, work);
    verdict(nsp_report(work))
}

#[inline(always)]
fn verdict(number: u32) -> Verdict {
    if number == Verdict::Drop as u32 { Verdict::Drop } else { Verdict::Pass }
}
