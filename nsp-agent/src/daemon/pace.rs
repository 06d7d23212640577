//! When access records are taken out of the kernel's tables: soon after something new came, and so that it takes
//! no more than a twentieth of a processor; every ten seconds in any case.
//!
//! A flood fills the tables as fast as they are emptied. To empty them without end would take a processor
//! for itself, make the programs fill them again, and write log lines that nobody reads.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How often records are written when nothing new happens.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long after the first packet of a kind its record is written.
const DELAY: Duration = Duration::from_millis(200);
/// For each moment of a processor that it took, so many are left to others.
const REST: u32 = 19;

/// How long records are left alone after that much of a processor went into taking them out. Waiting for the
/// kernel's grace period takes none.
pub fn rest(spent: Duration) -> Duration {
    (spent * REST).min(INTERVAL)
}

/// The processor's time that this thread has had.
pub fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// When records are taken out next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    next: Instant,
    rested: Instant,
}

impl Pace {
    /// Begins now.
    pub(super) fn begin(now: Instant) -> Self {
        Self { next: now + INTERVAL, rested: now }
    }

    /// When it is time.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Something new came.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min((now + DELAY).max(self.rested));
    }

    /// Records were taken out, which took that much of a processor.
    pub(super) fn taken(&mut self, spent: Duration, now: Instant) {
        self.rested = now + rest(spent);
        self.next = now + INTERVAL;
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
        pace.taken(MS, now + 206 * MS);
        assert_eq!(pace.next(), now + 206 * MS + INTERVAL);
        pace.hurry(now + 210 * MS);
        assert_eq!(pace.next(), now + 410 * MS);
    }

    #[test]
    fn what_takes_long_is_done_less_often_but_every_ten_seconds() {
        let now = Instant::now();
        let mut pace = Pace::begin(now);
        pace.taken(50 * MS, now + 50 * MS);
        pace.hurry(now + 60 * MS);
        assert_eq!(pace.next(), now + 1_000 * MS, "a twentieth of the time");
        pace.taken(3_000 * MS, now + 1_000 * MS);
        pace.hurry(now + 1_010 * MS);
        assert_eq!(pace.next(), now + 1_000 * MS + INTERVAL);
    }
}
