//! The filter before the tables of conversations: it is emptied when it is crowded, and at no time does it
//! hide a conversation.

use nsp_agent::datapath::FlowRoom;
use nsp_common::flow_filter::BITS;
use nsp_tests::{
    packet::{Family, flag},
    prog::{
        Lab,
        crowd::{Crowd, Member, Service},
    },
};

use crate::proven_many::lab_with;

/// More conversations than one call reads.
const OPEN: u32 = 70_000;
/// Enough others, who never answer, to crowd the filter.
const ASKED: u32 = 90_000;

fn member(family: Family, number: u32) -> Member {
    Member::new(family, Service::Inbound, number)
}

/// A peer that this host asks.
fn asked(number: u32) -> Member {
    Member::new(Family::V4, Service::Outbound, number)
}

/// Whether the programs find the conversation: a packet of it is added to its sums.
fn is_found(lab: &Lab, member: Member) -> bool {
    let packets = || {
        let flow = lab.datapath.flow_of(&member.key()).expect("it can be read");
        flow.expect("it is in a table").packets
    };
    let before = packets();
    Crowd::new(lab).comes(member, flag::ACK);
    packets() == before + 1
}

#[test]
fn it_is_emptied_and_hides_nobody() {
    let mut lab = lab_with(FlowRoom::of(1 << 18));
    let open = |lab: &Lab, family, numbers: std::ops::Range<u32>| {
        let mut crowd = Crowd::new(lab);
        numbers.for_each(|number| crowd.open(member(family, number)));
    };
    open(&lab, Family::V4, 0..OPEN);
    open(&lab, Family::V6, 0..1000);
    let quiet = lab.datapath.flow_filter_bits();
    lab.datapath.tidy_flow_filter().expect("there is nothing to do");
    assert_eq!(lab.datapath.flow_filter_bits(), quiet, "it is not crowded yet");

    let mut crowd = Crowd::new(&lab);
    (0..ASKED).for_each(|number| assert!(crowd.goes(asked(number), flag::SYN)));
    let crowded = lab.datapath.flow_filter_bits();
    assert!(crowded > BITS / 8, "{crowded} bits");

    // A part of the work is done; meanwhile conversations are opened, and some are answered.
    lab.datapath.tidy_flow_filter().expect("it reads the tables");
    assert_eq!(lab.datapath.flow_filter_bits(), crowded, "the other half is not full yet");
    let late = OPEN..OPEN + 1000;
    open(&lab, Family::V4, late.clone());
    open(&lab, Family::V6, 1000..1200);
    let mut crowd = Crowd::new(&lab);
    let answered = ASKED - 500..ASKED;
    for number in answered.clone() {
        assert!(crowd.comes(asked(number), flag::SYN | flag::ACK));
        assert!(crowd.goes(asked(number), flag::ACK));
    }
    let mut calls = 1;
    while lab.datapath.flow_filter_bits() >= crowded {
        assert!(calls < 20, "it is never done");
        lab.datapath.tidy_flow_filter().expect("it reads the tables");
        calls += 1;
    }

    let v4 = (0..OPEN).step_by(7).chain(late).map(|number| member(Family::V4, number));
    let v6 = (0..1200).map(|number| member(Family::V6, number));
    let all = v4.chain(v6).chain(answered.map(asked));
    let lost: Vec<_> = all.filter(|member| !is_found(&lab, *member)).collect();
    assert_eq!(lost, [], "conversations that nobody finds any more");
    let mut crowd = Crowd::new(&lab);
    for number in ASKED - 1500..ASKED - 500 {
        assert!(crowd.comes(asked(number), flag::SYN | flag::ACK), "{number} answers too late");
    }
}

#[test]
fn it_stays_as_it_is_when_all_that_is_set_is_needed() {
    let mut lab = lab_with(FlowRoom::of(1 << 18));
    let mut crowd = Crowd::new(&lab);
    (0..BITS / 8 + 20_000).for_each(|number| crowd.open(member(Family::V4, number)));
    let needed = lab.datapath.flow_filter_bits();
    for _ in 0..8 {
        lab.datapath.tidy_flow_filter().expect("it reads the tables");
    }
    let kept = lab.datapath.flow_filter_bits();
    assert_eq!(kept, needed, "each conversation has its bit");
    assert!(is_found(&lab, member(Family::V4, 3)));
}
