//! ipset: a `hash:net` with room for all (ipset(8): `maxelem`), and iptables rules in the raw table, before
//! connection tracking. Its `hashsize` is left alone: it grows by itself, which takes no longer than to begin
//! with as many buckets as prefixes, and look-ups in that are slower.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use anyhow::Result;
use ipnet::IpNet;

use super::{Site, timed};

const SET: &str = "allowed";

/// The file for `ipset restore`.
pub(crate) fn file(prefixes: &[IpNet]) -> Result<String> {
    let most = prefixes.len().max(65536);
    let mut text = format!("create {SET} hash:net family inet maxelem {most}\n");
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
