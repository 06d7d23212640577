use nsp_common::{
    event::{Grain, Record, RecordKey, flags},
    verdict::{Category, Reason},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::{AccessRecord, HostRulesOutcome, RuleType, TrafficType, category_named};
use crate::access_log::{
    catalogue::Catalogue,
    sample::{catalogue, clock, key, record, sums, would_deny},
};

fn row(key: &RecordKey) -> AccessRecord {
    AccessRecord::of(key, &sums(), &catalogue(), &clock())
}

fn json(record: &AccessRecord) -> Value {
    serde_json::from_str(&record.to_json()).unwrap()
}

#[test]
fn inbound_that_would_be_denied() {
    let expected = json!({
        "TimeGenerated": "2026-03-01T12:03:00.000Z",
        "TimeGeneratedEndTime": "2026-03-01T12:03:42.500Z",
        "Count": 41,
        "Category": "NspPublicInboundResourceRulesAllowed",
        "ResultAction": "Approved",
        "ResultDirection": "Inbound",
        "ResultDescription": "No access rule of profile database matches; in transition the \
                              host's own rules decide, enforced it would be dropped",
        "TrafficType": "Public",
        "RuleType": "ResourceRule",
        "MatchedRule": null,
        "Profile": "database",
        "AccessRuleVersion": "7",
        "Location": "eu-west",
        "ServiceResourceId": "/perimeters/payments/resources/postgres",
        "SourceIpAddress": "198.51.100.7",
        "SourcePort": 40000,
        "SourceProtocol": "TCP",
        "DestinationFqdn": null,
        "DestinationPort": 5432,
        "DestinationProtocol": "TCP",
        "SourcePerimeterGuids": [],
        "Host": "db-1",
        "DestinationIpAddress": "192.0.2.10",
        "Packets": 500,
        "Bytes": 40000,
        "Reason": "no rule",
        "AccessMode": "transition",
        "Interface": "eth0",
        "Pid": null,
        "Comm": null,
        "Unit": "postgresql@16-main.service",
        "HostRulesOutcome": "replied",
    });
    assert_eq!(json(&record()), expected);
}

#[test]
fn outbound_admitted_by_name() {
    let category = Category::PublicOutboundPerimeterRulesAllowed;
    let bits = flags::OUTBOUND | flags::ENFORCED;
    let key = RecordKey {
        rule: 2,
        name: 1,
        service_port: 443,
        ..key("2001:db8:5::9", category, Reason::Rule, bits)
    };
    let expected = json!({
        "TimeGenerated": "2026-03-01T12:03:00.000Z",
        "TimeGeneratedEndTime": "2026-03-01T12:03:42.500Z",
        "Count": 41,
        "Category": "NspPublicOutboundPerimeterRulesAllowed",
        "ResultAction": "Approved",
        "ResultDirection": "Outbound",
        "ResultDescription": "Access rule backups of profile database matches; passed",
        "TrafficType": "Public",
        "RuleType": "PerimeterRule",
        "MatchedRule": { "accessRule": "backups" },
        "Profile": "database",
        "AccessRuleVersion": "7",
        "Location": "eu-west",
        "ServiceResourceId": "/perimeters/payments/resources/postgres",
        "SourceIpAddress": "2001:db8::10",
        "SourcePort": 40000,
        "SourceProtocol": "TCP",
        "DestinationFqdn": "store.example.com",
        "DestinationPort": 443,
        "DestinationProtocol": "TCP",
        "SourcePerimeterGuids": ["2fd0a5c2-0000-4000-8000-000000000001"],
        "Host": "db-1",
        "DestinationIpAddress": "2001:db8:5::9",
        "Packets": 500,
        "Bytes": 40000,
        "Reason": "access rule",
        "AccessMode": "enforced",
        "Interface": "eth0",
        "Pid": null,
        "Comm": null,
        "Unit": "postgresql@16-main.service",
        "HostRulesOutcome": null,
    });
    assert_eq!(json(&row(&key)), expected);
}

#[test]
fn numbers_that_nobody_knows_have_placeholders() {
    let unknown = RecordKey {
        rule: 12,
        name: 13,
        association: 14,
        ifindex: 15,
        protocol: 47,
        reason: 200,
        category: 99,
        ..would_deny()
    };
    let row = AccessRecord::of(&unknown, &Record::default(), &Catalogue::default(), &clock());
    let row = json(&row);
    assert_eq!(row["MatchedRule"], json!({ "accessRule": "#12" }));
    assert_eq!(row["DestinationFqdn"], "#13");
    assert_eq!(row["ServiceResourceId"], "/perimeters//resources/#14");
    assert_eq!(row["Interface"], "#15");
    assert_eq!(row["SourceProtocol"], "proto 47");
    assert_eq!(row["Reason"], "#200");
    assert_eq!(row["Category"], "#99");
    assert_eq!(row["Profile"], Value::Null);
    assert_eq!(row["SourcePort"], Value::Null);
}

#[rstest]
#[case::address(Grain::Address, "198.51.100.7", "198.51.100.7")]
#[case::network(Grain::Network, "198.51.100.7", "198.51.0.0/16")]
#[case::many(Grain::Many, "198.51.100.7", "many")]
#[case::address_v6(Grain::Address, "2001:db8:5:6::7", "2001:db8:5:6::7")]
#[case::network_v6(Grain::Network, "2001:db8:5:6::7", "2001:db8:5::/48")]
#[case::many_v6(Grain::Many, "2001:db8:5:6::7", "many")]
fn collapsed_sources(#[case] grain: Grain, #[case] remote: &str, #[case] shown: &str) {
    let category = Category::PublicInboundPerimeterRulesDenied;
    let mut inbound = key(remote, category, Reason::NoRule, flags::DENIED);
    if grain != Grain::Address {
        inbound.coarsen(grain);
    }
    assert_eq!(row(&inbound).source_ip_address, shown);
    let outbound = RecordKey { flags: flags::DENIED | flags::OUTBOUND, ..inbound };
    assert_eq!(row(&outbound).destination_ip_address, shown);
}

#[rstest]
#[case::tcp(6, "TCP", Some(5432))]
#[case::udp(17, "UDP", Some(5432))]
#[case::sctp(132, "SCTP", Some(5432))]
#[case::icmp_has_no_ports(1, "ICMP", None)]
#[case::icmp_v6_has_no_ports(58, "ICMPv6", None)]
#[case::gre(47, "proto 47", None)]
fn protocols(#[case] protocol: u8, #[case] name: &str, #[case] port: Option<u16>) {
    let row = row(&RecordKey { protocol, ..would_deny() });
    assert_eq!((&*row.source_protocol, row.destination_port), (name, port));
    assert_eq!(row.source_port.is_some(), port.is_some());
}

#[rstest]
#[case::private(Category::PrivateInboundAllowed, TrafficType::Private)]
#[case::intra(Category::IntraPerimeterInboundAllowed, TrafficType::Intra)]
#[case::intra_out(Category::OutboundAttempt, TrafficType::Intra)]
#[case::cross(Category::CrossPerimeterInboundAllowed, TrafficType::Cross)]
#[case::cross_out(Category::CrossPerimeterOutboundAllowed, TrafficType::Cross)]
#[case::denied(Category::PublicInboundPerimeterRulesDenied, TrafficType::Public)]
fn traffic_types(#[case] category: Category, #[case] expected: TrafficType) {
    let row = row(&key("198.51.100.7", category, Reason::Intra, 0));
    assert_eq!(row.traffic_type, expected);
    assert_eq!(row.rule_type, RuleType::None);
    assert_eq!(row.source_perimeter_guids.len(), usize::from(expected == TrafficType::Intra));
}

#[test]
fn the_host_rules_outcome_is_only_of_inbound_that_would_be_denied() {
    let silent = Record { answers: 0, ..sums() };
    let outcome =
        |key: &RecordKey| AccessRecord::of(key, &silent, &catalogue(), &clock()).host_rules_outcome;
    assert_eq!(outcome(&would_deny()), Some(HostRulesOutcome::NotObserved));
    let category = Category::PublicOutboundResourceRulesAllowed as u8;
    assert_eq!(outcome(&RecordKey { category, ..would_deny() }), None);
    let category = Category::PublicInboundPerimeterRulesDenied as u8;
    assert_eq!(outcome(&RecordKey { category, ..would_deny() }), None);
}

#[test]
fn every_reason_makes_a_sentence() {
    for reason in Reason::ALL {
        for bits in [0, flags::DENIED, flags::WOULD_DENY] {
            let row = row(&RecordKey { reason: *reason as u8, flags: bits, ..would_deny() });
            let first = row.result_description.chars().next().unwrap();
            assert!(first.is_uppercase() || *reason == Reason::Dhcp, "{row:?}");
        }
    }
}

#[test]
fn rows_read_back_as_they_were_written() {
    let mut record = record();
    record.unit = Some("a\u{1b}[31m\nb\u{202e}\u{9b}".into());
    let line = record.to_json();
    assert!(!line.chars().any(crate::access_log::escape::is_unsafe));
    assert_eq!(AccessRecord::from_json(line.as_bytes()), Some(record));
}

#[test]
fn what_is_no_row_is_none() {
    let line = record().to_json();
    for bad in [&line[..line.len() / 2], "", "{}", "null", "\0", &format!("{line}{line}")] {
        assert_eq!(AccessRecord::from_json(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(AccessRecord::from_json(b"\xff\xfe"), None);
    let newer = line.replacen('{', "{\"ColumnOfTomorrow\":1,", 1);
    assert_eq!(AccessRecord::from_json(newer.as_bytes()), Some(record()));
}

#[rstest]
#[case::azures("NspPrivateInboundAllowed", Some(Category::PrivateInboundAllowed))]
#[case::short("privateinboundallowed", Some(Category::PrivateInboundAllowed))]
#[case::upper("NSPOUTBOUNDATTEMPT", Some(Category::OutboundAttempt))]
#[case::unknown("NspElse", None)]
#[case::none("", None)]
#[case::not_ascii("ñü", None)]
fn categories_by_name(#[case] text: &str, #[case] expected: Option<Category>) {
    assert_eq!(category_named(text), expected);
}
