//! Records for tests.

use std::net::IpAddr;

use nsp_common::{
    address::{Address, Family},
    event::{Grain, Record, RecordKey, flags},
    verdict::{Category, Reason},
};

use super::{
    catalogue::{Catalogue, ResourceEntry, RuleEntry},
    clock::Clock,
    record::AccessRecord,
};

/// At 2026-03-01T12:03:00Z the monotonic clock showed 1000 s.
pub(super) fn clock() -> Clock {
    let wall = "2026-03-01T12:03:00Z".parse().unwrap();
    Clock { monotonic_ns: 1_000_000_000_000, wall }
}

/// Association 1 is postgres, rule 1 admits the head office, rule 2 and name 1 the backups.
pub(super) fn catalogue() -> Catalogue {
    let rule = |rule: &str| RuleEntry { profile: "database".into(), rule: rule.into(), version: 7 };
    let postgres = ResourceEntry {
        name: "postgres".into(),
        unit: Some("postgresql@16-main.service".into()),
        profile: "database".into(),
    };
    Catalogue {
        perimeter: "payments".into(),
        guid: "2fd0a5c2-0000-4000-8000-000000000001".into(),
        location: Some("eu-west".into()),
        host: "db-1".into(),
        resources: [(1, postgres)].into(),
        rules: [(1, rule("head-office")), (2, rule("backups"))].into(),
        names: [(1, "store.example.com".to_owned())].into(),
        profiles: [("database".to_owned(), 7)].into(),
        interfaces: [(2, "eth0".to_owned())].into(),
    }
}

/// The key of a conversation over TCP between a peer and postgres, opened by the peer.
pub(super) fn key(remote: &str, category: Category, reason: Reason, bits: u8) -> RecordKey {
    let remote: IpAddr = remote.parse().unwrap();
    let local: IpAddr = match remote {
        IpAddr::V4(_) => "192.0.2.10".parse().unwrap(),
        IpAddr::V6(_) => "2001:db8::10".parse().unwrap(),
    };
    RecordKey {
        remote: Address::from(remote).octets,
        local: Address::from(local).octets,
        rule: 0,
        name: 0,
        generation: 1,
        ifindex: 2,
        service_port: 5432,
        association: 1,
        protocol: 6,
        family: if remote.is_ipv4() { Family::V4 } else { Family::V6 } as u8,
        reason: reason as u8,
        category: category as u8,
        flags: bits,
        grain: Grain::Address as u8,
        _pad: [0; 6],
    }
}

/// A stranger that postgres would not admit.
pub(super) fn would_deny() -> RecordKey {
    let category = Category::PublicInboundResourceRulesAllowed;
    key("198.51.100.7", category, Reason::NoRule, flags::WOULD_DENY)
}

/// 41 conversations within the last minute.
pub(super) fn sums() -> Record {
    Record {
        count: 41,
        packets: 500,
        bytes: 40_000,
        answers: 200,
        first_ns: 1_000_000_000_000,
        last_ns: 1_042_500_000_000,
        opener_port: 40_000,
        _pad: 0,
        pid: 0,
        comm: [0; 16],
        cgroup: 0,
    }
}

/// The row of [`would_deny`].
pub(super) fn record() -> AccessRecord {
    AccessRecord::of(&would_deny(), &sums(), &catalogue(), &clock())
}

/// The same with a number of packets to tell it by.
pub(super) fn numbered(packets: u64) -> AccessRecord {
    AccessRecord { packets, ..record() }
}
