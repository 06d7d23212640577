use rstest::rstest;

use super::*;

const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// A host: devices by name, each with its index, and routes.
#[derive(Default)]
struct Host {
    links: Vec<Link>,
    routes: Vec<RouteEntry>,
    kept: Vec<&'static str>,
}

impl Host {
    fn link(mut self, name: &str, kind: LinkKind, addresses: &[&str]) -> Self {
        self.links.push(Link {
            index: self.links.len() as u32 + 1,
            name: name.into(),
            kind,
            up: true,
            ethernet: true,
            loopback: name == "lo",
            mtu: 1500,
            has_xdp: false,
            master: None,
            lower: None,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        });
        self
    }

    fn index(&self, name: &str) -> u32 {
        self.links.iter().find(|link| link.name == name).unwrap().index
    }

    fn on(mut self, lower: &str) -> Self {
        let lower = self.index(lower);
        self.links.last_mut().unwrap().lower = Some(lower);
        self
    }

    fn in_master(mut self, port: &str, master: &str) -> Self {
        let (port, master) = (self.index(port), self.index(master));
        self.links[port as usize - 1].master = Some(master);
        self
    }

    fn route(mut self, prefix: &str, device: &str) -> Self {
        let interfaces = [self.index(device)].into();
        self.routes.push(RouteEntry { prefix: prefix.parse().unwrap(), interfaces });
        self
    }

    /// It was judged until now.
    fn kept(mut self, name: &'static str) -> Self {
        self.kept.push(name);
        self
    }

    fn choose(&self, patterns: &[&str]) -> Choices {
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| Pattern::new(text).unwrap()).collect();
        let private: Vec<IpNet> = PRIVATE.iter().map(|net| net.parse().unwrap()).collect();
        let kept = self.kept.iter().map(|name| self.index(name)).collect();
        choose(&self.links, &self.routes, &patterns, &private, &kept)
    }

    fn judged(&self, patterns: &[&str]) -> Vec<String> {
        self.choose(patterns).judged().map(|choice| choice.name.clone()).collect()
    }

    fn reason(&self, patterns: &[&str], name: &str) -> String {
        let choices = self.choose(patterns).devices;
        choices.into_iter().find(|choice| choice.name == name).unwrap().reason
    }
}

fn with_lo() -> Host {
    Host::default().link("lo", LinkKind::Device, &["127.0.0.1/8", "::1/128"])
}

#[rstest]
#[case::default_route(&["10.0.0.2/24"], Some("0.0.0.0/0"), "it has a default route")]
#[case::default_route_v6(&["fd00::2/64"], Some("::/0"), "it has a default route")]
#[case::test_net_is_public(&["192.0.2.2/24"], None, "it has the public address 192.0.2.2")]
#[case::public_v6(&["2001:db8::2/64"], None, "it has the public address 2001:db8::2")]
#[case::public_route(&["10.0.0.2/24"], Some("198.51.100.0/24"),
    "it has a route to the public prefix 198.51.100.0/24")]
#[case::half_of_everything(&["10.8.0.2/24"], Some("128.0.0.0/1"),
    "it has a route to the public prefix 128.0.0.0/1")]
fn judges_what_faces_the_public(
    #[case] addresses: &[&str],
    #[case] route: Option<&str>,
    #[case] reason: &str,
) {
    let host = with_lo().link("eth0", LinkKind::Device, addresses);
    let host = route.into_iter().fold(host, |host, route| host.route(route, "eth0"));
    assert_eq!(host.judged(&[]), ["eth0"]);
    assert_eq!(host.reason(&[], "eth0"), reason);
}

#[rstest]
#[case::private(&["172.17.0.1/16", "fe80::1/64"], Some("172.17.0.0/16"))]
#[case::multicast(&["10.0.0.2/24"], Some("ff00::/8"))]
fn leaves_out_what_is_private(#[case] addresses: &[&str], #[case] route: Option<&str>) {
    let host = with_lo().link("docker0", LinkKind::Bridge, addresses);
    let host = route.into_iter().fold(host, |host, route| host.route(route, "docker0"));
    assert_eq!(host.judged(&[]), [] as [&str; 0]);
    let reason = "it has no default route and no public address or route";
    assert_eq!(host.reason(&[], "docker0"), reason);
}

