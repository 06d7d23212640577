//! The kernel programs of NSP: thin shells around the decision in `nsp-common`.
//!
//! A program reads its context into a [`nsp_common::packet::Packet`], asks
//! [`nsp_common::decide::decide`], and leaves by [`report::conclude`], the one exit, which counts,
//! records and tracks the conversation. Only `xdp.rs`, `tc.rs`, `call.rs` and `send.rs` know action codes.
#![no_std]
#![no_main]
// The one instruction the library lacks, see atomic.rs.
#![feature(asm_experimental_arch)]

mod ageing;
mod atomic;
mod barrier;
#[cfg(feature = "bench")]
mod bench;
mod call;
mod count;
mod dns;
mod explain;
mod flow;
mod judge;
mod maps;
mod order;
mod packet;
mod ranges;
mod report;
mod send;
mod sender;
mod tables;
mod tc;
mod teach;
mod xdp;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never reached: the verifier refuses a program that could get here.
    loop {}
}

/// The kernel lends its GPL helpers to programs that declare a compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
