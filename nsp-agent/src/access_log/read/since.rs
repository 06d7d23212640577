//! `--since`: how long ago, or a moment.

use jiff::{SignedDuration, Timestamp};

/// What was typed is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time: write 30s, 10m, 2h, 3d, 1w or 2026-03-01T12:00:00Z")]
pub struct SinceError {
    text: String,
}

/// The moment that `10m`, `2h`, `3d` ago was, or that an RFC 3339 time names.
///
/// # Errors
/// It is neither, or before the calendar.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, SinceError> {
    ago(text, now).or_else(|| text.parse().ok()).ok_or_else(|| SinceError { text: text.into() })
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (last, _) = text.char_indices().next_back()?;
    let (number, unit) = text.split_at(last);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return None,
    };
    let number = number.parse::<u32>().ok()?;
    now.checked_sub(SignedDuration::from_secs(i64::from(number) * seconds)).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[rstest]
    #[case::seconds("30s", "2026-03-01T11:59:30Z")]
    #[case::minutes("10m", "2026-03-01T11:50:00Z")]
    #[case::hours("2h", "2026-03-01T10:00:00Z")]
    #[case::days("3d", "2026-02-26T12:00:00Z")]
    #[case::weeks("1w", "2026-02-22T12:00:00Z")]
    #[case::nothing("0s", "2026-03-01T12:00:00Z")]
    #[case::utc("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z")]
    #[case::offset("2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00Z")]
    fn accepts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(since(text, now()), Ok(expected.parse().unwrap()));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_unit("10")]
    #[case::no_number("m")]
    #[case::negative("-10m")]
    #[case::fraction("1.5h")]
    #[case::unknown_unit("3y")]
    #[case::other_alphabet("10μ")]
    #[case::before_the_calendar("4000000000w")]
    #[case::no_zone("2026-03-01T10:00:00")]
    fn refuses(#[case] text: &str) {
        assert!(since(text, now()).is_err());
    }
}
