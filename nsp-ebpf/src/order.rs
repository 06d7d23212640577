//! The entry point for the agent's orders: conversations that were live before, those to be cut, and
//! the clock.
//!
//! Run by `BPF_PROG_TEST_RUN` with an [`Order`] as the packet's bytes; its result is the answer.

use aya_ebpf::{macros::classifier, programs::TcContext};
use nsp_common::{
    flow::{Flow, FlowKey, Proven, standing},
    order::{Action, Order, outcome},
};

use crate::{ageing, maps};

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

#[inline(always)]
fn cut(key: &FlowKey) -> i32 {
    let found = maps::flow(key);
    if found.flow.is_null() {
        return outcome::NONE;
    }
    // SAFETY: a map value, not null. A packet that is judged anew at this instant keeps the bit or
    // is the last to pass.
    unsafe { (*found.flow).standing |= standing::CUT };
    outcome::DONE
}
