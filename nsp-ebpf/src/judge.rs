//! The halves of the decision and what follows it, as functions that the verifier checks by
//! themselves.
//!
//! A program's parser, the decision and the report each have tens of ways through. In one piece the
//! verifier would walk their product, beyond its million instructions; functions with global linkage
//! (kernel 5.6) are checked once each, and their stacks share the 512 bytes only with their callers'.
//! They share the hook's work place and nothing else. Each looks it up by itself: the verifier of 6.1 takes no key of a map from memory that comes as an argument.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_coarse_ns, generated::bpf_skb_pull_data},
};
use nsp_common::{
    decide::{
        Decision, Followed, LAPSED, Step, Tables, Whose, allowed, blocked, follow, key_of, lapse,
        overlaid, rejudge, settle, settle_by, weigh,
    },
    flow::{FlowKey, standing},
    generation::{Current, association, flags as generation_flags},
    net::protocol,
    packet::{Packet, flags as packet_flags},
    verdict::{Direction, Reason, TrafficClass, Verdict},
};

use crate::{
    barrier,
    dns::{self, Buffer},
    flow,
    maps::{self, Hook, Work, anew},
    ranges, report,
    sender::{Caller, Described, NoSender, Sender, Socket, nearest_association, resolving_bits},
    tables::{Live, observe},
};

/// What [`nsp_settle`] answers: [`Step`] without its fields, which lie in the work place's decision.
mod step {
    pub(super) const DECIDED: u32 = 0;
    pub(super) const REFUSED: u32 = 1;
    pub(super) const UNCLASSIFIABLE: u32 = 2;
    pub(super) const UNDECIDED: u32 = 3;
    pub(super) const LATER: u32 = 4;
}

/// What [`nsp_follow`] answers; the decision lies in the work place.
pub(crate) mod followed {
    pub(crate) const NOTHING: u32 = 0;
    pub(crate) const BY: u32 = 1;
    pub(crate) const LATER: u32 = 2;
}

/// The first half of the decision. What a conversation stands for in a new generation is judged in between,
/// by a function beside the others and not below them: together they would need more than the stack.
#[inline(always)]
fn settled(hook: Hook) -> u32 {
    let hook = hook as u32;
    let answer = nsp_settle(hook, 0);
    if answer != step::LATER {
        return answer;
    }
    nsp_rejudge(hook);
    nsp_rejudged(hook);
    nsp_settle(hook, 1)
}

/// The first half of the decision, for packets of every kind; `again` when their conversation was judged
/// anew, by the same generation.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_settle(hook: u32, again: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return step::DECIDED };
    if again == 0 {
        observe(work);
    }
    let mut tables = Live::of(NoSender, hook, work);
    let (reason, class, answer) = match settle(&work.packet, &mut tables, &work.generation) {
        Step::Decided(decision) => {
            work.decision = decision;
            return step::DECIDED;
        }
        Step::Refused(reason, class) => (reason, class, step::REFUSED),
        Step::Unclassifiable(reason, class) => (reason, class, step::UNCLASSIFIABLE),
        Step::Undecided => {
            ranges::ask_root(work);
            return step::UNDECIDED;
        }
        Step::Later => return step::LATER,
    };
    work.decision.reason = reason;
    work.decision.class = class;
    answer
}

/// The second half for a packet that comes in, and its conclusion ([`nsp_report`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_weigh_inbound(hook: u32, answer: u32) -> u32 {
    if answer == step::UNDECIDED
        && let Some(work) = maps::work(hook)
    {
        ranges::ask_node(work);
    }
    weigh_by(hook, answer, NoSender);
    barrier::forget();
    let Some(work) = maps::work(hook) else { return Verdict::Pass as u32 };
    report::conclude(work, hook) as u32
}

/// The second half, for a packet that goes out.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_weigh_outbound(skb: *mut __sk_buff, hook: u32, answer: u32) -> u32 {
    weigh_by(hook, answer, Socket(skb))
}

/// The second half, for a call of the current process.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_weigh_call(hook: u32, answer: u32) -> u32 {
    weigh_by(hook, answer, Caller)
}

/// The second half, for a packet that is only described.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_weigh_described(hook: u32, answer: u32) -> u32 {
    weigh_by(hook, answer, Described(hook))
}

#[inline(always)]
fn weigh_by<S: Sender>(hook: u32, answer: u32, sender: S) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let (reason, class) = (work.decision.reason, work.decision.class);
    let step = match answer {
        step::REFUSED => Step::Refused(reason, class),
        step::UNCLASSIFIABLE => Step::Unclassifiable(reason, class),
        _ => Step::Undecided,
    };
    let mut tables = Live::of(sender, hook, work);
    work.decision = weigh(step, &work.packet, &mut tables, &work.generation);
    0
}

