//! Names asked for as operators do it, by UDP and by TCP, and connected to at once.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, tcp_connect},
};

use crate::{
    dns_server::{DnsServer, Knows},
    outbound::assert_denied,
    service,
};

const HTTPS: u16 = 443;
const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.job.outbound.shop]
    fqdns = ["*.shop.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

/// What dig says of a name.
fn dig(world: &World, server: IpAddr, name: &str, kind: &str, how: &str) -> IpAddr {
    let mut command = Command::new("dig");
    command.args(["+short", "+tries=3", "+timeout=2", how, &format!("@{server}"), name, kind]);
    let output = world.server().output(&mut command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse().unwrap_or_else(|_| panic!("{name} {kind} {how}: {text}"))
}

#[test]
fn what_dig_is_told_is_open_at_once_by_udp_and_by_tcp() {
    let world = World::builder().clients(&[Party::Office]).build();
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let office = IpAddr::V4(Party::Office.v4());
    let office_v6 = IpAddr::V6(Party::Office.v6());
    let names = ["a.shop.example.com", "b.c.shop.example.com"];
    let known: Vec<(&str, IpAddr)> =
        names.iter().flat_map(|name| [(*name, office), (*name, office_v6)]).collect();
    let server =
        DnsServer::start(world.host(Party::Office), office, &Knows::Names(&known, 60), None);
    for (name, how) in names.into_iter().zip(["+notcp", "+tcp"]) {
        // An agent of its own for each: nothing was learned by the other way.
        let _agent = server.files(Agent::builder(world.server()).policy(POLICY)).start();
        for family in BOTH {
            let from = SocketAddr::new(Party::Server.address(family), 0);
            let to = SocketAddr::new(Party::Office.address(family), HTTPS);
            assert_denied(tcp_connect(world.server(), from, to, service::PATIENCE));
            let kind = if family == Family::V4 { "A" } else { "AAAA" };
            assert_eq!(dig(&world, office, name, kind, how), to.ip(), "{how}");
            let met = tcp_connect(world.server(), from, to, service::PATIENCE);
            assert_eq!(met, Outcome::Connected, "{how} {kind}");
        }
    }
}
