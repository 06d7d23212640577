//! The two policies, and who is in them.

/// Addresses in both families.
pub(super) type Ends = (&'static str, &'static str);

/// Clients that both admit, by other rules.
pub(super) const OFFICE: Ends = ("203.0.113.5", "2001:db8:100::5");
/// Clients that the first admits alone.
pub(super) const GUEST: Ends = ("198.51.100.10", "2001:db8:a::10");
/// Clients that the second admits alone.
pub(super) const VISITOR: Ends = ("198.51.100.20", "2001:db8:b::20");
/// Clients that each admits to another port.
pub(super) const SPLIT: Ends = ("198.51.100.40", "2001:db8:c::40");
/// Nobody's.
pub(super) const STRANGER: Ends = ("198.51.100.100", "2001:db8:5::7");
/// A member in the first.
pub(super) const MEMBER: Ends = ("192.0.2.10", "2001:db8:1::10");
/// Where both let this host go.
pub(super) const MIRROR: Ends = ("198.51.100.200", "2001:db8:6::200");
/// The address of a name that each lets this host reach at another port.
pub(super) const VAULT: Ends = ("198.51.100.101", "2001:db8:7::101");
/// The address of a name of both, by other rules.
pub(super) const BANK: Ends = ("198.51.100.102", "2001:db8:7::102");
/// The server.
pub(super) const OWN: Ends = ("192.0.2.1", "2001:db8:1::1");
/// Its second address, which is a resource.
pub(super) const SECOND: Ends = ("192.0.2.2", "2001:db8:1::2");

pub(super) const HOSTS: &str = "198.51.100.101 vault.example.com\n2001:db8:7::101 vault.example.com\n\
                     198.51.100.102 bank.example.com\n2001:db8:7::102 bank.example.com\n";

/// Both of them. In the second `host` admits nobody, its device does: without its selectors it shows.
pub(crate) const POLICIES: [&str; 2] = [
    r#"
[perimeter]
name = "lab"
[profile.archive.inbound.first-archive]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40", "198.51.100.8/29", "2001:db8:a::/48"]
ports = ["8080/tcp"]
[profile.main.inbound.first-guest]
address_prefixes = ["198.51.100.8/29", "2001:db8:a::/48"]
ports = ["5432/tcp", "5432/udp"]
[profile.main.inbound.first-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp"]
[profile.main.inbound.first-split]
address_prefixes = ["198.51.100.32/27", "2001:db8:c::/48"]
ports = ["5432/tcp"]
[profile.main.outbound.first-guest]
address_prefixes = ["198.51.100.8/29", "2001:db8:a::/48"]
ports = ["443/tcp", "123/udp"]
[profile.main.outbound.first-mirror]
address_prefixes = ["198.51.100.192/26", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp"]
[profile.main.outbound.first-names]
fqdns = ["bank.example.com", "vault.example.com"]
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
[resource.trial]
ports = ["7100/tcp"]
profile = "main"
access_mode = "transition"
[member.web]
addresses = ["192.0.2.10", "2001:db8:1::10"]
"#,
    r#"
[perimeter]
name = "lab"
[profile.main.inbound.aside]
address_prefixes = ["198.51.100.104/29", "2001:db8:8::/48"]
ports = ["1-21/tcp", "8000-8010/udp"]
[profile.main.inbound.second-office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432/tcp", "5432/udp"]
[profile.main.inbound.second-split]
address_prefixes = ["198.51.100.32/27", "2001:db8:c::/48"]
ports = ["5433/tcp"]
[profile.main.inbound.second-visitor]
address_prefixes = ["198.51.100.16/29", "2001:db8:b::/48"]
ports = ["5432/tcp", "5432/udp"]
[profile.away.outbound.aside]
address_prefixes = ["198.51.100.104/29", "2001:db8:8::/48"]
ports = ["80/tcp"]
[profile.away.outbound.second-bank]
fqdns = ["bank.example.com"]
ports = ["443/tcp"]
[profile.away.outbound.second-mirror]
address_prefixes = ["198.51.100.192/26", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp"]
[profile.away.outbound.second-vault]
fqdns = ["vault.example.com"]
ports = ["8443/tcp"]
[profile.away.outbound.second-visitor]
address_prefixes = ["198.51.100.16/29", "2001:db8:b::/48"]
ports = ["443/tcp", "123/udp"]
[profile.zone.inbound.second-zone]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40", "198.51.100.16/29", "2001:db8:b::/48"]
ports = ["8080/tcp"]
[resource.second-host]
host = true
profile = "away"
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
[resource.trial]
ports = ["7100/tcp"]
profile = "main"
access_mode = "enforced"
"#,
];
