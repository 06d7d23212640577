//! A service that is published by rewriting addresses, as container engines do: what a host
//! firewall's input chain never sees.

use std::{fs, net::SocketAddr, process::Command};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{EchoServer, Outcome, still_echoes, tcp_connect},
};
use serde_json::json;

use crate::{outbound::assert_denied, seen, service};

/// The port the world sees, and the one the service has in its container.
const PUBLISHED: u16 = 8080;
const INSIDE: u16 = 80;

/// Publishes the port, hides the container behind the server's addresses, and closes the server.
const RULES: &str = "
table inet engine {
    chain publish {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local tcp dport 8080 dnat ip to 172.17.0.2:80
        fib daddr type local tcp dport 8080 dnat ip6 to [fd00:17::2]:80
    }
    chain hide {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname up0 masquerade
        ip6 saddr fd00:17::/64 oifname up0 masquerade
    }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
";

fn policy(mode: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "shop"
        [profile.web.inbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [profile.web.outbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [resource.web]
        ports = ["{PUBLISHED}/tcp"]
        profile = "web"
        access_mode = "{mode}"
        [resource.host]
        host = true
        profile = "web"
        access_mode = "{mode}"
        "#
    )
}

/// The world with a container behind the server.
fn world() -> World {
    let mut world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let sandbox = world.sandbox();
    sandbox.add_host("container");
    sandbox.connect(("server", "docker0"), ("container", "eth0"));
    sandbox.host("container").ip("address add 172.17.0.2/16 dev eth0\n\
         address add fd00:17::2/64 dev eth0 nodad\n\
         route add default via 172.17.0.1\n\
         route add ::/0 via fd00:17::1\n");
    let server = sandbox.host("server");
    server.ip("address add 172.17.0.1/16 dev docker0\naddress add fd00:17::1/64 dev docker0 nodad");
    server.sysctl("net.ipv4.ip_forward", "1");
    server.sysctl("net.ipv6.conf.all.forwarding", "1");
    let done = server.output(Command::new("nft").arg(RULES));
    assert!(done.status.success(), "nft: {}", String::from_utf8_lossy(&done.stderr));
    sandbox.settle();
    world
}

fn container(world: &mut World) -> EchoServer {
    service::tcp(world.sandbox().host("container"), INSIDE)
}

#[test]
fn published_port_is_closed_to_the_stranger_where_the_host_firewall_is_passed_by() {
    let mut world = world();
    let _web = container(&mut world);
    for family in BOTH {
        let open = world.connect(Party::Stranger, family, PUBLISHED);
        assert_eq!(open, Outcome::Connected, "the firewall says drop, and the port is open");
    }
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, PUBLISHED), Outcome::TimedOut);
        assert!(still_echoes(&service::open(&world, Party::Office, family, PUBLISHED)));
        let seen_port = json!({
            "DestinationIpAddress": Party::Server.address(family),
            "DestinationPort": PUBLISHED,
            "ServiceResourceId": "/perimeters/shop/resources/web",
        });
        let with = |more: serde_json::Value| {
            let mut columns = seen_port.clone();
            let more = more.as_object().expect("columns").clone();
            columns.as_object_mut().expect("columns").extend(more);
            columns
        };
        seen::record(
            &agent,
            &with(json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Stranger.address(family),
            })),
        );
        let office = seen::record(
            &agent,
            &with(json!({
                "Category": "NspPublicInboundPerimeterRulesAllowed",
                "SourceIpAddress": Party::Office.address(family),
                "MatchedRule": {"accessRule": "office"},
            })),
        );
        assert!(seen::number(&office["Packets"]) > 3, "both ways are one record: {office}");
    }
    seen::no_record(&agent, &json!({"ResultDirection": "Outbound"}));
}

