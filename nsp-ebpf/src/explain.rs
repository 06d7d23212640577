//! The dry entry point: judges a packet that is only described, and writes nothing but the answer.
//!
//! Run by `BPF_PROG_TEST_RUN` with a [`Question`] as the packet's bytes.

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
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
    let start = context.data();
    if start + size_of::<Question>() > context.data_end() {
        return None;
    }
    // SAFETY: the comparison above put the whole question before data_end; it is plain integers,
    // and the test run's buffer is aligned for them.
    let question = unsafe { &*(start as *const Question) };
    let work = maps::scratch(Hook::Explain)?;
    work.packet = question.packet;
    work.cgroups = question.cgroups;
    judge::nsp_decide_described(Hook::Explain as u32);
    barrier::forget();
    let answer = Answer::of(&work.decision, work.generation);
    if start + size_of::<Answer>() > context.data_end() {
        return None;
    }
    // SAFETY: as above; the bytes of the question are written over.
    unsafe { *(start as *mut Answer) = answer };
    Some(())
}
