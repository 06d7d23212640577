//! What became of the access records that were taken out of the kernel's tables: kept where it outlives the
//! agent, so that what a killed one had in its hands is counted as lost.
//!
//! Three sums of packets, each of which only grows: those whose records are about to be taken, those taken, and
//! those told (written, or of a category that is not logged). What was taken and never told is lost. Each is
//! one word, and changes by one store: a kill between two of them is between two true states. (But for the
//! moment between the write of a batch and the word that says so: a kill there counts it as lost, too.)

use std::{
    mem::offset_of,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nsp_common::pinned::Pinned;

use super::mapped::Mapped;

/// The sums.
#[derive(Clone)]
pub struct Ledger(Arc<Mapped>);

impl Ledger {
    pub(super) fn of(layout: Arc<Mapped>) -> Self {
        Self(layout)
    }

    fn taking(&self) -> &AtomicU64 {
        self.0.word(0, offset_of!(Pinned, taking) / 8)
    }

    fn taken(&self) -> &AtomicU64 {
        self.0.word(0, offset_of!(Pinned, taken) / 8)
    }

    fn told(&self) -> &AtomicU64 {
        self.0.word(0, offset_of!(Pinned, told) / 8)
    }

    /// Records of so many packets are about to be taken.
    pub(super) fn begin(&self, packets: u64) {
        self.taking().store(self.taken().load(Ordering::Acquire) + packets, Ordering::Release);
    }

    /// They are taken, but for those of so many packets.
    pub(super) fn took(&self, left: u64) {
        self.taken().store(self.taking().load(Ordering::Acquire) - left, Ordering::Release);
        self.taking().store(self.taken().load(Ordering::Acquire), Ordering::Release);
    }

    /// An agent was killed while it took records; those of so many packets are still there.
    pub(super) fn resume(&self, left: u64) {
        let about_to_be =
            self.taking().load(Ordering::Acquire) - self.taken().load(Ordering::Acquire);
        if about_to_be != 0 {
            self.took(left.min(about_to_be));
        }
    }

    /// Records of so many packets are written.
    pub fn tell(&self, packets: u64) {
        self.told().fetch_add(packets, Ordering::AcqRel);
    }

    /// Packets whose records were taken and not told, ever. While records are on their way these are among
    /// them.
    pub fn untold(&self) -> u64 {
        let (taken, told) =
            (self.taken().load(Ordering::Acquire), self.told().load(Ordering::Acquire));
        taken.saturating_sub(told)
    }
}
