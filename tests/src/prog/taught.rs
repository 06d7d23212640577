//! What the kernel programs have learned, held against what they should have.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive};

use rustix::time::{ClockId, clock_gettime};

use super::lab::Lab;
use crate::messages::oracle::{Taught, expiry};

/// The addresses that must be learned, by address and name, with the seconds between which they end.
#[derive(Clone, Debug, Default)]
pub struct Expected(BTreeMap<(IpAddr, u32), RangeInclusive<u64>>);

impl Expected {
    /// An answer was heard in these seconds of the coarse clock, and taught this; `names` are the
    /// identities of the oracle's names.
    pub fn add(&mut self, taught: &[Taught], names: &[u32], heard_s: &RangeInclusive<u64>) {
        for Taught { name, address, ttl_s } in taught {
            let ends = expiry(*ttl_s, heard_s.clone());
            let known = self.0.entry((*address, names[*name])).or_insert_with(|| ends.clone());
            // A time is prolonged and never cut short.
            *known = *known.start().max(ends.start())..=*known.end().max(ends.end());
        }
    }

    /// How many addresses.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing must be learned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is learned is this, and nothing else.
    ///
    /// # Panics
    /// When it is not; `context` says of what.
    pub fn check(&self, lab: &Lab, context: impl FnOnce() -> String) {
        let learned = learned(lab);
        let holds = |key: &(IpAddr, u32), ends: &RangeInclusive<u64>| {
            learned.get(key).is_some_and(|expires_s| ends.contains(expires_s))
        };
        let is_right = learned.len() == self.0.len() && self.0.iter().all(|it| holds(it.0, it.1));
        assert!(
            is_right,
            "{}:\nlearned (address, name: end) {learned:?}\nshould be {:?}",
            context(),
            self.0
        );
    }
}

/// Every learned address and name, with its end.
pub fn learned(lab: &Lab) -> BTreeMap<(IpAddr, u32), u64> {
    let table = lab.datapath.learned().expect("addresses can be read");
    let names = table.iter().flat_map(|(address, learned)| {
        let names = learned.names.iter().filter(|it| it.name != 0);
        names.map(|it| ((*address, it.name), u64::from(it.expires_s)))
    });
    names.collect()
}

/// The second of the clock that the programs go by.
pub fn now_s() -> u64 {
    clock_gettime(ClockId::MonotonicCoarse).tv_sec.unsigned_abs()
}
