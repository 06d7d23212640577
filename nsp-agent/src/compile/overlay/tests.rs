use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::policy::model::Transport;

fn entry(target: Target, identity: u32) -> Entry {
    Entry {
        target,
        actions: action::INBOUND | action::OUTBOUND,
        ports: PortSet::Any,
        profile: 0,
        until_s: 100,
        identity,
    }
}

fn prefix(text: &str) -> Target {
    Target::Prefix(text.parse().expect("a prefix"))
}

fn name(text: &str) -> Target {
    Target::Name(text.parse().expect("a name"))
}

fn identities(overlay: &Overlay) -> Vec<u32> {
    overlay.places.iter().filter(|it| it.until_s != 0).map(|it| it.identity).collect()
}

/// What the kernel finds: the value of the longest prefix.
fn looked_up(tables: &OverlayTables, address: IpAddr) -> Vec<u32> {
    let covering = tables.prefixes.iter().filter(|(prefix, _)| prefix.contains(&address));
    let found = covering.max_by_key(|(prefix, _)| prefix.prefix_len());
    found.map(|(_, overlay)| identities(overlay)).unwrap_or_default()
}

proptest! {
    /// One look-up by the longest prefix finds exactly the entries that cover the address.
    #[test]
    fn one_look_up_finds_every_entry_that_covers_an_address(
        // Few networks, so that many nest.
        given in prop::collection::vec((0_u32..4, 0_u8..=32), 1..8),
        asked in 0_u32..16,
    ) {
        let entries: Vec<Entry> = given
            .iter()
            .enumerate()
            .map(|(index, (network, length))| {
                let address = Ipv4Addr::from(0xc633_6400 | network << 1);
                let net = IpNet::new(address.into(), *length).expect("a length").trunc();
                entry(Target::Prefix(net), index as u32 + 1)
            })
            .collect();
        let address = IpAddr::from(Ipv4Addr::from(0xc633_6400 | asked));
        let mut expected: Vec<u32> = entries
            .iter()
            .filter(|it| matches!(it.target, Target::Prefix(net) if net.contains(&address)))
            .map(|it| it.identity)
            .collect();
        match OverlayTables::of(&entries, std::iter::empty()) {
            Ok(tables) => {
                let mut found = looked_up(&tables, address);
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            Err(error) => {
                // Somewhere, not necessarily here, are too many.
                let most = entries.iter().map(|it| {
                    let Target::Prefix(inner) = it.target else { return 0 };
                    let covers = |it: &&Entry| matches!(
                        it.target, Target::Prefix(outer) if outer.contains(&inner)
                    );
                    entries.iter().filter(covers).count()
                }).max();
                prop_assert!(most > Some(PLACES), "{error}: {most:?}");
            }
        }
    }
}

#[test]
fn most_specific_entry_comes_first() {
    let entries = [entry(prefix("198.51.100.0/24"), 1), entry(prefix("198.51.100.7/32"), 2)];
    let tables = OverlayTables::of(&entries, std::iter::empty()).expect("they fit");
    assert_eq!(looked_up(&tables, "198.51.100.7".parse().unwrap()), [2, 1]);
    assert_eq!(looked_up(&tables, "198.51.100.8".parse().unwrap()), [1]);
    assert_eq!(looked_up(&tables, "198.51.101.8".parse().unwrap()), Vec::<u32>::new());
}

#[test]
fn five_at_one_address_are_refused_and_each_port_counts() {
    let mut entries: Vec<Entry> =
        (1..=4).map(|length| entry(prefix(&format!("192.0.0.0/{}", length + 8)), length)).collect();
    assert!(OverlayTables::of(&entries, std::iter::empty()).is_ok());
    entries.push(entry(prefix("192.0.0.0/16"), 5));
    let refused = OverlayTables::of(&entries, std::iter::empty()).unwrap_err().to_string();
    assert!(refused.starts_with("5 entries overlap at 192.0.0.0/16"), "{refused}");

    let ports = (1..=5).map(|port| {
        PortSpec::Range(PortRange { transport: Transport::Tcp, first: port * 2, last: port * 2 })
    });
    let entries = [Entry { ports: PortSet::listed(ports), ..entry(prefix("198.51.100.7/32"), 1) }];
    assert!(matches!(
        OverlayTables::of(&entries, std::iter::empty()),
        Err(OverlayError::Places { needed: 5, .. })
    ));
}

#[test]
fn too_many_entries_are_refused() {
    let many = |count: usize| -> Vec<Entry> {
        let address = |index: usize| Ipv4Addr::from(0xc633_0000 + index as u32);
        (0..count)
            .map(|index| entry(Target::Prefix(IpAddr::from(address(index)).into()), 1))
            .collect()
    };
    assert!(OverlayTables::of(&many(ENTRIES_MAX), std::iter::empty()).is_ok());
    assert_eq!(
        OverlayTables::of(&many(ENTRIES_MAX + 1), std::iter::empty()),
        Err(OverlayError::Entries { needed: ENTRIES_MAX + 1 })
    );
}

#[test]
fn an_entry_by_name_is_about_every_name_it_covers() {
    let names = [
        (1, "*.example.com"),
        (2, "a.example.com"),
        (3, "example.com"),
        (4, "*.b.example.com"),
        (5, "notexample.com"),
        (6, "a.example.org"),
    ];
    let of = |entries: &[Entry]| {
        let tables = OverlayTables::of(entries, names.into_iter()).expect("they fit");
        tables.names.iter().map(|(at, it)| (*at, identities(it))).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&[entry(name("*.example.com"), 9), entry(name("a.example.com"), 8)]),
        [(1, vec![9]), (2, vec![8, 9]), (4, vec![9])]
    );
    assert_eq!(of(&[entry(name("example.com"), 9)]), [(3, vec![9])]);
}

#[test]
fn what_there_is_to_look_up_is_told() {
    let of = |entries: &[Entry]| {
        OverlayTables::of(entries, std::iter::empty()).expect("they fit").presence
    };
    assert_eq!(of(&[]), 0);
    let allow = entry(prefix("198.51.100.7/32"), 1);
    assert_eq!(of(std::slice::from_ref(&allow)), presence::ALLOWS);
    let block = Entry { actions: action::INBOUND | action::BLOCK, ..entry(name("a.example"), 1) };
    assert_eq!(of(std::slice::from_ref(&block)), presence::BLOCKS | presence::NAMES);
    assert_eq!(of(&[allow, block]), presence::ALLOWS | presence::BLOCKS | presence::NAMES);
}
