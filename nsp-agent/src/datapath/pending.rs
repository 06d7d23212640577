//! A generation that waits to be confirmed: the kernel itself goes back to the one before when its time is over.
//!
//! The control word says until when ([`Current::until`]), and each packet compares that with the clock, so it
//! makes no difference whether an agent lives. Until then the slot before is not written.

use std::sync::atomic::Ordering;

use nsp_common::generation::Current;

use super::{
    Datapath, DatapathError,
    control::{now_ns, word},
};

/// A generation that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    word: Current,
    deadline_ns: u64,
    /// The slot and the number that come back.
    before: (u32, u32),
}

impl Pending {
    /// The slot that comes back.
    pub(super) fn slot_before(&self) -> u32 {
        self.before.0
    }
}

impl Datapath {
    /// Makes a slot that was filled the current one, for good or until an instant of the coarse monotonic
    /// clock. Without a generation before there is nothing to go back to, and it is for good.
    pub(super) fn switch(&mut self, slot: u32, number: u32, until_ns: Option<u64>) {
        let going_back = self.pending.map(|pending| pending.before).or(self.current);
        self.pending =
            match (until_ns.or(self.pending.map(|pending| pending.deadline_ns)), going_back) {
                (Some(deadline_ns), Some(before)) => {
                    let word = Current::until(slot as u8, before.0 as u8, deadline_ns);
                    Some(Pending { word, deadline_ns, before })
                }
                _ => None,
            };
        let word = self.pending.map_or(Current::confirmed(slot as u8), |pending| pending.word);
        self.control.store(0, word::CURRENT, word.0);
        self.current = Some((slot, number));
        self.last_number = number;
    }

    /// Until when the generation in force waits to be confirmed, if it does.
    pub fn pending_until_ns(&self) -> Option<u64> {
        self.pending.map(|pending| pending.deadline_ns)
    }

    /// The generation that waits stays; false when its time is over, and the one before is in force again.
    ///
    /// The kernel goes by the word and the clock alone, so both are asked once more: who confirms at the last
    /// moment must not be told yes by a word that no packet obeys any more.
    pub fn confirm(&mut self) -> bool {
        let (Some(pending), Some((slot, _))) = (self.pending, self.current) else { return false };
        if pending.word.slot(now_ns()) != slot {
            return false;
        }
        let for_good = Current::confirmed(slot as u8).0;
        let word = self.control.word(0, word::CURRENT);
        if word
            .compare_exchange(pending.word.0, for_good, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return false;
        }
        self.pending = None;
        true
    }

    /// The generation before is in force for good.
    ///
    /// # Errors
    /// When none waits.
    pub fn roll_back(&mut self) -> Result<u32, DatapathError> {
        let pending = self.pending.take().ok_or(DatapathError::NothingPending)?;
        let (slot, number) = pending.before;
        self.control.store(0, word::CURRENT, Current::confirmed(slot as u8).0);
        self.current = Some((slot, number));
        Ok(number)
    }
}