#[test]
fn published_conversation_that_is_silent_while_the_agent_starts_is_kept() {
    let mut world = world();
    let _web = container(&mut world);
    let streams = BOTH.map(|family| service::open(&world, Party::Stranger, family, PUBLISHED));
    assert!(streams.iter().all(still_echoes));
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    assert!(streams.iter().all(still_echoes), "{}", agent.stderr());
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, PUBLISHED), Outcome::TimedOut);
    }
}

#[test]
fn container_behind_an_enforced_host_does_not_get_out_either() {
    let mut world = world();
    let _office = service::tcp(world.host(Party::Office), 443);
    let stranger = service::tcp(world.host(Party::Stranger), 443);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    for family in BOTH {
        let office = from_container(&mut world, Party::Office, family);
        assert_eq!(office, Outcome::Connected);
        assert_denied(from_container(&mut world, Party::Stranger, family));
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Server.address(family),
                "DestinationIpAddress": Party::Stranger.address(family),
            }),
        );
    }
    assert_eq!(stranger.served().arrivals, 0);
}

#[test]
fn host_that_routes_passes_what_it_forwards_and_still_judges_its_own() {
    let mut world = world();
    let _stranger = service::tcp(world.host(Party::Stranger), 443);
    let _web = container(&mut world);
    let policy =
        policy("enforced").replace("name = \"shop\"", "name = \"shop\"\nforwarded = \"pass\"");
    let agent = Agent::builder(world.server()).policy(&policy).start();
    for family in BOTH {
        let met = from_container(&mut world, Party::Stranger, family);
        assert_eq!(met, Outcome::Connected, "{}", agent.access_log());
        assert_denied(service::connect_out(&world, Party::Stranger, family, 443));
    }
    assert!(seen::packets(&agent, "forwarded", "Outbound", "allow") > 0);
}

#[test]
fn init_makes_a_resource_of_the_published_port_and_its_policy_runs() {
    let mut world = world();
    let _web = container(&mut world);
    let _ssh = service::tcp(world.server(), 22);
    // The machine's own time servers and firmware are not the test's.
    let machine = tempfile::tempdir().expect("the temporary directory is writable");
    let path = |name: &str| machine.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("ntp.conf"), "server 198.51.100.7 iburst\n").expect("it is writable");
    fs::write(path("sys_vendor"), "Amazon EC2\n").expect("it is writable");
    let (written, here) = (path("policy.toml"), path(""));
    let mut agent = Agent::builder(world.server()).build();
    agent.nsp_ok(&["init", "--output", &written, "--etc", &here, "--dmi", &here]);
    let checked = agent.nsp_ok(&["check", &written]);
    for line in [
        "resource published-8080-tcp: ports 8080/tcp → profile published-8080-tcp, inbound transition",
        "resource host: host → profile host, inbound transition, outbound transition",
        "outbound rule host/time-servers: admits 1 prefixes, 1 IPv4 addresses",
    ] {
        assert!(checked.contains(line), "{line} is not in\n{checked}");
    }
    let policy = fs::read_to_string(&written).expect("init wrote it");
    for line in [
        "leads to 172.17.0.2:80, [fd00:17::2]:80\n",
        "# this is a machine of AWS:",
        "# interface up0 will be judged:",
        "\"22/tcp\"",
    ] {
        assert!(policy.contains(line), "{line} is not in\n{policy}");
    }
    agent.write_policy(&policy);
    agent.start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, PUBLISHED), Outcome::Connected);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundResourceRulesAllowed",
                "SourceIpAddress": Party::Stranger.address(family),
                "ServiceResourceId": "/perimeters/this-host/resources/published-8080-tcp",
            }),
        );
    }
}

/// What becomes of a connection from the container to the HTTPS port of a party.
fn from_container(world: &mut World, to: Party, family: Family) -> Outcome {
    let inside = if family == Family::V4 { "172.17.0.2" } else { "fd00:17::2" };
    let from = SocketAddr::new(inside.parse().expect("an address"), 0);
    let to = SocketAddr::new(to.address(family), 443);
    tcp_connect(world.sandbox().host("container"), from, to, service::PATIENCE)
}
