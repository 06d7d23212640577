//! From the kernel's coarse monotonic clock to wall time.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Both clocks at one moment. The wall clock can be set, so a pair ages; take a new one for each
/// batch of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The coarse monotonic clock, ns.
    pub monotonic_ns: u64,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Clock {
    /// Reads both clocks.
    pub fn read() -> Self {
        let monotonic = clock_gettime(ClockId::MonotonicCoarse);
        let ns = i128::from(monotonic.tv_sec) * 1_000_000_000 + i128::from(monotonic.tv_nsec);
        Self { monotonic_ns: u64::try_from(ns).unwrap_or(0), wall: Timestamp::now() }
    }

    /// The wall time of a moment of the monotonic clock, to the millisecond below. Zero, which no
    /// packet ever has, and what does not fit the calendar are the moment of the pair itself.
    pub fn wall_time(&self, monotonic_ns: u64) -> Timestamp {
        let past = i128::from(self.monotonic_ns) - i128::from(monotonic_ns);
        let past = if monotonic_ns == 0 { 0 } else { past };
        let past = SignedDuration::try_from_nanos_i128(past).unwrap_or_default();
        let moment = self.wall.checked_sub(past).unwrap_or(self.wall);
        whole_milliseconds(moment)
    }
}

fn whole_milliseconds(moment: Timestamp) -> Timestamp {
    let milliseconds = moment.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or(moment)
}

/// Times in records: RFC 3339, UTC, milliseconds.
pub(super) mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::access_log) fn serialize<S: Serializer>(
        moment: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{moment:.3}"))
    }

    pub(in crate::access_log) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::now(5_000_000_000, "2026-03-01T12:00:00Z")]
    #[case::before(4_000_000_000, "2026-03-01T11:59:59Z")]
    #[case::after_the_pair_was_read(5_250_999_999, "2026-03-01T12:00:00.25Z")]
    #[case::part_of_a_millisecond_goes(4_999_999_999, "2026-03-01T11:59:59.999Z")]
    #[case::never(0, "2026-03-01T12:00:00Z")]
    #[case::the_last_moment_there_is(u64::MAX, "2610-09-20T11:34:28.709Z")]
    fn wall_time(#[case] monotonic_ns: u64, #[case] expected: &str) {
        let wall = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = Clock { monotonic_ns: 5_000_000_000, wall };
        assert_eq!(clock.wall_time(monotonic_ns), expected.parse().unwrap());
    }

    #[test]
    fn the_clocks_are_read_together() {
        let clock = Clock::read();
        let age = Timestamp::now().duration_since(clock.wall_time(clock.monotonic_ns));
        assert!(age < SignedDuration::from_secs(5), "{age:?}");
    }
}
