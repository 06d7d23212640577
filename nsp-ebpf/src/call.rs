//! Calls for a way out: a program that the perimeter will not let out learns so at once (`EPERM`),
//! and not by its own timeout minutes later.
//!
//! Nothing passes here that TC would not pass; what these hooks do not know (the device, a source
//! address that the kernel will choose) they leave to it. What they refuse is counted and recorded
//! as the packet that it would have been, of no length.

use aya_ebpf::{
    Global,
    bindings::bpf_sock_addr,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie},
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use nsp_common::{
    address::{Address, Family},
    decide::FlowAction,
    generation::association,
    learned::Caller,
    link::endpoint,
    net::protocol::{self, tcp},
    packet::flags,
    verdict::{Direction, Reason, Verdict},
};

use crate::{
    atomic::add as add_word,
    barrier,
    dns::{self, NoMessage},
    judge,
    maps::{self, Hook, Work},
    sender::Caller as CurrentTask,
    tables::observe,
};

/// The network namespace that the agent guards: cgroups know no namespaces, and every process of the
/// machine calls here. The agent sets it; zero is none.
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);
/// The agent's process, whose questions are about the policy's own names.
#[unsafe(no_mangle)]
static AGENT_PID: Global<u32> = Global::new(0);

const REFUSED: i32 = 0;
const GRANTED: i32 = 1;

#[cgroup_sock_addr(connect4)]
fn nsp_connect4(context: SockAddrContext) -> i32 {
    alone(Hook::Call, || call_v4(context.sock_addr), || judge::nsp_is_alone_caller() != 0)
}

#[cgroup_sock_addr(connect6)]
fn nsp_connect6(context: SockAddrContext) -> i32 {
    alone(Hook::Call, || call_v6(context.sock_addr), || judge::nsp_is_alone_caller() != 0)
}

/// Notes who sends by a socket that is not connected. Nothing is refused here (ADR 0010).
#[cgroup_sock_addr(sendmsg4)]
fn nsp_sendmsg4(context: SockAddrContext) -> i32 {
    nsp_note_caller(context.sock_addr);
    GRANTED
}

#[cgroup_sock_addr(sendmsg6)]
fn nsp_sendmsg6(context: SockAddrContext) -> i32 {
    nsp_note_caller(context.sock_addr);
    GRANTED
}

/// Judges one call at a time on each processor. Packets are judged where nobody comes between; a call
/// is made by a task, which another one may preempt, and both would have the same work place. Who
/// finds another at it leaves the call to TC; but who has a perimeter of its own is refused, for TC is not
/// everywhere that this hook is.
#[inline(always)]
pub(crate) fn alone(
    hook: Hook,
    judge: impl FnOnce() -> i32,
    is_held_alone: impl FnOnce() -> bool,
) -> i32 {
    let Some(callers) = maps::callers(hook) else { return GRANTED };
    // SAFETY: an aligned word of a map value, not null, and this processor's: a program does not
    // migrate. Only programs of these hooks change it, by whole additions.
    unsafe {
        add_word(callers, 1);
        let answer = if callers.read_volatile() == 1 {
            judge()
        } else if is_held_alone() {
            REFUSED
        } else {
            GRANTED
        };
        add_word(callers, u64::MAX);
        answer
    }
}

/// A call for an IPv4 address.
#[inline(always)]
fn call_v4(context: *mut bpf_sock_addr) -> i32 {
    let Some(work) = mine(context) else { return GRANTED };
    let packet = &mut work.packet;
    packet.key.family = Family::V4 as u8;
    // SAFETY: the context is the kernel's own, and so is the socket that it names, if it does. A word
    // at a time, as the verifier wants it.
    unsafe {
        packet.key.remote = Address::v4((*context).user_ip4.to_ne_bytes());
        packet.key.local = Address::v4([0; 4]);
        let socket = (*context).__bindgen_anon_1.sk;
        if !socket.is_null() {
            packet.key.local_port = (*socket).src_port as u16;
            packet.key.local = Address::v4((*socket).src_ip4.to_ne_bytes());
        }
    }
    call(context, work)
}

/// A call for an IPv6 address; for an IPv4 one, if it is in mapped form.
#[inline(always)]
fn call_v6(context: *mut bpf_sock_addr) -> i32 {
    let Some(work) = mine(context) else { return GRANTED };
    let packet = &mut work.packet;
    // SAFETY: as above. An address is aligned for words.
    unsafe {
        let remote: *mut u32 = (&raw mut packet.key.remote).cast();
        remote.write_volatile((&raw const (*context).user_ip6[0]).read_volatile());
        remote.add(1).write_volatile((&raw const (*context).user_ip6[1]).read_volatile());
        remote.add(2).write_volatile((&raw const (*context).user_ip6[2]).read_volatile());
        remote.add(3).write_volatile((&raw const (*context).user_ip6[3]).read_volatile());
        let socket = (*context).__bindgen_anon_1.sk;
        if !socket.is_null() {
            packet.key.local_port = (*socket).src_port as u16;
            let local: *mut u32 = (&raw mut packet.key.local).cast();
            local.write_volatile((&raw const (*socket).src_ip6[0]).read_volatile());
            local.add(1).write_volatile((&raw const (*socket).src_ip6[1]).read_volatile());
            local.add(2).write_volatile((&raw const (*socket).src_ip6[2]).read_volatile());
            local.add(3).write_volatile((&raw const (*socket).src_ip6[3]).read_volatile());
        }
    }
    barrier::forget();
    packet.key.family = if packet.key.remote.is_mapped() { Family::V4 } else { Family::V6 } as u8;
    call(context, work)
}

