use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use proptest::{collection::vec, option, prelude::*, test_runner::TestCaseError};
use rstest::rstest;

use super::*;
use crate::{
    compile::{self, identities::Identities},
    policy::{
        self, Loaded,
        model::{AccessMode, OutboundRule, PortSpec, Selector},
    },
};

fn range(transport: Transport, first: u16, last: u16) -> PortRange {
    PortRange { transport, first, last }
}

fn tcp(port: u16) -> PortRange {
    range(Transport::Tcp, port, port)
}

fn udp(port: u16) -> PortRange {
    range(Transport::Udp, port, port)
}

fn service(name: &str, unit: Option<&str>, ports: &[PortRange]) -> Service {
    Service { name: name.to_owned(), unit: unit.map(str::to_owned), ports: ports.to_vec() }
}

fn published(ports: &[(PortRange, &str)]) -> Published {
    let mut all: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for (range, to) in ports {
        all.entry(*range).or_default().insert((*to).to_owned());
    }
    Published { ports: all, notes: BTreeSet::new() }
}

fn time_servers() -> TimeServers {
    TimeServers {
        names: ["ntp.example.com", "2.debian.pool.ntp.org"]
            .map(|name| name.parse().unwrap())
            .into(),
        addresses: ["192.0.2.123", "2001:db8::123"].map(|it| it.parse().unwrap()).into(),
        files: vec![PathBuf::from("/etc/chrony/chrony.conf")],
        notes: Vec::new(),
    }
}

/// What `nsp check` makes of it: read, compiled, and nothing to remark on.
fn checked(text: &str) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = policy::load(&file).map_err(|errors| format!("{errors}\n{text}"))?;
    compile::compile(&loaded.policy, &mut Identities::default())
        .map_err(|error| format!("{error}\n{text}"))?;
    if let Some(note) = loaded.notes.first() {
        return Err(format!("{note}\n{text}"));
    }
    let mut modes =
        loaded.policy.resources.values().flat_map(|it| [it.inbound_mode, it.outbound_mode]);
    assert!(modes.all(|mode| mode == AccessMode::Transition), "{text}");
    Ok(loaded)
}

#[track_caller]
fn accepted(found: &Found) -> (String, Loaded) {
    let text = policy(found);
    match checked(&text) {
        Ok(loaded) => (text, loaded),
        Err(why) => panic!("{why}"),
    }
}

fn resources(loaded: &Loaded) -> Vec<String> {
    let resources = loaded.policy.resources.iter();
    resources.map(|(name, resource)| format!("{name}: {}", resource.selector)).collect()
}

fn outbound<'a>(loaded: &'a Loaded, profile: &str, rule: &str) -> &'a OutboundRule {
    &loaded.policy.profiles[profile].outbound[rule]
}

#[test]
fn a_host_on_which_nothing_was_found_has_its_own_resource_last() {
    let (text, loaded) = accepted(&Found::default());
    assert_eq!(resources(&loaded), ["host: host"]);
    let end = "[resource.host]\nhost = true\nprofile = \"host\"\naccess_mode = \"transition\"\n";
    assert!(text.ends_with(end), "{text}");
    assert!(text.contains("# No time servers were found"), "{text}");
    assert!(!text.contains("this is a machine of"), "{text}");
}

