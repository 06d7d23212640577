//! Floods of forged and unanswered packets, larger than every table that they reach: of the conversations
//! that both ends have proven none is lost, and what gives way is counted.

use std::collections::BTreeMap;

use nsp_agent::datapath::{FlowRoom, FlowTable};
use nsp_common::flow::FlowKey;
use nsp_tests::{
    packet::{Family, flag},
    prog::{
        Lab,
        crowd::{Crowd, Member, Service},
    },
};

use crate::proven_many::{is_full, lab_with};

/// Conversations of each opener that are live meanwhile.
const LIVE: u32 = 500;
const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn room() -> FlowRoom {
    if is_full() { FlowRoom { v4: 1 << 20, v6: 1 << 20 } } else { FlowRoom::of(1 << 14) }
}

/// Clients, and servers that this host talks to.
fn live(family: Family) -> impl Iterator<Item = Member> {
    [Service::Inbound, Service::Outbound]
        .into_iter()
        .flat_map(move |service| (0..LIVE).map(move |number| Member::new(family, service, number)))
}

/// Somebody of a flood: nobody that is live.
fn forged(family: Family, service: Service, number: u32) -> Member {
    Member::new(family, service, LIVE + number)
}

/// When each proven conversation was opened.
fn proven(lab: &Lab) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let read = lab.datapath.each_flow(|entry| {
        if entry.is_proven {
            found.insert(name(&entry.key), entry.flow.opened_ns);
        }
    });
    read.expect("conversations can be read");
    found
}

fn name(key: &FlowKey) -> String {
    format!("{key:?}")
}

/// How many there are in each table.
fn counts(lab: &Lab) -> BTreeMap<FlowTable, u32> {
    let mut counts = BTreeMap::new();
    let read = lab.datapath.each_flow(|entry| *counts.entry(entry.table()).or_default() += 1);
    read.expect("conversations can be read");
    counts
}

/// Runs a flood beside live conversations of both families, and looks that each of those is the same
/// entry as before and goes on by it. Answers what the flood changed of the counters.
fn flood(lab: &mut Lab, flood: impl Fn(&mut Crowd<'_>)) -> BTreeMap<String, (u64, u64)> {
    let mut crowd = Crowd::new(lab);
    BOTH.into_iter().flat_map(live).for_each(|member| crowd.open(member));
    let (before, memory) = (proven(lab), lab.datapath.flow_tables());
    assert_eq!(before.len(), 4 * LIVE as usize);
    lab.clear();
    flood(&mut Crowd::new(lab));
    let delta = lab.delta();
    let after = proven(lab);
    let lost = before.iter().filter(|(key, opened)| after.get(*key) != Some(*opened)).count();
    assert_eq!(lost, 0, "of {} live conversations", before.len());
    let mut crowd = Crowd::new(lab);
    for member in BOTH.into_iter().flat_map(live) {
        assert!(crowd.comes(member, flag::ACK) && crowd.goes(member, flag::ACK), "{member:?}");
    }
    let by_flow = lab.delta();
    for way in ["Inbound Pass Flow", "Outbound Pass Flow"] {
        let passed = by_flow.get(way).map_or(0, |(packets, _)| *packets);
        assert_eq!(passed, u64::from(4 * LIVE), "{way} in {by_flow:?}");
    }
    assert_eq!(lab.datapath.flow_tables(), memory, "no byte more");
    delta
}

/// A flood of conversations of which nobody proves both ends: they turn a table of the unproven over,
/// three times, and touch no other.
fn turns_over(service: Service, tables: [FlowTable; 2], run: fn(&mut Crowd<'_>, Member) -> bool) {
    let mut lab = lab_with(room());
    let capacity = |lab: &Lab, table| {
        let tables = lab.datapath.flow_tables();
        tables.iter().find(|it| it.table == table).expect("one of them").capacity
    };
    let number = 3 * capacity(&lab, tables[0]);
    let delta = flood(&mut lab, |crowd| {
        for family in BOTH {
            for number in 0..number {
                let member = forged(family, service, number);
                assert!(run(crowd, member), "{member:?} is not let through");
            }
        }
    });
    assert!(!delta.contains_key("lost Flow"), "{delta:?}");
    let counts = counts(&lab);
    for table in tables {
        let (there, capacity) = (counts[&table], capacity(&lab, table));
        println!("{}: {number} came, {} gave way, {there} are there", table.name(), number - there);
        assert!(there <= capacity && there > capacity / 2, "{there} of {capacity}");
    }
    let live = [FlowTable::ProvenV4, FlowTable::ProvenV6];
    let touched = counts.keys().filter(|table| !tables.contains(table) && !live.contains(table));
    assert_eq!(touched.count(), 0, "{counts:?}");
}

#[test]
fn flood_of_forged_syns_that_this_host_answers_cuts_nobody() {
    turns_over(Service::Inbound, [FlowTable::KnockedV4, FlowTable::KnockedV6], |crowd, member| {
        crowd.comes(member, flag::SYN) && crowd.goes(member, flag::SYN | flag::ACK)
    });
}

#[test]
fn flood_of_datagrams_cuts_nobody() {
    turns_over(
        Service::InboundUdp,
        [FlowTable::KnockedV4, FlowTable::KnockedV6],
        |crowd, member| crowd.comes(member, 0),
    );
}

#[test]
fn scan_by_this_host_cuts_nobody() {
    turns_over(Service::Outbound, [FlowTable::AskedV4, FlowTable::AskedV6], |crowd, member| {
        crowd.goes(member, flag::SYN)
    });
}

#[test]
fn flood_of_whole_handshakes_fills_the_table_and_cuts_nobody() {
    // The last segment is forged as well: this host will reset it, but its conversation was proven.
    let mut lab = lab_with(room());
    let FlowRoom { v4, v6 } = room();
    let delta = flood(&mut lab, |crowd| {
        for (family, room) in [(Family::V4, v4), (Family::V6, v6)] {
            (0..room).for_each(|number| crowd.open(forged(family, Service::Inbound, number)));
        }
    });
    let counts = counts(&lab);
    println!("{counts:?}; lost {:?}", delta.get("lost Flow"));
    assert_eq!(counts[&FlowTable::ProvenV4], v4, "full");
    assert_eq!(counts[&FlowTable::ProvenV6], v6, "full");
    let lost = delta.get("lost Flow").map_or(0, |(packets, _)| *packets);
    assert_eq!(lost, u64::from(4 * LIVE), "each that found no place is counted");
    // Who comes now is served, and told of.
    let late = forged(Family::V4, Service::Outbound, 0);
    Crowd::new(&lab).open(late);
    assert!(lab.delta().contains_key("lost Flow"));
    // What this host resets gives its place back.
    let mut crowd = Crowd::new(&lab);
    let reset = forged(Family::V4, Service::Inbound, 0);
    assert!(crowd.goes(reset, flag::RST));
    let flow = lab.datapath.flow_of(&reset.key()).expect("it can be read").expect("it is there");
    assert!(flow.is_closed(), "{flow:?}");
}
