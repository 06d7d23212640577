//! Addresses in number, all of them at the office; and a host that asks for their names.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{Family, Party},
};

/// The address with this number.
pub(crate) fn address(family: Family, number: usize) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(0x0a40_0000 + number as u32).into(),
        Family::V6 => {
            let low = number as u16;
            Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, (number >> 16) as u16, low).into()
        }
    }
}

/// The office answers at all of them.
pub(crate) fn at_the_office(world: &World) {
    let (v4, v6) = (Party::Office.v4(), Party::Office.v6());
    world
        .host(Party::Office)
        .ip("route add local 10.64.0.0/16 dev lo\nroute add local 2001:db8:aaaa::/48 dev lo");
    world
        .router()
        .ip(&format!("route add 10.64.0.0/16 via {v4}\nroute add 2001:db8:aaaa::/48 via {v6}"));
}

/// The server's agent, with the files of a directory in place of the host's own.
pub(crate) fn agent(world: &World, directory: &Path, policy: &str) -> Agent {
    Agent::builder(world.server())
        .policy(policy)
        .argument("--resolv-conf")
        .argument(directory.join("resolv.conf"))
        .argument("--hosts")
        .argument(directory.join("hosts"))
        .start()
}
