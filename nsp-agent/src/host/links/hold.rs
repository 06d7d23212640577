//! Devices that are judged for a while although they seem to be private.
//!
//! Whoever configures a host says one thing after the other: an address, then the default route; and takes a route
//! away to set it anew. A device that were let go in between would be open until its hooks are back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Choices, Link};

/// How long a device must have been private. IPv6 may wait so long for its router: three solicitations, each
/// four seconds after the other (RFC 4861, 6.3.7).
const HOLD: Duration = Duration::from_secs(10);

/// Those that are judged for that alone, since when.
#[derive(Clone, Debug, Default)]
pub struct Held {
    since: BTreeMap<u32, Instant>,
}

impl Held {
    /// The devices that [`choose`](super::choose()) is not to believe yet: what was judged, unless its time is
    /// over, and what has come since the last choices.
    pub fn kept(&self, before: &Choices, links: &[Link], now: Instant) -> BTreeSet<u32> {
        let is_over = |index: &u32| self.since.get(index).is_some_and(|since| *since + HOLD <= now);
        let was_judged = before.judged().map(|it| it.index).filter(|index| !is_over(index));
        let known: BTreeSet<u32> = before.devices.iter().map(|it| it.index).collect();
        // Whoever begins finds a host that has been configured, and no choices.
        let has_come = |index: &u32| !known.is_empty() && !known.contains(index);
        was_judged.chain(links.iter().map(|it| it.index).filter(has_come)).collect()
    }

    /// These are the choices now.
    pub fn follow(&mut self, choices: &Choices, now: Instant) {
        let held = choices.judged().filter(|it| it.is_held);
        let since = |index| self.since.get(&index).copied().unwrap_or(now);
        self.since = held.map(|it| (it.index, since(it.index))).collect();
    }

    /// When the next one is to be let go.
    pub fn until(&self) -> Option<Instant> {
        self.since.values().min().map(|since| *since + HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::links::Choice;

    fn kept(held: &Held, before: &Choices, now: Instant) -> BTreeSet<u32> {
        held.kept(before, &[], now)
    }

    fn choices(is_held: bool) -> Choices {
        let choice = Choice { index: 2, judged: true, is_held, ..Choice::default() };
        Choices { devices: vec![choice], unmatched: Vec::new() }
    }

    #[test]
    fn device_without_a_reason_is_kept_for_a_time_that_ends() {
        let begin = Instant::now();
        let mut held = Held::default();
        held.follow(&choices(false), begin);
        assert_eq!(held.until(), None);
        assert_eq!(kept(&held, &choices(false), begin), [2].into());
        held.follow(&choices(true), begin);
        for later in [0, 5, 9] {
            let now = begin + Duration::from_secs(later);
            assert_eq!(kept(&held, &choices(true), now), [2].into());
            // To be looked at again is no reason to begin anew.
            held.follow(&choices(true), now);
            assert_eq!(held.until(), Some(begin + HOLD));
        }
        assert_eq!(kept(&held, &choices(true), begin + HOLD), [].into());
    }

    #[test]
    fn device_that_has_come_is_kept_and_what_the_agent_finds_at_its_start_is_not() {
        let links = [2, 3].map(|index| Link { index, ..Link::default() });
        let now = Instant::now();
        let held = Held::default();
        let unjudged = Choice { index: 2, ..Choice::default() };
        let before = Choices { devices: vec![unjudged], unmatched: Vec::new() };
        assert_eq!(held.kept(&before, &links, now), [3].into());
        assert_eq!(held.kept(&Choices::default(), &links, now), [].into());
    }

    #[test]
    fn reason_that_comes_back_begins_the_time_anew() {
        let begin = Instant::now();
        let mut held = Held::default();
        held.follow(&choices(true), begin);
        let later = begin + Duration::from_secs(9);
        held.follow(&choices(false), later);
        held.follow(&choices(true), later);
        assert_eq!(held.until(), Some(later + HOLD));
        held.follow(&Choices::default(), later);
        assert_eq!(held.until(), None);
    }
}
