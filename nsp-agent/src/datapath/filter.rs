//! Keeps the filter before the tables of conversations from filling up ([`nsp_common::flow_filter`]).

use std::sync::atomic::Ordering;

use aya::Ebpf;
use nsp_common::{
    flow_filter::{BITS, Half, WORDS, place},
    flow_key::FlowKey,
};

use super::{Datapath, DatapathError, FlowCursor, control::word, mapped::Mapped};

/// From so many set bits on the filter lets an eighth of a flood through.
const CROWDED: u32 = BITS / 8;
/// The part of the needed bits that is given up a second: half of them in some twenty.
const DECAY: u32 = 32;
/// Parts of the tables, of a thousand conversations each, that are read at once: some ten milliseconds.
const PARTS: usize = 64;

/// The filter, and how far its other half is.
pub(super) struct FlowFilter {
    halves: Mapped,
    /// The half that is read.
    half: usize,
    /// Where to go on in the tables, when the other half is being filled.
    filling: Option<FlowCursor>,
    /// Bits that were set when the other half was full the last time; less each second, for those may end
    /// whom they were for.
    needed: u32,
}

impl FlowFilter {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let halves = Mapped::new(ebpf, "FLOW_FILTER", 2, size_of::<Half>())?;
        Ok(Self { halves, half: 0, filling: None, needed: 0 })
    }

    /// Goes on with the half that is read.
    pub(super) fn resume(&mut self, half: u64) {
        self.half = (half & 1) as usize;
    }

    fn set_bits(&self, half: usize) -> u32 {
        let word = |word| self.halves.word(half, word).load(Ordering::Relaxed).count_ones();
        (0..WORDS).map(word).sum()
    }

    /// Remembers that a conversation is about to be put into a table.
    pub(super) fn expect(&self, key: &FlowKey) {
        self.set(0, key);
        self.set(1, key);
    }

    fn set(&self, half: usize, key: &FlowKey) {
        let (word, bit) = place(key);
        // Programs set bits at the same time.
        self.halves.word(half, word).fetch_or(bit, Ordering::Relaxed);
    }
}

impl Datapath {
    /// Does a part of the work, if there is any: to be called once a second. A table of a million
    /// conversations takes some of these.
    ///
    /// # Errors
    /// When the kernel refuses; the half that is read stays the same, which is right, if crowded.
    pub fn tidy_flow_filter(&mut self) -> Result<(), DatapathError> {
        let other = 1 - self.filter.half;
        let mut from = match self.filter.filling {
            Some(from) => from,
            None => {
                let set = self.filter.set_bits(self.filter.half);
                // Where most of it is conversations that live, there is little to be gained: twice a minute
                // it is tried all the same.
                let needed = &mut self.filter.needed;
                *needed -= *needed / DECAY;
                if set < CROWDED || set < needed.saturating_mul(2) {
                    return Ok(());
                }
                // Who observed that this half is read may still be reading it.
                self.grace()?;
                self.filter.halves.clear(other, 1);
                // A program that set its bit before may put its conversation in later, behind us.
                self.grace()?;
                FlowCursor::default()
            }
        };
        self.filter.filling = None;
        for _ in 0..PARTS {
            let (entries, next) = self.flows_from(from)?;
            for entry in entries {
                self.filter.set(other, &entry.key);
            }
            match next {
                Some(next) => from = next,
                None => {
                    self.filter.half = other;
                    self.filter.needed = self.filter.set_bits(other);
                    self.control.store(0, word::FILTER_HALF, other as u64);
                    return Ok(());
                }
            }
        }
        self.filter.filling = Some(from);
        Ok(())
    }

    /// How much of the filter of conversations is set.
    pub fn flow_filter_bits(&self) -> u32 {
        self.filter.set_bits(self.filter.half)
    }
}
