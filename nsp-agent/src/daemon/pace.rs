//! When access records are taken out of the kernel's tables: soon after something new came, every ten
//! seconds in any case, and for no more than a part of the time.
//!
//! A flood fills the tables as fast as they are emptied. To empty them without end would take a processor
//! for itself, make the programs fill them again, and write log lines that nobody reads.

use std::time::{Duration, Instant};

/// How often records are written when nothing new happens.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long after the first packet of a kind its record is written.
const DELAY: Duration = Duration::from_millis(200);
/// For each moment that it took, so many are left to others.
const REST: u32 = 19;

/// When records are taken out next.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    next: Instant,
    rested: Instant,
}

impl Pace {
    /// Begins now.
    pub fn begin(now: Instant) -> Self {
        Self { next: now + INTERVAL, rested: now }
    }

    /// When it is time.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Something new came.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.min((now + DELAY).max(self.rested));
    }

    /// Records were taken out, which took from then until now.
    pub fn taken(&mut self, from: Instant, now: Instant) {
        self.rested = now + now.duration_since(from) * REST;
        self.next = (now + INTERVAL).max(self.rested);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn news_is_written_soon_and_nothing_in_ten_seconds() {
        let now = Instant::now();
        let mut pace = Pace::begin(now);
        assert_eq!(pace.next(), now + INTERVAL);
        pace.hurry(now + 5 * MS);
        pace.hurry(now + 90 * MS);
        assert_eq!(pace.next(), now + 205 * MS, "the first of them counts");
        pace.taken(now + 205 * MS, now + 206 * MS);
        assert_eq!(pace.next(), now + 206 * MS + INTERVAL);
    }

    #[test]
    fn what_takes_long_is_done_less_often() {
        let now = Instant::now();
        let mut pace = Pace::begin(now);
        pace.taken(now, now + 50 * MS);
        pace.hurry(now + 60 * MS);
        assert_eq!(pace.next(), now + 1_000 * MS, "a twentieth of the time");
        pace.hurry(now + 990 * MS);
        assert_eq!(pace.next(), now + 1_000 * MS);
        pace.taken(now + 1_000 * MS, now + 1_900 * MS);
        assert_eq!(pace.next(), now + 19_000 * MS, "also where that is longer than the interval");
    }
}