/// Both halves for a packet that is only described; nothing is written.
#[inline(always)]
pub(crate) fn described(hook: Hook) {
    let answer = settled(hook);
    if answer != step::DECIDED {
        nsp_weigh_described(hook as u32, answer);
    }
}

/// Finds the packet's conversation, or the one its ICMP error is about, judges it anew where the
/// policy has changed, and ages it. Answers zero when there is none; what it stands for lies in the
/// work place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_follow(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let mut tables = Live::of(NoSender, hook, work);
    match follow(&work.packet, &mut tables, &work.generation) {
        Followed::By(decision) => {
            work.decision = decision;
            followed::BY
        }
        Followed::Nothing => followed::NOTHING,
        Followed::Later => followed::LATER,
    }
}

/// Judges the conversation in the work place anew.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_rejudge(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let tables = Live::of(NoSender, hook, work);
    let lives = {
        let Work { packet, entry, generation, .. } = work;
        rejudge(followed_key(packet), &mut entry.flow, &tables, generation)
    };
    work.anew = if lives { anew::LIVES } else { anew::OVER };
    0
}

/// Writes what came of it to its entry.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_rejudged(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let mut tables = Live::of(NoSender, hook, work);
    let key = followed_key(&work.packet);
    tables.find(key);
    if work.anew == anew::LIVES {
        tables.rejudged(&work.entry.flow);
    } else {
        tables.forget(key);
    }
    0
}

/// The conversation that a packet belongs to, or that its ICMP error is about.
#[inline(always)]
fn followed_key(packet: &Packet) -> &FlowKey {
    if packet.has(packet_flags::ICMP_ERROR) { &packet.inner } else { &packet.key }
}

/// An association and who opens, as one number that a function takes.
#[inline(always)]
pub(crate) const fn number_of(whose: Whose) -> u32 {
    whose.association as u32 | (whose.opener as u32) << 16
}

#[inline(always)]
const fn whose(number: u32, name: u32) -> Whose {
    let opener = if number >> 16 & 1 == 0 { Direction::Inbound } else { Direction::Outbound };
    Whose { association: number as u16, opener, name }
}

/// The identity of the entry of the live overlay that blocks the conversation of the packet in the work
/// place, or zero.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_blocked(hook: u32, number: u32, name: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let tables = Live::of(NoSender, hook, work);
    blocked(key_of(&work.packet), whose(number, name), &tables)
}

/// The identity of the entry of the live overlay that allows the conversation of the packet in the work
/// place, or zero; in the upper half the name that it does by.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_allowed(hook: u32, number: u32, name: u32) -> u64 {
    let Some(work) = maps::work(hook) else { return 0 };
    let tables = Live::of(NoSender, hook, work);
    let allowed = allowed(key_of(&work.packet), whose(number, name), &tables);
    u64::from(allowed.rule) | u64::from(allowed.name) << 32
}

/// What the live overlay says of the conversation in the work place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_overlaid(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    let tables = Live::of(NoSender, hook, work);
    let key = key_of(&work.packet);
    // `follow` put it there.
    let said = overlaid(key, &work.entry.flow, &tables);
    if said & LAPSED != 0 && !work.entry.flow.stands(standing::ENFORCED) && !tables.is_dry() {
        let found = maps::flow(key);
        if !found.flow.is_null() {
            lapse(&mut work.entry.flow);
            flow::settle(found.flow, &work.entry.flow);
        }
    }
    settle_by(&mut work.decision, said, &work.packet);
    0
}

/// Moves the conversation in the work place to the proven. By itself, for its stack's sake: what is
/// not open at the same time shares the 512 bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_promote(hook: u32) -> u32 {
    if let Some(work) = maps::work(hook) {
        flow::promote(work);
    }
    0
}

/// Counts, records and tracks what was decided; answers the verdict as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_report(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return Verdict::Pass as u32 };
    report::conclude(work, hook) as u32
}

/// Adds the packet to the record whose key lies in the work place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_record(hook: u32) -> u32 {
    if let Some(work) = maps::work(hook) {
        report::record(work, Hook::is_alone(hook));
    }
    0
}

/// Decides about the packet in the hook's work place, which comes in, and concludes.
#[inline(always)]
pub(crate) fn inbound(hook: Hook) -> Verdict {
    let answer = settled(hook);
    verdict(match answer {
        step::DECIDED => nsp_report(hook as u32),
        _ => nsp_weigh_inbound(hook as u32, answer),
    })
}

