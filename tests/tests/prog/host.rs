//! A host with everything that decides beside the policy: selectors, resolvers, learned names, routes,
//! and entries of the live overlay, told to the kernel's maps and to the model alike.

use std::net::IpAddr;

use ipnet::IpNet;
use nsp_agent::{
    compile::overlay::{Entry, OverlayTables, Target},
    policy::model::{PortRange, PortSet, PortSpec, Transport},
};
use nsp_common::{
    address::Address,
    learned::{Learned, LearnedName, QUOTA_EXACT, Unit},
    link::endpoint,
    overlay::action,
    selector::Selector,
    verdict::Lesson,
};
use nsp_tests::prog::{Lab, model::Model};

/// A slice, by the id of its cgroup.
pub(crate) const SLICE: u64 = 1001;
/// A service in it.
pub(crate) const SERVICE: u64 = 1002;

/// Many resources, all kinds of selectors, every mode.
pub(crate) const MANY: &str = r#"
[perimeter]
name = "lab"
platform = "aws"
public_network_access = "transition"
[profile.database.inbound.office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
ports = ["5432-5433/tcp", "5432/udp", "icmp", "proto/47"]
[profile.database.inbound.a-narrow]
address_prefixes = ["203.0.113.77/32", "2001:db8:1ff::/48"]
[profile.database.outbound.mirror]
address_prefixes = ["198.51.100.128/25", "2001:db8:6::/48"]
ports = ["443/tcp", "123/udp", "icmp"]
[profile.database.outbound.named]
fqdns = ["api.example.com"]
ports = ["443/tcp", "5432/tcp"]
[profile.web]
private = "rules"
metadata = "deny"
[profile.web.inbound.everyone]
address_prefixes = ["0.0.0.0/0", "::/0"]
allow_any = true
ports = ["443/tcp"]
[profile.web.outbound.lan]
address_prefixes = ["10.0.0.0/8", "fd00::/8"]
[profile.calls.outbound.anywhere]
address_prefixes = ["0.0.0.0/0", "::/0"]
allow_any = true
ports = ["443/tcp"]
[profile.no-calls]
private = "rules"
[resource.postgres]
ports = ["5432/tcp", "5432/udp"]
profile = "database"
access_mode = "enforced"
[resource.site]
ports = ["443/tcp", "80/tcp"]
profile = "web"
inbound_mode = "enforced"
[resource.second]
address = "192.0.2.2"
profile = "database"
outbound_mode = "enforced"
[resource.service]
cgroup = "/system.slice/backup.service"
profile = "calls"
access_mode = "enforced"
[resource.slice]
cgroup = "/system.slice"
profile = "no-calls"
access_mode = "enforced"
[member.web]
addresses = ["192.0.2.10", "2001:db8:1::10"]
[logging]
enabled_log_categories = ["*"]
"#;

/// What the host adds to the policy, for the kernel and for the model.
pub(crate) struct Host {
    pub(crate) selectors: Vec<(Selector, u16)>,
    pub(crate) endpoints: Vec<(Address, u32)>,
    pub(crate) learned: Vec<(IpAddr, Learned)>,
    pub(crate) routes: Vec<(IpNet, u64)>,
}

fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().expect("a constant"))
}

impl Host {
    pub(crate) fn of(lab: &mut Lab) -> Self {
        let mut number = |name: &str| lab.identities.association(name);
        let mut selectors = vec![
            (Selector::address(0, &address("192.0.2.2")), number("second")),
            (Selector::address(0, &address("2001:db8:1::2")), number("second")),
            (Selector::cgroup(0, SLICE), number("slice")),
            (Selector::cgroup(0, SERVICE), number("service")),
        ];
        let with_port = Selector::address_port(0, &address("192.0.2.2"), 6, 443);
        selectors.push((with_port, number("site")));
        let name = lab.identities.name("api.example.com");
        let mut learned = Learned::default();
        learned.names[0] = LearnedName { name: 900, expires_s: u32::MAX };
        learned.names[5] = LearnedName { name, expires_s: u32::MAX };
        let mut expired = Learned::default();
        expired.names[0] = LearnedName { name, expires_s: 1 };
        let parse = |text: &str| text.parse::<IpAddr>().expect("a constant");
        Self {
            selectors,
            endpoints: vec![
                (address("198.51.100.53"), endpoint::RESOLVER),
                (address("2001:db8:5::53"), endpoint::RESOLVER),
            ],
            learned: vec![
                (parse("198.51.100.7"), learned),
                (parse("2001:db8:5::7"), learned),
                (parse("198.51.100.200"), expired),
                (parse("2001:db8:6::200"), expired),
            ],
            routes: [("0.0.0.0/0", 0), ("::/0", 0), ("10.0.0.0/8", 1), ("fd00::/8", 1)]
                .map(|(prefix, group)| (prefix.parse().expect("a constant"), 1 << group))
                .to_vec(),
        }
    }

    pub(crate) fn tell_kernel(&self, lab: &mut Lab) {
        lab.datapath.select(&self.selectors).expect("selectors fit");
        lab.datapath.set_endpoints(&self.endpoints).expect("endpoints fit");
        lab.datapath.set_routes(&self.routes).expect("routes fit");
        for (address, learned) in &self.learned {
            for LearnedName { name, expires_s } in learned.names {
                if name != 0 {
                    let unit = Unit { name, quota: QUOTA_EXACT };
                    let lesson = lab.datapath.teach(*address, unit, expires_s).expect("it runs");
                    assert_eq!(lesson, Lesson::Learned);
                }
            }
        }
    }

    pub(crate) fn tell_model(&self, model: &mut Model<'_>) {
        model.selectors = self.selectors.iter().copied().collect();
        model.endpoints = self.endpoints.iter().copied().collect();
        model.routes.clone_from(&self.routes);
        let learned = self.learned.iter().map(|(address, it)| (Address::from(*address), *it));
        model.learned = learned.collect();
    }
}

/// What is allowed and blocked for a time: for addresses, for all around one, by ports, by profile and
/// by name. Some of it is over.
pub(crate) fn overlay(lab: &mut Lab, until_s: u32) -> OverlayTables {
    const ALLOW: u8 = action::INBOUND | action::OUTBOUND;
    const BLOCK: u8 = ALLOW | action::BLOCK;
    let everywhere = [
        ("198.51.100.0/24", ALLOW, u32::MAX),
        ("198.51.100.7", ALLOW, until_s),
        ("2001:db8:5::/48", action::OUTBOUND, until_s),
        ("198.51.100.0/25", action::INBOUND | action::BLOCK, 1),
        ("203.0.113.77", BLOCK, until_s),
        ("2001:db8:1ff::/48", BLOCK, u32::MAX),
        ("10.0.0.9", BLOCK, until_s),
        ("fd00:10::/64", action::INBOUND | action::BLOCK, until_s),
        ("api.example.com", action::OUTBOUND, u32::MAX),
        ("*.example.com", BLOCK, until_s),
    ];
    let mut entries: Vec<Entry> = everywhere
        .into_iter()
        .map(|(target, actions, until_s)| Entry {
            target: Target::parse(target).expect("a prefix or a name"),
            actions,
            ports: PortSet::Any,
            profile: 0,
            until_s,
            identity: lab.identities.temporary("", &format!("{target} {actions}")),
        })
        .collect();
    let https = PortRange { transport: Transport::Tcp, first: 443, last: 443 };
    let ports = PortSet::listed([PortSpec::Range(https), PortSpec::Icmp]);
    entries[0].ports = ports;
    entries[4].profile = lab.identities.profile("database");
    OverlayTables::of(&entries, lab.identities.names()).expect("they fit")
}
