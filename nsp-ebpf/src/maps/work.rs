//! Where a program works on its packet.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use nsp_common::{
    decide::Decision,
    event::{Event, Record},
    flow::Proven,
    generation::Generation,
    packet::Packet,
};

/// What a program works on: too large for its stack of 512 bytes.
#[repr(C)]
pub(crate) struct Work {
    /// The packet being judged.
    pub(crate) packet: Packet,
    /// The generation that judges it.
    pub(crate) generation: Generation,
    /// When: coarse monotonic ns.
    pub(crate) now_ns: u64,
    /// The tick of the kernel in which that was read.
    pub(crate) tick: u64,
    /// Its record's key, as an event.
    pub(crate) event: Event,
    /// The record it would begin.
    pub(crate) record: Record,
    /// What was decided of it.
    pub(crate) decision: Decision,
    /// The [`nsp_common::generation::Epoch`] of its record.
    pub(crate) epoch: u64,
    /// The slot of the generation.
    pub(crate) slot: u32,
    /// What the live overlay has.
    pub(crate) overlay: u32,
    /// The half of the filter of conversations that is read.
    pub(crate) filter_half: u32,
    /// The conversation to be judged anew, and what came of it; then on its way to the proven.
    pub(crate) entry: Proven,
    /// Whether it was, as one of [`anew`].
    pub(crate) anew: u32,
    /// One when it has no access record of its own: none is looked for, or none was found or begun.
    pub(crate) collapsed: u32,
    /// The cgroups of a sender that is only described.
    pub(crate) cgroups: [u64; 8],
    /// Where the parser forgets offsets.
    pub(crate) cursor: u32,
    /// The socket that it goes out by, or zero.
    pub(crate) cookie: u64,
}

/// What became of a conversation that was judged anew.
pub(crate) mod anew {
    /// It was not.
    pub(crate) const NOT: u32 = 0;
    /// It goes on.
    pub(crate) const LIVES: u32 = 1;
    /// It is over.
    pub(crate) const OVER: u32 = 2;
}

/// One work place a program, for programs of different hooks may interrupt each other on a
/// processor. A map's memory has another use: the verifier forgets how each field came about and
/// does not walk every way of the parser twice.
#[btf_map]
static SCRATCH: PerCpuArray<Work, 6> = PerCpuArray::new();

/// Tasks of this processor that are in the hooks of the cgroups, by [`Hook`].
#[btf_map]
static CALLERS: PerCpuArray<u64, 6> = PerCpuArray::new();

/// Who uses a scratch place.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Hook {
    Xdp = 0,
    Ingress = 1,
    Egress = 2,
    Explain = 3,
    Call = 4,
    Send = 5,
}

impl Hook {
    /// Whether the programs of a hook, by its number, run with bottom halves off, as all of a device's do
    /// (net/core/dev.c): on their processor they come one after the other, and programs of the cgroups,
    /// which they may interrupt, never come between two instructions of theirs.
    #[inline(always)]
    pub(crate) const fn is_alone(hook: u32) -> bool {
        hook <= Self::Egress as u32
    }
}

/// The work place of a hook, its packet emptied.
#[inline(always)]
pub(crate) fn scratch(hook: Hook) -> Option<&'static mut Work> {
    let work = work(hook as u32)?;
    work.packet.clear();
    work.cookie = 0;
    Some(work)
}

/// The work place of a [`Hook`] by its number, as it is. Whoever had it before has let it go.
#[inline(always)]
pub(crate) fn work(hook: u32) -> Option<&'static mut Work> {
    let pointer = SCRATCH.get_ptr_mut(hook)?;
    // SAFETY: per-processor memory of the map's value type; programs of one hook do not interrupt
    // each other (those of the cgroups see to it themselves), so nobody else holds it.
    // The compiler is told how it is aligned, or it reads addresses byte by byte.
    unsafe {
        core::hint::assert_unchecked(pointer.addr() % align_of::<Work>() == 0);
        Some(&mut *pointer)
    }
}

/// The count of this processor's tasks in a hook of the cgroups.
#[inline(always)]
pub(crate) fn callers(hook: Hook) -> Option<*mut u64> {
    CALLERS.get_ptr_mut(hook as u32)
}