/// Decides about the packet in the hook's work place, which goes out, and concludes.
#[inline(always)]
pub(crate) fn outbound(skb: *mut __sk_buff, hook: Hook) -> Verdict {
    outbound_only(skb, hook);
    // Functions are called for what the policy has: a call costs more than to look.
    if maps::work(hook as u32).is_some_and(|work| dns::is_strict(work)) {
        nsp_strict_skb(skb);
    }
    verdict(nsp_report(hook as u32))
}

/// Decides about the packet in the hook's work place, which goes out. It is not concluded.
#[inline(always)]
pub(crate) fn outbound_only(skb: *mut __sk_buff, hook: Hook) {
    let answer = settled(hook);
    if answer != step::DECIDED {
        nsp_weigh_outbound(skb, hook as u32, answer);
    }
    if maps::work(hook as u32).is_some_and(|work| work.generation.has(generation_flags::ALONE)) {
        nsp_hold_alone(skb, hook as u32);
    }
}

/// Who has a perimeter of its own sends nothing by a conversation, or from a port, of somebody else's.
/// What a listener answers by TCP is the host's to judge.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_hold_alone(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    if work.packet.key.protocol == protocol::TCP
        || !matches!(work.decision.verdict, Verdict::Pass)
        || !matches!(work.decision.class, TrafficClass::Public | TrafficClass::Private)
    {
        return 0;
    }
    let number = nsp_association_socket(skb, work.slot) as u16;
    let entry = maps::association(work.slot, number);
    if number != work.decision.association
        && entry.has(association::ALONE | association::ENFORCED_OUTBOUND)
    {
        work.decision = Decision::outside(number);
    }
    0
}

/// The association of a socket's cgroup if it has a perimeter of its own, or zero. Nothing is needed for the
/// answer but the socket: it is asked for where there is no work place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_is_alone_socket(skb: *mut __sk_buff) -> u32 {
    is_alone(|slot| nsp_association_socket(skb, slot))
}

/// The same of the process that calls.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_is_alone_caller() -> u32 {
    is_alone(|slot| nsp_association_caller(slot))
}

#[inline(always)]
fn is_alone(association_in: impl FnOnce(u32) -> u32) -> u32 {
    let Some(control) = maps::control() else { return 0 };
    // SAFETY: a helper without arguments.
    let slot = Current(control.current).slot(unsafe { bpf_ktime_get_coarse_ns() });
    if !maps::generation(slot).has(generation_flags::ALONE) {
        return 0;
    }
    let number = association_in(slot);
    let entry = maps::association(slot, number as u16);
    if entry.has(association::ALONE | association::ENFORCED_OUTBOUND) { number } else { 0 }
}

/// The association of a socket's cgroup in a slot, or zero.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_association_socket(skb: *mut __sk_buff, slot: u32) -> u32 {
    u32::from(nearest_association(&Socket(skb), slot))
}

/// The same of the process that calls.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_association_caller(slot: u32) -> u32 {
    u32::from(nearest_association(&Caller, slot))
}

/// The same of a sender that is only described.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_association_described(hook: u32, slot: u32) -> u32 {
    u32::from(nearest_association(&Described(hook), slot))
}

/// What the cgroups of a socket resolve for others ([`nsp_common::link::resolving`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_resolving_socket(skb: *mut __sk_buff) -> u32 {
    resolving_bits(&Socket(skb))
}

/// The same of the process that calls.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_resolving_caller() -> u32 {
    resolving_bits(&Caller)
}

/// The same of a sender that is only described.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_resolving_described(hook: u32) -> u32 {
    resolving_bits(&Described(hook))
}

/// Refuses a question that strict DNS does not let out, at TC.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_strict_skb(skb: *mut __sk_buff) -> u32 {
    let hook = Hook::Egress as u32;
    // What a host that routes lets through is nobody's question here.
    let Some(work) = maps::work(hook) else { return 0 };
    if matches!(work.decision.reason, Reason::Forwarded) {
        return 0;
    }
    // Beyond the linear part lie pages that may still be the sender's (MSG_ZEROCOPY, splice): they would
    // be written again behind the judge's back. What is pulled is a copy; what cannot be, is not read.
    // SAFETY: the context is the kernel's own; nobody holds a pointer into the packet.
    if unsafe { bpf_skb_pull_data(skb, work.packet.end) } != 0 {
        work.packet.end = work.packet.payload;
    }
    u32::from(dns::is_refused(hook, Socket(skb), &Buffer(skb)))
}

/// Decides about the call in the hook's work place. It is not concluded: most calls become packets.
#[inline(always)]
pub(crate) fn call(hook: Hook) {
    let answer = settled(hook);
    if answer != step::DECIDED {
        nsp_weigh_call(hook as u32, answer);
    }
}

#[inline(always)]
fn verdict(number: u32) -> Verdict {
    if number == Verdict::Drop as u32 { Verdict::Drop } else { Verdict::Pass }
}