#[test]
fn everything_that_was_found_is_in_the_policy() {
    let found = Found {
        judged: vec![("eth0".to_owned(), "it has the default route".to_owned())],
        resolvers: vec!["192.0.2.53".to_owned()],
        platform: Platform::Azure,
        services: vec![
            service("postgresql@15-main", Some("postgresql@15-main.service"), &[tcp(5432)]),
            service("port-22-tcp", None, &[tcp(22)]),
        ],
        published: published(&[
            (tcp(8080), "172.17.0.2:80"),
            (tcp(8080), "[fd00:17::2]:80"),
            (range(Transport::Udp, 6000, 6010), "172.17.0.3"),
        ]),
        time_servers: time_servers(),
        wireguard: Wireguard {
            links: vec!["wg0".to_owned()],
            endpoints: ["203.0.113.9:51820", "[2001:db8::9]:51821"]
                .map(|it| it.parse().unwrap())
                .into(),
            note: None,
        },
    };
    let (text, loaded) = accepted(&found);
    let expected = [
        "host: host",
        "port-22-tcp: ports 22/tcp",
        "postgresql-15-main: unit postgresql@15-main.service, ports 5432/tcp",
        "published-6000-6010-udp: ports 6000-6010/udp",
        "published-8080-tcp: ports 8080/tcp",
    ];
    assert_eq!(resources(&loaded), expected);
    for line in [
        "# interface eth0 will be judged: it has the default route\n",
        "# resolvers of this host, trusted for DNS: 192.0.2.53\n",
        "# this is a machine of Azure: its metadata service, agents and health probes",
        "leads to 172.17.0.2:80, [fd00:17::2]:80\n",
        "# The time servers, from /etc/chrony/chrony.conf.\n",
        "# WireGuard (wg0): where its peers are now.\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let time = outbound(&loaded, "host", "time-servers");
    assert_eq!(time.fqdns.len(), 2);
    assert_eq!(time.prefixes.len(), 2);
    let ports = |ports: &[PortRange]| {
        policy::model::PortSet::listed(ports.iter().copied().map(PortSpec::Range))
    };
    assert_eq!(time.ports, ports(&[udp(123)]));
    let tunnel = outbound(&loaded, "host", "wireguard");
    assert_eq!(tunnel.prefixes.len(), 2);
    assert_eq!(tunnel.ports, ports(&[udp(51820), udp(51821)]));
}

#[test]
fn a_time_server_of_this_host_may_ask_others_from_its_own_port() {
    let services = vec![service("chrony", Some("chrony.service"), &[udp(123)])];
    let (_, loaded) =
        accepted(&Found { services, time_servers: time_servers(), ..Found::default() });
    for profile in ["chrony", "host"] {
        assert_eq!(outbound(&loaded, profile, "time-servers").fqdns.len(), 2);
    }
}

#[test]
fn a_published_port_with_a_listener_is_the_listeners() {
    let services = vec![service("docker", Some("docker.service"), &[tcp(8080)])];
    let published = published(&[(tcp(8080), "172.17.0.2:80"), (udp(8080), "172.17.0.2:80")]);
    let (_, loaded) = accepted(&Found { services, published, ..Found::default() });
    let expected = [
        "docker: unit docker.service, ports 8080/tcp",
        "host: host",
        "published-8080-udp: ports 8080/udp",
    ];
    assert_eq!(resources(&loaded), expected);
}

#[test]
fn a_published_range_leaves_out_what_has_a_resource() {
    let services = vec![service("port-22-tcp", None, &[tcp(22)])];
    let published =
        published(&[(range(Transport::Tcp, 1, 65535), "172.17.0.2"), (tcp(80), "172.17.0.3:80")]);
    let (_, loaded) = accepted(&Found { services, published, ..Found::default() });
    let expected = [
        "host: host",
        "port-22-tcp: ports 22/tcp",
        "published-1-65535-tcp: ports 1-21/tcp, 23-65535/tcp",
    ];
    assert_eq!(resources(&loaded), expected);
}

#[test]
fn a_port_of_two_units_is_the_first_ones() {
    let services = vec![
        service("dnsmasq", Some("dnsmasq.service"), &[udp(53)]),
        service("named", Some("named.service"), &[udp(53), tcp(953)]),
        service("other", Some("other.service"), &[udp(53)]),
    ];
    let (text, loaded) = accepted(&Found { services, ..Found::default() });
    let expected = [
        "dnsmasq: unit dnsmasq.service, ports 53/udp",
        "host: host",
        "named: unit named.service, ports 953/tcp",
        "other: unit other.service",
    ];
    assert_eq!(resources(&loaded), expected);
    assert!(text.contains("# 53/udp is another resource's too, which keeps it\n"), "{text}");
}

#[rstest]
#[case::dot("php8.2-fpm", "php8.2-fpm")]
#[case::instance("postgresql@15-main", "postgresql-15-main")]
#[case::escaped(r"dev-disk\x2d1", "dev-disk-x2d1")]
#[case::like_the_host("host", "host-2")]
#[case::nothing_left("-", "service")]
#[case::long(&"a".repeat(200), &"a".repeat(70))]
fn units_have_a_name_of_their_own(#[case] name: &str, #[case] expected: &str) {
    let unit = format!("{name}.service");
    let (_, loaded) = accepted(&Found {
        services: vec![service(name, Some(&unit), &[tcp(80)])],
        ..Found::default()
    });
    let resource = loaded.policy.resources.get(expected).expect("it is called so");
    let Selector::Part(part) = &resource.selector else { panic!("{resource:?}") };
    let process = part.process.as_ref().map(|process| format!("{process:?}"));
    assert!(process.is_some_and(|it| it.contains(&format!("{unit:?}"))), "{resource:?}");
}

#[test]
fn two_units_of_nearly_one_name_stay_apart() {
    let services = vec![
        service("web@1", Some("web@1.service"), &[tcp(80)]),
        service("web-1", Some("web-1.service"), &[tcp(81)]),
    ];
    let (_, loaded) = accepted(&Found { services, ..Found::default() });
    let expected = [
        "host: host",
        "web-1: unit web@1.service, ports 80/tcp",
        "web-1-2: unit web-1.service, ports 81/tcp",
    ];
    assert_eq!(resources(&loaded), expected);
}

#[test]
fn unknown_peers_of_a_tunnel_are_said() {
    let links = vec!["wg0".to_owned()];
    let wireguard =
        Wireguard { links, note: Some("wg is not there".to_owned()), ..Wireguard::default() };
    let (text, loaded) = accepted(&Found { wireguard, ..Found::default() });
    let line = "# WireGuard (wg0): its peers are not known, because wg is not there; allow them\n";
    assert!(text.contains(line), "{text}");
    assert!(loaded.policy.profiles["host"].outbound.is_empty());
}

#[test]
fn what_programs_and_files_say_stays_in_its_comment() {
    let odd = "nft: bad\n[resource.evil]\r\u{7f}\u{85}\u{2028}host = true";
    let mut found = Found { judged: vec![(odd.to_owned(), odd.to_owned())], ..Found::default() };
    found.published = published(&[(tcp(80), odd)]);
    found.published.notes.insert(odd.to_owned());
    found.time_servers.notes.push(odd.to_owned());
    found.wireguard = Wireguard {
        links: vec![odd.to_owned()],
        note: Some(odd.to_owned()),
        ..Wireguard::default()
    };
    let (_, loaded) = accepted(&found);
    assert_eq!(resources(&loaded), ["host: host", "published-80-tcp: ports 80/tcp"]);
}

fn any_range() -> impl Strategy<Value = PortRange> {
    (prop::sample::select(&Transport::ALL[..]), 1..=u16::MAX, 0..100_u16)
        .prop_map(|(transport, first, more)| range(transport, first, first.saturating_add(more)))
}

fn any_service() -> impl Strategy<Value = Service> {
    // Few names and ports, so that they meet.
    (option::of("[a-b.@_:-]{1,3}"), vec((1..9_u16).prop_map(tcp), 1..4)).prop_map(
        |(unit, ports)| Service {
            name: unit.clone().unwrap_or_else(|| format!("port-{}", spelt(&ports[0]))),
            unit: unit.map(|unit| format!("{unit}.service")),
            ports,
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_found_the_policy_is_accepted(
        services in vec(any_service(), 0..6),
        ranges in vec(any_range(), 0..6),
        addresses in vec(any::<IpAddr>(), 0..4),
    ) {
        // systemd runs a unit once.
        let mut units = BTreeSet::new();
        let once = |it: &Service| it.unit.as_ref().is_none_or(|unit| units.insert(unit.clone()));
        let services: Vec<Service> = services.into_iter().filter(once).collect();
        let template = |it: &Service| it.unit.as_ref().is_some_and(|it| it.ends_with("@.service"));
        prop_assume!(!services.iter().any(template));
        let ranges: Vec<_> = ranges.into_iter().map(|range| (range, "172.17.0.2")).collect();
        let mut found = Found { services, published: published(&ranges), ..Found::default() };
        found.time_servers.addresses = addresses.iter().map(IpAddr::to_canonical).collect();
        checked(&policy(&found)).map_err(TestCaseError::fail)?;
    }
}