#[rstest]
#[case::card(LinkKind::Device)]
#[case::cable(LinkKind::Veth)]
#[case::vlan(LinkKind::Vlan)]
#[case::macvlan(LinkKind::Macvlan)]
#[case::ipvlan(LinkKind::Ipvlan)]
#[case::bridge(LinkKind::Bridge)]
#[case::bond(LinkKind::Bond)]
#[case::dial_in(LinkKind::Tunnel("ppp".into()))]
#[case::of_a_switch(LinkKind::Other("dsa".into()))]
fn what_has_no_address_yet_is_judged_until_it_is_private(#[case] kind: LinkKind) {
    let addressed = |addresses: &[&str]| {
        with_lo().link("eth0", kind.clone(), addresses).route("fe80::/64", "eth0")
    };
    for new in [&[] as &[&str], &["fe80::2/64"]] {
        assert_eq!(addressed(new).judged(&[]), ["eth0"]);
        assert_eq!(addressed(new).reason(&[], "eth0"), "it has no address yet");
    }
    for private in ["10.0.0.2/24", "169.254.0.2/16", "fd00::2/64"] {
        let host = addressed(&["fe80::2/64", private]);
        // RFC 3927 is no private range of a policy, and no device's of itself.
        let expected: &[&str] = if private.starts_with("169") { &["eth0"] } else { &[] };
        assert_eq!(host.judged(&[]), expected, "{private}");
        // The address comes before the default route.
        assert_eq!(host.kept("eth0").judged(&[]), ["eth0"], "{private}");
    }
}

#[rstest]
#[case::inside_of_a_tunnel(LinkKind::Tunnel("gre".into()))]
#[case::of_a_program(LinkKind::Tun)]
#[case::of_a_virtual_machine(LinkKind::Tap("macvtap".into()))]
#[case::of_nobody(LinkKind::Other("dummy".into()))]
#[case::where_packets_are_put_in_order(LinkKind::Other("ifb".into()))]
fn what_no_host_is_reached_by_is_not_waited_for(#[case] kind: LinkKind) {
    let host = with_lo().link("a", kind, &[]);
    assert_eq!(host.judged(&[]), [] as [&str; 0]);
    assert_eq!(host.kept("a").judged(&[]), [] as [&str; 0]);
}

#[test]
fn way_to_a_container_is_private_at_once() {
    let host = with_lo().link("veth1", LinkKind::Veth, &["fe80::2/64"]);
    assert_eq!(host.judged(&[]), ["veth1"]);
    let host = host.route("10.1.0.7/32", "veth1").kept("veth1");
    assert_eq!(host.judged(&[]), [] as [&str; 0]);
    let port = with_lo()
        .link("veth1", LinkKind::Veth, &[])
        .link("docker0", LinkKind::Bridge, &["172.17.0.1/16"])
        .in_master("veth1", "docker0")
        .kept("veth1");
    assert_eq!(port.judged(&[]), [] as [&str; 0]);
}

#[test]
fn what_was_judged_is_held_by_its_own_address_and_not_by_patterns() {
    let host = || with_lo().link("eth0", LinkKind::Device, &["10.0.0.2/24"]).kept("eth0");
    let choices = host().choose(&[]);
    assert!(choices.devices[1].judged && choices.devices[1].is_held);
    assert_eq!(host().judged(&["eth1"]), [] as [&str; 0]);
    let with_route = host().route("0.0.0.0/0", "eth0").choose(&[]);
    assert!(with_route.devices[1].judged && !with_route.devices[1].is_held);
}

#[test]
fn bridge_that_is_held_judges_for_its_ports() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &[])
        .link("br0", LinkKind::Bridge, &["10.0.0.2/24"])
        .in_master("eth0", "br0")
        .kept("br0")
        .kept("eth0");
    assert_eq!(host.judged(&[]), ["br0"]);
}

#[test]
fn master_without_an_address_is_waited_for_unless_its_port_has_one() {
    let bond = |addresses: &[&str]| {
        with_lo()
            .link("eth0", LinkKind::Device, addresses)
            .link("bond0", LinkKind::Bond, &[])
            .in_master("eth0", "bond0")
    };
    assert_eq!(bond(&[]).judged(&[]), ["bond0"]);
    assert_eq!(bond(&["192.0.2.2/24"]).judged(&[]), ["eth0"]);
}

#[test]
fn port_of_a_vrf_without_an_address_is_waited_for() {
    let host = with_lo()
        .link("red", LinkKind::Vrf, &[])
        .link("eth0", LinkKind::Device, &[])
        .in_master("eth0", "red");
    assert_eq!(host.judged(&[]), ["eth0"]);
}

#[test]
fn parent_without_an_address_judges_for_its_child_while_it_is_held() {
    let parent = || {
        with_lo()
            .link("eth0", LinkKind::Device, &[])
            .link("eth0.9", LinkKind::Vlan, &["198.51.100.2/24"])
            .on("eth0")
    };
    assert_eq!(parent().judged(&[]), ["eth0.9"]);
    assert_eq!(parent().kept("eth0").judged(&[]), ["eth0"]);
}

#[test]
fn port_without_an_address_is_not_waited_for() {
    let port = with_lo()
        .link("eth0", LinkKind::Device, &[])
        .link("br0", LinkKind::Bridge, &["10.0.0.2/24"])
        .in_master("eth0", "br0");
    assert_eq!(port.judged(&[]), [] as [&str; 0]);
}

