use jiff::tz::{Offset, TimeZone};
use nsp_common::{
    event::{Grain, RecordKey, flags},
    verdict::{Category, Reason},
};
use rstest::rstest;

use super::Reader;
use crate::access_log::{
    record::AccessRecord,
    sample::{catalogue, clock, key, record, sums, would_deny},
};

fn line(record: &AccessRecord) -> String {
    Reader::new(TimeZone::UTC, clock().wall).line(record)
}

fn line_of(key: &RecordKey) -> String {
    line(&AccessRecord::of(key, &sums(), &catalogue(), &clock()))
}

fn denied(remote: &str) -> RecordKey {
    let category = Category::PublicInboundPerimeterRulesDenied;
    key(remote, category, Reason::NoRule, flags::DENIED | flags::ENFORCED)
}

fn outbound(category: Category, reason: Reason, bits: u8) -> RecordKey {
    let key = key("203.0.113.9", category, reason, bits | flags::OUTBOUND);
    RecordKey { service_port: 443, ..key }
}

#[test]
fn would_deny_inbound() {
    let expected = "12:03 WOULD-DENY in 198.51.100.7 → postgres 5432/tcp no rule ×41";
    assert_eq!(line_of(&would_deny()), expected);
}

#[rstest]
#[case::denied(denied("198.51.100.7"), "DENY in 198.51.100.7 → postgres 5432/tcp no rule ×41")]
#[case::denied_v6(denied("2001:db8::7"), "DENY in 2001:db8::7 → postgres 5432/tcp no rule ×41")]
#[case::allowed(
    RecordKey {
        rule: 1,
        ..key("198.51.100.7", Category::PublicInboundPerimeterRulesAllowed, Reason::Rule, 0)
    },
    "ALLOW in 198.51.100.7 → postgres 5432/tcp rule head-office ×41"
)]
#[case::kept(
    key("198.51.100.7", Category::PublicInboundResourceRulesAllowed, Reason::Kept, 0),
    "KEPT in 198.51.100.7 → postgres 5432/tcp kept conversation ×41"
)]
#[case::by_name(
    RecordKey {
        rule: 2,
        name: 1,
        ..outbound(Category::PublicOutboundPerimeterRulesAllowed, Reason::Rule, 0)
    },
    "ALLOW out postgres → store.example.com (203.0.113.9) 443/tcp rule backups ×41"
)]
#[case::denied_outbound(
    outbound(Category::PublicOutboundPerimeterRulesDenied, Reason::NoRule, flags::DENIED),
    "DENY out postgres → 203.0.113.9 443/tcp no rule ×41"
)]
#[case::no_resource(
    RecordKey { association: 0, ..denied("198.51.100.7") },
    "DENY in 198.51.100.7 → 192.0.2.10 5432/tcp no rule ×41"
)]
#[case::ping(
    RecordKey { protocol: 1, ..denied("198.51.100.7") },
    "DENY in 198.51.100.7 → postgres icmp no rule ×41"
)]
#[case::unknown_resource(
    RecordKey { association: 12, ..denied("198.51.100.7") },
    "DENY in 198.51.100.7 → #12 5432/tcp no rule ×41"
)]
fn golden(#[case] key: RecordKey, #[case] expected: &str) {
    assert_eq!(line_of(&key), format!("12:03 {expected}"));
}

#[test]
fn many_sources() {
    let mut key = denied("198.51.100.7");
    key.coarsen(Grain::Many);
    assert_eq!(line_of(&key), "12:03 DENY in many → postgres tcp no rule ×41");
}

#[rstest]
#[case::continued(0, "12:03 WOULD-DENY in 198.51.100.7 → postgres 5432/tcp no rule, continued")]
#[case::once(1, "12:03 WOULD-DENY in 198.51.100.7 → postgres 5432/tcp no rule")]
#[case::twice(2, "12:03 WOULD-DENY in 198.51.100.7 → postgres 5432/tcp no rule ×2")]
fn counts(#[case] count: u64, #[case] expected: &str) {
    assert_eq!(line(&AccessRecord { count, ..record() }), expected);
}

#[test]
fn times_are_the_readers() {
    let ahead = TimeZone::fixed(Offset::from_hours(12).unwrap());
    let reader = Reader::new(ahead, clock().wall);
    assert!(reader.line(&record()).starts_with("00:03 WOULD-DENY"));
    let day_after = "2026-03-02T12:00:00Z".parse().unwrap();
    let line = Reader::new(TimeZone::UTC, day_after).line(&record());
    assert!(line.starts_with("2026-03-01 12:03 WOULD-DENY"), "{line}");
}

#[test]
fn one_record_is_one_line_whatever_it_holds() {
    let evil = "\u{1b}[2J\r\n12:03 ALLOW in \u{9b}31m\u{202e}\u{2028}\\x1b";
    let mut record = record();
    for text in [
        &mut record.source_ip_address,
        &mut record.destination_ip_address,
        &mut record.destination_protocol,
        &mut record.reason,
    ] {
        *text = evil.into();
    }
    record.service_resource_id = Some(format!("/perimeters/p/resources/{evil}"));
    record.destination_fqdn = Some(evil.into());
    for record in [record.clone(), {
        let result_direction = crate::access_log::record::ResultDirection::Outbound;
        let matched_rule =
            Some(crate::access_log::record::MatchedRule { access_rule: evil.into() });
        AccessRecord { result_direction, matched_rule, ..record }
    }] {
        let line = line(&record);
        assert!(!line.chars().any(crate::access_log::escape::is_unsafe), "{line:?}");
        assert!(line.contains(r"\x1b[2J\r\n12:03"), "{line:?}");
    }
}
