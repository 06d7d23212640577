//! How fast the tables of proven conversations are gone through for those that are over.
//!
//! A timer of the kernel looks at a part of the places at a time. The part is bounded, for it is looked
//! at in one go and holds up its processor; how often it is done follows from the size of the tables.

/// All places are seen in this time, where no bound below says otherwise.
pub const ROUND_MS: u32 = 30_000;
/// Places that are looked at in one go, of both families together. A place costs a third to half a
/// microsecond when nothing of it is in the processor's cache.
pub const PLACES_A_TICK_MAX: u32 = 512;
/// Those of a family that are looked at all the same.
pub const PLACES_A_TICK_MIN: u32 = 64;
/// The timer goes off at most so often: it takes no more than three hundredths of a processor.
pub const TICK_MS_MIN: u32 = 10;
/// And at least so often.
pub const TICK_MS_MAX: u32 = 100;

/// How often the timer goes off, and what it looks at then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time between two ticks.
    pub tick_ms: u32,
    /// Places of IPv4 a tick.
    pub v4: u32,
    /// Places of IPv6 a tick.
    pub v6: u32,
}

impl Pace {
    /// For tables of so many places.
    pub const fn of(v4: u32, v6: u32) -> Self {
        let all = v4 as u64 + v6 as u64;
        let ticks = all.div_ceil(PLACES_A_TICK_MAX as u64);
        let ticks_min = (ROUND_MS / TICK_MS_MAX) as u64;
        let ticks_max = (ROUND_MS / TICK_MS_MIN) as u64;
        let ticks = if ticks < ticks_min {
            ticks_min
        } else if ticks > ticks_max {
            ticks_max
        } else {
            ticks
        };
        Self {
            tick_ms: ROUND_MS / ticks as u32,
            v4: part(v4 as u64, all, ticks),
            v6: part(v6 as u64, all, ticks),
        }
    }

    /// How long a place that nobody needs any more may be taken.
    pub const fn round_ms(&self, v4: u32, v6: u32) -> u64 {
        let v4 = v4.div_ceil(self.v4);
        let v6 = v6.div_ceil(self.v6);
        (if v4 > v6 { v4 } else { v6 }) as u64 * self.tick_ms as u64
    }
}

/// What is looked at in one of so many ticks, and no more than the share of `all` that a tick may.
const fn part(places: u64, all: u64, ticks: u64) -> u32 {
    let even = places.div_ceil(ticks);
    let part = match (places * PLACES_A_TICK_MAX as u64).checked_div(all) {
        Some(share) if share < even => share,
        _ => even,
    };
    if part < PLACES_A_TICK_MIN as u64 { PLACES_A_TICK_MIN } else { part as u32 }
}

/// What the timer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Aged {
    /// How often it went off.
    pub ticks: u64,
    /// Time that it took, all in all.
    pub spent_ns: u64,
    /// The longest time that it took at once, interrupts in between included.
    pub longest_ns: u64,
}

crate::shared!(Aged, 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_seen_in_a_few_ticks() {
        let pace = Pace::of(1024, 256);
        assert_eq!(pace, Pace { tick_ms: 100, v4: 64, v6: 64 });
        assert_eq!(pace.round_ms(1024, 256), 1600);
    }

    #[test]
    fn a_tick_is_bounded_and_a_round_takes_half_a_minute_up_to_more_than_a_million() {
        for v4 in [10_000, 65_536, 262_144, 1_000_000, 1 << 20] {
            for v6 in [256, v4 / 4, v4 / 8] {
                let pace = Pace::of(v4, v6);
                assert!(pace.v4 + pace.v6 <= PLACES_A_TICK_MAX + 64, "{v4} {v6} {pace:?}");
                let round_ms = pace.round_ms(v4, v6);
                assert!(round_ms <= u64::from(ROUND_MS) + 1000, "{v4} {v6} {pace:?} {round_ms}");
            }
        }
    }

    #[test]
    fn the_largest_tables_take_longer_and_no_more_of_a_processor() {
        let pace = Pace::of(1 << 23, 1 << 23);
        assert_eq!(pace, Pace { tick_ms: 10, v4: 256, v6: 256 });
        assert_eq!(pace.round_ms(1 << 23, 1 << 23), 327_680);
    }

    #[test]
    fn no_family_is_left_out() {
        let pace = Pace::of(1 << 23, 256);
        assert_eq!(pace.v6, PLACES_A_TICK_MIN);
        assert_eq!(pace.v4, 511);
    }
}
