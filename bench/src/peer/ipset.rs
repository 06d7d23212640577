//! ipset: a `hash:net` that is as large as it will be from the beginning (ipset(8): `hashsize`, `maxelem`),
//! and iptables rules in the raw table, before connection tracking.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use anyhow::Result;
use ipnet::IpNet;

use super::{Site, timed};

const SET: &str = "allowed";

/// The file for `ipset restore`.
pub(crate) fn file(prefixes: &[IpNet]) -> Result<String> {
    // One bucket a prefix, so that nothing is hashed anew while it fills.
    let buckets = std::env::var("IPSET_BUCKETS")
        .map_or(prefixes.len().next_power_of_two().max(1024), |it| it.parse().unwrap());
    let most = prefixes.len().max(65536);
    let mut text = format!("create {SET} hash:net family inet hashsize {buckets} maxelem {most}\n");
    for prefix in prefixes {
        writeln!(text, "add {SET} {prefix}")?;
    }
    Ok(text)
}

/// `ipset restore`: how long until the set is there.
pub(crate) fn load(site: &Site, file: &Path) -> Result<Duration> {
    timed(&site.namespace, Command::new("ipset").args(["restore", "-file"]).arg(file))
}

/// The rules that ask it.
pub(crate) fn hook(site: &Site, port: u16) -> Result<()> {
    let port = port.to_string();
    let raw = ["-w", "-t", "raw", "-A", "PREROUTING"];
    let accept =
        ["-p", "udp", "--dport", &port, "-m", "set", "--match-set", SET, "src", "-j", "ACCEPT"];
    timed(&site.namespace, Command::new("iptables").args(raw).args(accept))?;
    timed(&site.namespace, Command::new("iptables").args(raw).args(["-j", "DROP"])).map(drop)
}

/// Removes the set, which no rule asks.
pub(crate) fn clear(site: &Site) -> Result<()> {
    timed(&site.namespace, Command::new("ipset").arg("destroy")).map(drop)
}
