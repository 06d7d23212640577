//! Times as people write them.

/// `90s`, `10m`, `2h`, `3d`, or several of them: `1h30m`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    const FORM: &str = "write 30s, 10m, 2h, 3d or 1h30m; from one second to thirty days";
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).ok_or(FORM)?;
        let (number, unit) = rest.split_at(digits);
        let mut units = unit.chars();
        let factor = match units.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 24 * 3600,
            _ => return Err(FORM.into()),
        };
        let number: u64 = number.parse::<u32>().map_err(|_| FORM)?.into();
        total += number * factor;
        rest = units.as_str();
    }
    if (1..=30 * 24 * 3600).contains(&total) { Ok(total) } else { Err(FORM.into()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::seconds;

    #[rstest]
    #[case("1s", 1)]
    #[case("10m", 600)]
    #[case("1h30m", 5400)]
    #[case("30d", 2_592_000)]
    fn accepts(#[case] text: &str, #[case] expected: u64) {
        assert_eq!(seconds(text), Ok(expected));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::zero("0s")]
    #[case::no_unit("10")]
    #[case::no_number("h")]
    #[case::negative("-1h")]
    #[case::too_long("31d")]
    #[case::fraction("1.5h")]
    #[case::beyond_the_numbers("99999999999d")]
    fn refuses(#[case] text: &str) {
        assert!(seconds(text).is_err(), "{text}");
    }
}
