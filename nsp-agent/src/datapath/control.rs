//! The control entry and the clock that its words speak of, as the programs have them.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// Places of the words in [`nsp_common::generation::Control`].
pub(super) mod word {
    use std::mem::offset_of;

    use nsp_common::generation::Control;

    pub(in super::super) const CURRENT: usize = offset_of!(Control, current) / 8;
    pub(in super::super) const EPOCH: usize = offset_of!(Control, epoch) / 8;
    pub(in super::super) const OVERLAY: usize = offset_of!(Control, overlay) / 8;
    pub(in super::super) const FILTER_HALF: usize = offset_of!(Control, filter_half) / 8;
}

/// The clock of the programs: coarse monotonic ns.
pub fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
}

/// How far it goes on at once.
pub(super) fn tick_ns() -> u64 {
    nanoseconds(clock_getres(ClockId::MonotonicCoarse))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
