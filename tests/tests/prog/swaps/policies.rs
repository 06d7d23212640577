//! Two policies about the same packets, so unlike that no table of one fits the tables of the other.
//!
//! Numbers of classes, ports, rows, rules and profiles differ although many prefixes are the same; what
//! both allow is allowed by other rules, and to other resources, or by the same rule with another number.

use std::collections::BTreeMap;

use nsp_agent::compile::{Compiled, identities::Identities};
use nsp_common::{address::Address, selector::Selector};
use nsp_tests::prog::{DEVICE, compiled};

/// Clients that both admit, most of them by another rule.
pub(super) const OFFICE: (&str, &str) = ("203.0.113.5", "2001:db8:100::5");
/// Clients that the first admits alone.
pub(super) const GUEST: (&str, &str) = ("198.51.100.10", "2001:db8:a::10");
/// Clients that the second admits alone.
pub(super) const VISITOR: (&str, &str) = ("198.51.100.20", "2001:db8:b::20");
/// Clients that each admits to another port.
pub(super) const SPLIT: (&str, &str) = ("198.51.100.40", "2001:db8:c::40");
/// Clients that both admit by the same rule.
pub(super) const STEADY: (&str, &str) = ("198.51.100.70", "2001:db8:d::70");
/// Nobody's.
pub(super) const STRANGER: (&str, &str) = ("198.51.100.100", "2001:db8:5::7");
/// A member in the first.
pub(super) const MEMBER: (&str, &str) = ("192.0.2.10", "2001:db8:1::10");
/// Where both let this host go.
pub(super) const MIRROR: (&str, &str) = ("198.51.100.200", "2001:db8:6::200");
/// An address of a name of the first and one of the second.
pub(super) const SHOP: (&str, &str) = ("198.51.100.101", "2001:db8:7::101");
/// An address of a name of both.
pub(super) const BANK: (&str, &str) = ("198.51.100.102", "2001:db8:7::102");
/// Another one, of conversations that are open all the time.
pub(super) const NEAR_BANK: (&str, &str) = ("198.51.100.103", "2001:db8:7::103");
/// A trusted resolver.
pub(super) const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");
/// This host.
pub(super) const OWN: (&str, &str) = ("192.0.2.1", "2001:db8:1::1");
/// A second address of this host, which is a resource.
pub(super) const SECOND: (&str, &str) = ("192.0.2.2", "2001:db8:1::2");

/// A name of the first, one of the second, one of both.
pub(super) const NAMES: [&str; 3] = ["first.example.com", "second.example.com", "bank.example.com"];

/// Addresses that were learned for names, with these names' places in [`NAMES`].
pub(super) const LEARNED: [((&str, &str), usize); 4] =
    [(SHOP, 0), (SHOP, 1), (BANK, 2), (NEAR_BANK, 2)];

const FIRST: &str = r#"
[perimeter]
name = "lab"
[dns]
strict = true

[profile.archive.inbound.first-archive]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["8080/tcp", "9000/tcp"]

