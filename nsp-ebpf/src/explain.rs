//! The dry entry point: judges a packet that is only described, and writes nothing but the answer.
//!
//! Run by `BPF_PROG_TEST_RUN` with a [`Question`] as the packet's bytes.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC, helpers::generated::bpf_skb_load_bytes, macros::classifier,
    programs::TcContext,
};
use nsp_common::explain::{Answer, Question};

use crate::{
    barrier, judge,
    maps::{self, Hook},
};

/// Answers in place; the action code says nothing.
#[classifier]
fn nsp_explain(context: TcContext) -> i32 {
    let _answered = answer(&context);
    TC_ACT_UNSPEC
}

#[inline(always)]
fn answer(context: &TcContext) -> Option<()> {
    let work = maps::scratch(Hook::Explain)?;
    load(context, offset_of!(Question, packet), &mut work.packet)?;
    load(context, offset_of!(Question, cgroups), &mut work.cgroups)?;
    judge::described(Hook::Explain);
    barrier::forget();
    let start = context.data();
    if start + size_of::<Answer>() > context.data_end() {
        return None;
    }
    // SAFETY: the comparison above put the whole answer before data_end; it is plain integers, and
    // the test run's buffer is aligned for them. The bytes of the question are written over.
    let answer = unsafe { &mut *(start as *mut Answer) };
    answer.fill(&work.decision, work.generation.number);
    Some(())
}

/// Copies a part of the question by the kernel's helper: the compiler would do it by way of the
/// stack, of which the functions that judge need all there is.
#[inline(always)]
fn load<T>(context: &TcContext, offset: usize, to: &mut T) -> Option<()> {
    let to = core::ptr::from_mut(to).cast();
    // SAFETY: `to` is valid for as many bytes, plain integers whatever they are.
    let result = unsafe {
        bpf_skb_load_bytes(context.skb.skb.cast(), offset as u32, to, size_of::<T>() as u32)
    };
    (result == 0).then_some(())
}
