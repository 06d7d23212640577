//! nftables: interval sets that merge what touches (nft(8)), and `policy drop`, both ways.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;

use crate::cable::{Cable, DEVICE, PEER_NETWORKS};

/// Rules at input and output.
pub(super) fn hooks(prefixes: &[IpNet]) -> String {
    let chain = |name: &str, device: &str, end: &str| {
        let first = format!(
            "ct state established,related accept; {device} != \"{DEVICE}\" accept; \
             meta l4proto ipv6-icmp accept;"
        );
        chain(name, &format!("hook {name} priority filter"), &first, end)
    };
    let chains = chain("input", "iifname", "saddr") + &chain("output", "oifname", "daddr");
    format!("table inet perimeter {{\n{}{chains}}}\n", sets(prefixes))
}

/// Rules at the device.
pub(super) fn netdev(prefixes: &[IpNet]) -> String {
    let chain = |name: &str, end: &str| {
        let hook = format!("hook {name} device \"{DEVICE}\" priority filter");
        chain(name, &hook, "ether type arp accept; meta l4proto ipv6-icmp accept;", end)
    };
    let chains = chain("ingress", "saddr") + &chain("egress", "daddr");
    format!("table netdev perimeter {{\n{}{chains}}}\n", sets(prefixes))
}

fn chain(name: &str, hook: &str, first: &str, end: &str) -> String {
    format!(
        "chain {name} {{ type filter {hook}; policy drop; {first} ip {end} @v4 accept; \
         ip6 {end} @v6 accept; }}\n"
    )
}

/// One for each family: the peer's network and the prefixes.
fn sets(prefixes: &[IpNet]) -> String {
    let peer = PEER_NETWORKS.map(|it| it.parse().expect("a prefix"));
    let mut sets = String::new();
    for (name, key) in [("v4", "ipv4_addr"), ("v6", "ipv6_addr")] {
        let mut elements = String::new();
        for prefix in peer.iter().chain(prefixes) {
            if matches!(prefix, IpNet::V4(_)) == (name == "v4") {
                let _written = write!(elements, "{prefix}, ");
            }
        }
        let _written = writeln!(
            sets,
            "set {name} {{ type {key}; flags interval; auto-merge; elements = {{ {elements} }}; }}"
        );
    }
    sets
}

/// Puts rules in force in the server's namespace.
pub(super) fn load(cable: &Cable, rules: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(&file, rules).with_context(|| file.path().display().to_string())?;
    let output = cable.server().output(Command::new("nft").arg("-f").arg(file.path()));
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.chars().take(500).collect();
    ensure!(output.status.success(), "nft -f: {said}");
    Ok(())
}