/// The place for a call of the network namespace that the agent guards; who calls is noted.
#[inline(always)]
fn mine(context: *mut bpf_sock_addr) -> Option<&'static mut Work> {
    let cookie = nsp_note_caller(context);
    if cookie == 0 {
        return None;
    }
    let work = maps::scratch(Hook::Call)?;
    work.cookie = cookie;
    Some(work)
}

/// Notes which process uses the socket of a call in the guarded network namespace; the socket's cookie, or
/// zero for one of another namespace. By itself for its stack's sake, as in `judge.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_note_caller(context: *mut bpf_sock_addr) -> u64 {
    // SAFETY: the context is the kernel's own.
    if unsafe { bpf_get_netns_cookie(context.cast()) } != NETNS_COOKIE.load() {
        return 0;
    }
    // SAFETY: as above.
    let cookie = unsafe { bpf_get_socket_cookie(context.cast()) };
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // A datagram of the same process is no news.
    if maps::caller(cookie).is_none_or(|known| known.pid != pid) {
        let comm = bpf_get_current_comm().unwrap_or([0; 16]);
        // SAFETY: a helper without arguments.
        let cgroup = unsafe { bpf_get_current_cgroup_id() };
        maps::set_caller(cookie, &Caller { cgroup, pid, _pad: 0, comm });
    }
    cookie
}

/// Whether the agent itself uses a socket.
#[inline(always)]
pub(crate) fn is_agent(cookie: u64) -> bool {
    let pid = AGENT_PID.load();
    cookie != 0 && pid != 0 && maps::caller(cookie).is_some_and(|caller| caller.pid == pid)
}

#[inline(always)]
fn call(context: *mut bpf_sock_addr, work: &mut Work) -> i32 {
    let packet = &mut work.packet;
    // SAFETY: as above.
    unsafe {
        packet.key.remote_port = u16::from_be((*context).user_port as u16);
        packet.key.protocol = (*context).protocol as u8;
    }
    // The C library connects UDP sockets to sort addresses, and sends nothing. Who does send is told so
    // then (`send.rs`).
    if packet.key.protocol != protocol::TCP {
        return GRANTED;
    }
    packet.direction = Direction::Outbound as u8;
    packet.flags = flags::ADDRESSED | flags::KEYED | flags::PORTS | flags::CALL;
    packet.hop_limit = 64;
    packet.tcp_flags = tcp::SYN;
    let mut is_unjudged = false;
    if nsp_strict_call(Hook::Call as u32) == 0 {
        if nsp_stays_here(Hook::Call as u32) != 0 {
            return GRANTED;
        }
        judge::call(Hook::Call);
        is_unjudged = nsp_leads_nowhere(Hook::Call as u32) != 0;
    }
    answer(Hook::Call, work, is_unjudged)
}

/// Tells a program what was decided, if it is to be told. Where no judged device leads, TC will not say
/// anything either, and only who has a perimeter of its own is judged.
#[inline(always)]
pub(crate) fn answer(hook: Hook, work: &mut Work, is_unjudged: bool) -> i32 {
    let is_told = if is_unjudged {
        let is_alone = is_alone(work);
        if is_alone && work.decision.would_deny {
            // Nobody else will see it, and it is to be known. There is no conversation to follow.
            work.decision.flow = FlowAction::None;
            judge::nsp_report(hook as u32);
        }
        is_alone && matches!(work.decision.verdict, Verdict::Drop)
    } else {
        fails_at_once(work)
    };
    if !is_told {
        return GRANTED;
    }
    judge::nsp_report(hook as u32);
    REFUSED
}

/// Whether it was judged by a perimeter of the sender's own.
#[inline(always)]
fn is_alone(work: &Work) -> bool {
    maps::association(work.slot, work.decision.association).has(association::ALONE)
}

/// Whether what was decided is told to the program now, and not by TC's silence. Where the agent is
/// about to learn a name whose answer came in pieces, silence is kinder: what is sent again in a second
/// passes.
#[inline(always)]
pub(crate) fn fails_at_once(work: &Work) -> bool {
    let silently =
        maps::association(work.slot, work.decision.association).has(association::DENIED_SILENTLY);
    let is_learning = matches!(work.decision.reason, Reason::NoRule)
        && work.now_ns.saturating_sub(maps::wanted_at()) < LEARNING_NS;
    // Of a question to a resolver on this host TC sees nothing: its silence would be an answer.
    let is_told = !silently || matches!(work.decision.reason, Reason::StrictDns);
    matches!(work.decision.verdict, Verdict::Drop) && is_told && !is_learning
}

/// How long the agent may take to ask for a name itself.
const LEARNING_NS: u64 = 3_000_000_000;

/// Whether the call is to this host. By itself for its stack's sake, as in `judge.rs`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_stays_here(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 1 };
    let (remote, family) = (&work.packet.key.remote, work.packet.ip_family());
    u32::from(
        remote.is_loopback(family)
            || remote.is_unspecified(family)
            || maps::endpoint(remote) & endpoint::OWN != 0,
    )
}

/// Whether the call is for DNS by TCP that strict DNS does not let out, also to a resolver on this host.
/// Questions by UDP are read when they are sent (`send.rs`).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_strict_call(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 0 };
    observe(work);
    u32::from(dns::is_strict(work) && dns::is_refused(hook, CurrentTask, &NoMessage))
}

/// Whether no judged device leads there: then TC does not judge it either, and only who has a perimeter of
/// its own is held back.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nsp_leads_nowhere(hook: u32) -> u32 {
    let Some(work) = maps::work(hook) else { return 1 };
    u32::from(maps::route_groups(&work.packet.key.remote, work.packet.ip_family()) == 0)
}