#[test]
fn loopback_is_never_judged_even_by_name() {
    let host = with_lo();
    assert_eq!(host.judged(&["lo"]), [] as [&str; 0]);
    assert_eq!(host.choose(&["lo"]).unmatched, ["lo"]);
}

fn vlan_host() -> Host {
    with_lo()
        .link("eth0", LinkKind::Device, &["192.0.2.2/24"])
        .link("eth0.9", LinkKind::Vlan, &["198.51.100.2/24"])
        .on("eth0")
}

#[test]
fn a_vlan_of_a_judged_device_is_judged_there() {
    assert_eq!(vlan_host().judged(&[]), ["eth0"]);
    assert_eq!(vlan_host().reason(&[], "eth0.9"), "its packets are judged at eth0");
}

#[test]
fn a_vlan_of_a_bare_device_is_judged_itself() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &[])
        .link("eth0.9", LinkKind::Vlan, &["198.51.100.2/24"])
        .on("eth0");
    assert_eq!(host.judged(&[]), ["eth0.9"]);
}

#[rstest]
#[case::glob_keeps_one_point(&["eth*"], &["eth0"])]
#[case::name_of_the_child(&["eth0.9"], &["eth0.9"])]
#[case::glob_and_name(&["eth*", "eth0.9"], &["eth0", "eth0.9"])]
fn patterns_decide_alone(#[case] patterns: &[&str], #[case] expected: &[&str]) {
    assert_eq!(vlan_host().judged(patterns), expected);
}

#[test]
fn a_named_child_says_that_it_is_judged_twice() {
    let reason = vlan_host().reason(&["eth0", "eth0.9"], "eth0.9");
    assert_eq!(reason, "it is named, though its packets are also judged at eth0");
}

#[test]
fn a_pattern_that_matches_nothing_is_reported() {
    let choices = vlan_host().choose(&["eth0", "enp*"]);
    assert_eq!(choices.unmatched, ["enp*"]);
}

#[test]
fn a_bridge_is_judged_and_its_ports_are_not() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &["192.0.2.3/24"])
        .link("br0", LinkKind::Bridge, &["192.0.2.2/24"])
        .in_master("eth0", "br0");
    assert_eq!(host.judged(&[]), ["br0"]);
    assert_eq!(host.reason(&[], "eth0"), "its packets are judged at br0");
}

#[test]
fn a_vlan_on_a_bond_leaves_the_bond_as_the_point() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &[])
        .link("bond0", LinkKind::Bond, &["192.0.2.2/24"])
        .link("bond0.9", LinkKind::Vlan, &["198.51.100.2/24"])
        .on("bond0")
        .in_master("eth0", "bond0");
    assert_eq!(host.judged(&[]), ["bond0"]);
}

#[test]
fn a_vlan_of_a_bridge_port_is_not_the_bridges() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &[])
        .link("br0", LinkKind::Bridge, &["192.0.2.2/24"])
        .link("eth0.9", LinkKind::Vlan, &["198.51.100.2/24"])
        .on("eth0")
        .in_master("eth0", "br0");
    assert_eq!(host.judged(&[]), ["br0", "eth0.9"]);
}

#[test]
fn the_ports_of_a_vrf_are_judged_and_the_vrf_is_not() {
    let host = with_lo()
        .link("red", LinkKind::Vrf, &["192.0.2.9/32"])
        .link("eth0", LinkKind::Device, &["192.0.2.2/24"])
        .in_master("eth0", "red");
    assert_eq!(host.judged(&[]), ["eth0"]);
}

#[test]
fn a_tunnel_is_judged_beside_the_device_that_carries_it() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &["10.0.0.2/24"])
        .link("wg0", LinkKind::Wireguard, &["10.8.0.2/24"])
        .route("0.0.0.0/0", "eth0")
        .route("0.0.0.0/1", "wg0");
    assert_eq!(host.judged(&[]), ["eth0", "wg0"]);
}

#[test]
fn a_loop_of_masters_ends() {
    let host = with_lo()
        .link("a", LinkKind::Bridge, &[])
        .link("b", LinkKind::Bridge, &[])
        .in_master("a", "b")
        .in_master("b", "a");
    assert_eq!(host.judged(&[]), [] as [&str; 0]);
}

#[test]
fn a_vlan_of_a_port_that_yields_to_its_bridge_is_judged_itself() {
    let host = with_lo()
        .link("eth0", LinkKind::Device, &["192.0.2.3/24"])
        .link("br0", LinkKind::Bridge, &["192.0.2.2/24"])
        .link("eth0.9", LinkKind::Vlan, &["198.51.100.2/24"])
        .on("eth0")
        .in_master("eth0", "br0");
    assert_eq!(host.judged(&[]), ["br0", "eth0.9"]);
}