[profile.main.inbound.first-guest]
address_prefixes = ["198.51.100.8/29", "2001:db8:a::/48"]
ports = ["5432/tcp", "5432/udp"]
[profile.main.inbound.first-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp", "6000/tcp", "7000/tcp", "icmp"]
[profile.main.inbound.first-split]
address_prefixes = ["198.51.100.32/27", "2001:db8:c::/48"]
ports = ["5432/tcp"]
[profile.main.inbound.steady]
address_prefixes = ["198.51.100.64/27", "2001:db8:d::/48"]
ports = ["22/tcp"]

[profile.main.outbound.first-guest]
address_prefixes = ["198.51.100.8/29", "2001:db8:a::/48"]
ports = ["443/tcp", "123/udp"]
[profile.main.outbound.first-mirror]
address_prefixes = ["198.51.100.192/26", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp", "icmp"]
[profile.main.outbound.first-names]
fqdns = ["first.example.com", "bank.example.com"]
ports = ["443/tcp"]

[resource.first-host]
host = true
profile = "main"
access_mode = "enforced"
[resource.first-address]
address = "192.0.2.2"
profile = "archive"
access_mode = "enforced"
[resource.first-address-v6]
address = "2001:db8:1::2"
profile = "archive"
access_mode = "enforced"
[resource.first-files]
address = "192.0.2.2"
ports = ["9000/tcp"]
profile = "archive"
access_mode = "enforced"
[resource.first-files-v6]
address = "2001:db8:1::2"
ports = ["9000/tcp"]
profile = "archive"
access_mode = "enforced"
[resource.first-service]
ports = ["6000/tcp"]
profile = "main"
access_mode = "enforced"
[resource.database]
ports = ["5432/tcp", "5432/udp"]
profile = "main"
access_mode = "enforced"
[resource.trial]
ports = ["7100/tcp"]
profile = "main"
access_mode = "transition"

[member.web]
addresses = ["192.0.2.10", "2001:db8:1::10"]
"#;

const SECOND_POLICY: &str = r#"
[perimeter]
name = "lab"
public_network_access = "secured-by-perimeter"
[dns]
strict = true

[profile.main.inbound.aside]
address_prefixes = ["198.51.100.104/29", "2001:db8:8::/48"]
ports = ["1-21/tcp", "8000-8010/udp"]
[profile.main.inbound.second-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp", "6000/tcp", "7000/tcp", "icmp"]
[profile.main.inbound.second-split]
address_prefixes = ["198.51.100.32/27", "2001:db8:c::/48"]
ports = ["5433/tcp"]
[profile.main.inbound.second-visitor]
address_prefixes = ["198.51.100.16/29", "2001:db8:b::/48"]
ports = ["5432/tcp", "5432/udp"]
[profile.main.inbound.steady]
address_prefixes = ["198.51.100.64/27", "2001:db8:d::/48"]
ports = ["22/tcp"]

[profile.main.outbound.aside]
address_prefixes = ["198.51.100.104/29", "2001:db8:8::/48"]
ports = ["80/tcp"]
[profile.main.outbound.second-mirror]
address_prefixes = ["198.51.100.192/26", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp", "icmp"]
[profile.main.outbound.second-names]
fqdns = ["second.example.com", "bank.example.com"]
ports = ["443/tcp"]
[profile.main.outbound.second-visitor]
address_prefixes = ["198.51.100.16/29", "2001:db8:b::/48"]
ports = ["443/tcp", "123/udp"]

[profile.zone.inbound.second-zone]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["8080/tcp", "9000/tcp"]

[resource.second-host]
host = true
profile = "main"
access_mode = "enforced"
[resource.second-device]
interface = "up0"
profile = "main"
access_mode = "enforced"
[resource.second-address]
address = "192.0.2.2"
profile = "zone"
access_mode = "enforced"
[resource.second-address-v6]
address = "2001:db8:1::2"
profile = "zone"
access_mode = "enforced"
[resource.second-files]
address = "192.0.2.2"
ports = ["9000/tcp"]
profile = "zone"
access_mode = "enforced"
[resource.second-files-v6]
address = "2001:db8:1::2"
ports = ["9000/tcp"]
profile = "zone"
access_mode = "enforced"
[resource.second-service]
ports = ["6000/tcp"]
profile = "main"
access_mode = "enforced"
[resource.database]
ports = ["5433/tcp"]
profile = "main"
access_mode = "enforced"
[resource.trial]
ports = ["7100/tcp"]
profile = "main"
access_mode = "enforced"
"#;

/// A policy as it is published.
pub(super) struct Policy {
    pub(super) compiled: Compiled,
    pub(super) selectors: Vec<(Selector, u16)>,
    pub(super) listeners: BTreeMap<(u8, u16), u16>,
}

/// Both of them.
pub(super) fn both(identities: &mut Identities) -> [Policy; 2] {
    let first = policy("first", FIRST, identities);
    let mut second = policy("second", SECOND_POLICY, identities);
    let device = identities.association("second-device");
    second.selectors.push((Selector::interface(0, DEVICE), device));
    [first, second]
}

/// A policy whose resources have this prefix to their names.
fn policy(prefix: &str, text: &str, identities: &mut Identities) -> Policy {
    let compiled = compiled(text, identities).compiled;
    let mut number = |name: &str| identities.association(format!("{prefix}-{name}"));
    let (v4, v6) = (parsed(SECOND.0), parsed(SECOND.1));
    let selectors = vec![
        (Selector::address(0, &v4), number("address")),
        (Selector::address(0, &v6), number("address-v6")),
        (Selector::address_port(0, &v4, 6, 9000), number("files")),
        (Selector::address_port(0, &v6, 6, 9000), number("files-v6")),
    ];
    Policy { compiled, selectors, listeners: [((6, 7000), number("service"))].into() }
}

fn parsed(text: &str) -> Address {
    Address::from(text.parse::<std::net::IpAddr>().expect("a constant"))
}
