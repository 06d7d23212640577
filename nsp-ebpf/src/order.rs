//! The entry points for the agent's orders: conversations that were live before, those to be cut, the
//! clock; and addresses that the agent has resolved itself.
//!
//! Run by `BPF_PROG_TEST_RUN` with an [`Order`] or a [`Teaching`] as the packet's bytes; the result is
//! the answer.

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, macros::classifier, programs::TcContext};
use nsp_common::{
    address::Family,
    flow::{CUT, Flow, FlowKey, Proven},
    order::{Action, Order, Teach, Teaching, outcome},
    verdict::Lesson,
};

use crate::{ageing, maps, teach};

/// Carries an order out.
#[classifier]
fn nsp_order(context: TcContext) -> i32 {
    let start = context.data();
    if start + size_of::<Order>() > context.data_end() {
        return outcome::UNREADABLE;
    }
    // SAFETY: the comparison above put the whole order before data_end; it is plain integers, and
    // the test run's buffer is aligned for them.
    let order = unsafe { &*(start as *const Order) };
    let (key, flow, action) = (order.key, order.flow, order.action);
    if action == Action::Keep as u32 {
        keep(&key, flow)
    } else if action == Action::Cut as u32 {
        cut(&key)
    } else {
        ageing::begin()
    }
}

#[inline(always)]
fn keep(key: &FlowKey, flow: Flow) -> i32 {
    maps::remove_proven(key);
    maps::put_proven(key, &mut Proven { flow, place: 0, _pad: 0 })
}

/// Twice: what is promoted between was copied before the first, and is in another table at the second.
#[inline(always)]
fn cut(key: &FlowKey) -> i32 {
    let mut answer = outcome::NONE;
    for _ in 0..2 {
        let found = maps::flow(key);
        if found.flow.is_null() {
            return answer;
        }
        // SAFETY: a map value, not null. A byte that nobody else writes.
        unsafe { (*found.flow).opener |= CUT };
        answer = outcome::DONE;
    }
    answer
}

/// Learns or forgets an address for the agent.
#[classifier]
fn nsp_teach(context: TcContext) -> i32 {
    let start = context.data();
    if start + size_of::<Teaching>() > context.data_end() {
        return Lesson::Malformed as i32;
    }
    // SAFETY: as above; read without asking for alignment.
    let teaching = unsafe { (start as *const Teaching).read_unaligned() };
    let Teaching { address, family, unit, expires_s, action } = teaching;
    let family = if family == Family::V4 as u32 { Family::V4 } else { Family::V6 };
    // SAFETY: a helper without arguments.
    let now_s = (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32;
    if action == Teach::Learn as u32 {
        return teach::teach(&address, family, unit, expires_s, now_s) as i32;
    }
    if action == Teach::Forget as u32 {
        teach::forget(&address, family, unit.name);
    } else {
        teach::sweep(&address, family, now_s);
    }
    Lesson::Learned as i32
}
