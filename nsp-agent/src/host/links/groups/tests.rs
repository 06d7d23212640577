use super::*;
use crate::host::links::{Choice, LinkKind};

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        kind: LinkKind::Device,
        up: true,
        ethernet: true,
        loopback: false,
        mtu: 1500,
        has_xdp: false,
        master: None,
        lower: None,
        addresses: Vec::new(),
    }
}

fn judged(indices: &[u32]) -> Choices {
    let choice = |index: &u32| Choice {
        index: *index,
        name: format!("eth{index}"),
        judged: true,
        ..Choice::default()
    };
    Choices { devices: indices.iter().map(choice).collect(), unmatched: Vec::new() }
}

#[test]
fn every_judged_device_has_its_own_bit() {
    let groups = link_groups(&judged(&[4, 7]), &[link(4), link(7)], &BTreeMap::new()).unwrap();
    assert_eq!(groups, [(4, 0), (7, 1)].into());
}

#[test]
fn a_device_keeps_its_bit_and_a_new_one_takes_the_lowest_free() {
    let previous = [(4, 0), (7, 1), (9, 2)].into();
    let groups = link_groups(&judged(&[3, 7, 9]), &[], &previous).unwrap();
    assert_eq!(groups, [(3, 0), (7, 1), (9, 2)].into());
}

#[test]
fn devices_that_were_judged_as_one_are_told_apart_when_judged_alone() {
    let previous = [(4, 0), (5, 0)].into();
    let groups = link_groups(&judged(&[4, 5]), &[], &previous).unwrap();
    assert_eq!(groups, [(4, 0), (5, 1)].into());
}

#[test]
fn a_vlan_child_has_the_bit_of_its_judged_parent() {
    let mut child = link(5);
    (child.kind, child.lower) = (LinkKind::Vlan, Some(4));
    let groups = link_groups(&judged(&[4]), &[link(4), child], &BTreeMap::new()).unwrap();
    assert_eq!(groups, [(4, 0), (5, 0)].into());
}

#[test]
fn a_device_that_is_not_judged_has_no_bit() {
    let groups = link_groups(&judged(&[4]), &[link(4), link(5)], &BTreeMap::new()).unwrap();
    assert_eq!(groups, [(4, 0)].into());
}

#[test]
fn sixty_four_devices_fit_and_one_more_does_not() {
    let indices: Vec<u32> = (1..=65).collect();
    let fits = link_groups(&judged(&indices[..64]), &[], &BTreeMap::new()).unwrap();
    assert_eq!(fits.values().max(), Some(&63));
    let error = link_groups(&judged(&indices), &[], &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().starts_with("65 devices"), "{error}");
    assert!(error.to_string().contains("--interface"), "{error}");
}

#[test]
fn devices_without_an_address_take_no_bit_from_others() {
    let indices: Vec<u32> = (1..=70).collect();
    let mut choices = judged(&indices);
    for choice in &mut choices.devices[..10] {
        choice.is_new = true;
    }
    let groups = link_groups(&choices, &[], &BTreeMap::new()).unwrap();
    assert_eq!(groups.len(), 64);
    assert!((11..=70).all(|index| groups.contains_key(&index)), "{groups:?}");
}
