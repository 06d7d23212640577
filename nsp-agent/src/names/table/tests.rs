use std::net::IpAddr;

use nsp_common::learned::{Learned, LearnedName};

use super::{LearnedTable, TableChange};
use crate::names::schedule::{Batch, LearnedUpdate, Removal};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn taught(entries: &[(&str, u32, u64)]) -> Batch {
    let updates = entries
        .iter()
        .map(|(address, name, expires_s)| LearnedUpdate {
            address: ip(address),
            name: *name,
            expires_s: *expires_s,
        })
        .collect();
    Batch { updates, removals: Vec::new() }
}

fn removed(entries: &[(&str, u32)]) -> Batch {
    let removals =
        entries.iter().map(|(address, name)| Removal { address: ip(address), name: *name });
    Batch { updates: Vec::new(), removals: removals.collect() }
}

fn learned(names: &[(u32, u32)]) -> Learned {
    let mut learned = Learned::default();
    for (place, (name, expires_s)) in learned.names.iter_mut().zip(names) {
        *place = LearnedName { name: *name, expires_s: *expires_s };
    }
    learned
}

fn write(address: &str, names: &[(u32, u32)]) -> TableChange {
    TableChange::Write { address: ip(address), learned: learned(names) }
}

#[test]
fn names_of_one_address_share_one_entry() {
    let mut table = LearnedTable::new(8);
    let changes = table.apply(&taught(&[("192.0.2.1", 1, 100), ("192.0.2.1", 2, 90)]));
    assert_eq!(changes, [write("192.0.2.1", &[(1, 100), (2, 90)])]);
    let changes = table.apply(&taught(&[("2001:db8::1", 1, 100)]));
    assert_eq!(changes, [write("2001:db8::1", &[(1, 100)])]);
}

#[test]
fn what_does_not_change_is_not_written() {
    let mut table = LearnedTable::new(8);
    table.apply(&taught(&[("192.0.2.1", 1, 100)]));
    assert_eq!(table.apply(&taught(&[("192.0.2.1", 1, 100)])), []);
    assert_eq!(table.apply(&removed(&[("192.0.2.1", 2), ("192.0.2.9", 1)])), []);
}

#[test]
fn the_last_name_takes_its_address_along() {
    let mut table = LearnedTable::new(8);
    table.apply(&taught(&[("192.0.2.1", 1, 100), ("192.0.2.1", 2, 100)]));
    let changes = table.apply(&removed(&[("192.0.2.1", 1)]));
    assert_eq!(changes, [write("192.0.2.1", &[(2, 100)])]);
    let changes = table.apply(&removed(&[("192.0.2.1", 2)]));
    assert_eq!(changes, [TableChange::Delete { address: ip("192.0.2.1") }]);
    assert!(table.is_empty());
}

#[test]
fn a_ninth_name_waits_and_gets_the_place_that_falls_free() {
    let mut table = LearnedTable::new(8);
    let all: Vec<_> = (1..=9).map(|name| ("192.0.2.1", name, 100)).collect();
    table.apply(&taught(&all));
    assert_eq!(table.waiting(), 1);
    assert_eq!(table.apply(&taught(&[("192.0.2.1", 9, 200)])), [], "it has no place yet");
    let changes = table.apply(&removed(&[("192.0.2.1", 1)]));
    let expected: Vec<_> = (2..=8).map(|name| (name, 100)).chain([(9, 200)]).collect();
    assert_eq!(changes, [write("192.0.2.1", &expected)]);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_full_family_refuses_and_the_other_does_not() {
    let mut table = LearnedTable::new(1);
    let changes =
        table.apply(&taught(&[("192.0.2.1", 1, 9), ("192.0.2.2", 1, 9), ("2001:db8::1", 1, 9)]));
    assert_eq!(changes, [write("192.0.2.1", &[(1, 9)]), write("2001:db8::1", &[(1, 9)])]);
    assert_eq!(table.refused(), 1);
    let mut swap = taught(&[("192.0.2.2", 1, 9)]);
    swap.removals = removed(&[("192.0.2.1", 1)]).removals;
    let changes = table.apply(&swap);
    let expected =
        [TableChange::Delete { address: ip("192.0.2.1") }, write("192.0.2.2", &[(1, 9)])];
    assert_eq!(changes, expected, "a deletion in the same batch makes room, and comes first");
}

#[test]
fn entries_of_an_earlier_run_stay_until_they_expire() {
    let mut table = LearnedTable::new(8);
    table.adopt(ip("192.0.2.1"), &learned(&[(1, 100), (2, 50)]));
    table.adopt(ip("192.0.2.2"), &learned(&[(1, 40)]));
    assert_eq!(table.expire(39), []);
    assert_eq!(table.expire(40), [TableChange::Delete { address: ip("192.0.2.2") }]);
    assert_eq!(table.expire(50), [write("192.0.2.1", &[(1, 100)])]);
}

#[test]
fn a_policy_without_a_name_forgets_it() {
    let mut table = LearnedTable::new(8);
    table.adopt(ip("192.0.2.1"), &learned(&[(1, 100), (2, 100)]));
    assert_eq!(table.retain_names(|name| name == 2), [write("192.0.2.1", &[(2, 100)])]);
    let entries: Vec<_> = table.entries().collect();
    assert_eq!(entries, [(ip("192.0.2.1"), learned(&[(2, 100)]))]);
}

#[test]
fn an_expiry_beyond_the_kernels_width_is_the_latest_it_has() {
    let mut table = LearnedTable::new(8);
    let changes = table.apply(&taught(&[("192.0.2.1", 1, u64::MAX)]));
    assert_eq!(changes, [write("192.0.2.1", &[(1, u32::MAX)])]);
}
