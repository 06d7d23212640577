//! The entry point for the agent's orders: conversations that were live before, and those to be cut.
//!
//! Run by `BPF_PROG_TEST_RUN` with an [`Order`] as the packet's bytes; its result is the answer.

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, macros::classifier, programs::TcContext};
use nsp_common::{
    flow::standing,
    order::{Action, Order, outcome},
};

use crate::maps::{self, Unwound};

/// Carries an order out.
#[classifier]
fn nsp_order(context: TcContext) -> i32 {
    let start = context.data();
    if start + size_of::<Order>() > context.data_end() {
        return outcome::UNREADABLE;
    }
    // SAFETY: the comparison above put the whole order before data_end; it is plain integers, and
    // the test run's buffer is aligned for them.
    let order = unsafe { *(start as *const Order) };
    if order.action == Action::Keep as u32 { keep(&order) } else { cut(&order) }
}

#[inline(always)]
fn keep(order: &Order) -> i32 {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_coarse_ns() };
    let entry = Unwound { flow: order.flow, timer: [0; 2] };
    maps::remove_proven(&order.key);
    match maps::put_proven(&order.key, &entry, now_ns) {
        Ok(()) => outcome::DONE,
        Err(_) => outcome::FULL,
    }
}

#[inline(always)]
fn cut(order: &Order) -> i32 {
    let found = maps::flow(&order.key);
    if found.flow.is_null() {
        return outcome::NONE;
    }
    // SAFETY: a map value, not null. A packet that is judged anew at this instant keeps the bit or
    // is the last to pass.
    unsafe { (*found.flow).standing |= standing::CUT };
    outcome::DONE
}
