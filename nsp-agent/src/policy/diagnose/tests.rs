use rstest::rstest;

use super::*;

fn report_on(content: &str) -> (Report, super::super::text::FileId) {
    let mut report = Report::default();
    let file = report.texts.add(Path::new("policy.toml"), content.into());
    (report, file)
}

#[test]
fn an_error_shows_the_place_the_line_and_the_cure() {
    let (mut report, file) = report_on("[perimeter]\nname = \"a b\"\n");
    let refusal = Refusal::new("bad name `a b`", "no spaces").cure("a-b");
    report.error(file.span(19..24), refusal);
    let errors = report.finish().unwrap_err();
    assert_eq!(
        errors.to_string(),
        "nsp: policy.toml:2:8: bad name `a b`: no spaces\n   2 | name = \"a b\"\n     |        \
         ^^^^^\ntry: a-b"
    );
}

#[test]
fn typed_text_does_not_steer_the_terminal() {
    let (mut report, file) = report_on("a\n");
    let typed = "\u{1b}]0;title\u{7}";
    report.error(file.span(0..1), Refusal::new(typed, typed).cure(typed));
    let said = report.finish().unwrap_err().to_string();
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    assert_eq!(said.matches(r"\u{1b}]0;title\u{7}").count(), 3, "{said}");
}

#[test]
fn errors_come_in_file_order_and_once() {
    let (mut report, file) = report_on("a\nb\n");
    for start in [2, 0, 2] {
        report.error(file.span(start..start + 1), Refusal::new("bad", "so"));
    }
    let lines: Vec<u32> =
        report.finish().unwrap_err().errors.iter().map(|error| error.position.line).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn errors_past_the_bound_are_counted() {
    let (mut report, file) = report_on("a");
    for number in 0..ERRORS_MAX + 3 {
        report.error(file.span(0..1), Refusal::new(format!("bad {number}"), "so"));
    }
    let errors = report.finish().unwrap_err();
    assert_eq!((errors.errors.len(), errors.suppressed), (ERRORS_MAX, 3));
    assert!(errors.to_string().ends_with("nsp: and 3 more errors"));
}

#[test]
fn warnings_alone_refuse_nothing() {
    let (mut report, file) = report_on("a");
    report.warning(file.span(0..1), Refusal::new("odd", "so"));
    assert!(!report.has_errors());
    let notes = report.finish().unwrap();
    assert_eq!(notes[0].to_string(), "nsp: policy.toml:1:1: warning: odd: so\n   1 | a\n     | ^");
}

#[rstest]
#[case::letter_missing("adress_prefixes", Some("address_prefixes"))]
#[case::singular("address_prefix", Some("address_prefixes"))]
#[case::case_and_dashes("Address-Prefixes", Some("address_prefixes"))]
#[case::transposed("fqnds", Some("fqdns"))]
#[case::far("priority", None)]
#[case::empty("", None)]
fn the_nearest_word_is_suggested(#[case] typed: &str, #[case] expected: Option<&str>) {
    assert_eq!(suggest(typed, ["address_prefixes", "ports", "fqdns"]), expected);
}

#[test]
fn typed_text_cannot_steer_the_terminal() {
    assert_eq!(quoted("a\u{1b}[2Jb"), "`a\\u{1b}[2Jb`");
}

#[test]
fn long_typed_text_is_cut() {
    let shown = quoted(&"x".repeat(10_000));
    assert_eq!(shown.chars().count(), SHOWN_CHARS_MAX + 3);
}
