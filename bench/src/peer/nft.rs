//! nftables: an interval set that merges what touches (nft(8): `flags interval`, `auto-merge`), a rule that
//! accepts it at the port, and `policy drop`.
//!
//! The port is asked first, which is the cheaper order: a frame to another port never costs a look-up. The
//! chain at the device would drop ARP as well; a host that is to work needs one rule more, which is not
//! counted against it here.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use anyhow::Result;
use ipnet::IpNet;

use super::{DEVICE, Site, timed};

/// Where the chain is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// At the device, before the stack has looked at the packet.
    Ingress,
    /// Before routing and connection tracking.
    Prerouting,
}

impl Hook {
    const fn table(self) -> &'static str {
        match self {
            Self::Ingress => "netdev perimeter",
            Self::Prerouting => "ip perimeter",
        }
    }

    fn chain(self) -> String {
        match self {
            Self::Ingress => format!("hook ingress device \"{DEVICE}\" priority -500"),
            Self::Prerouting => "hook prerouting priority raw".to_owned(),
        }
    }
}

/// The file for `nft -f`.
pub(crate) fn file(hook: Hook, prefixes: &[IpNet], port: u16) -> Result<String> {
    let mut text = format!(
        "table {} {{\n\tset allowed {{\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\tauto-merge\n\t\telements = {{\n",
        hook.table()
    );
    for prefix in prefixes {
        writeln!(text, "{prefix},")?;
    }
    write!(
        text,
        "\t\t}}\n\t}}\n\tchain in {{\n\t\ttype filter {}; policy drop;\n\t\tudp dport {port} ip saddr @allowed accept\n\t}}\n}}\n",
        hook.chain()
    )?;
    Ok(text)
}

/// `nft -f`: how long until it is in force.
pub(crate) fn load(site: &Site, file: &Path) -> Result<Duration> {
    timed(&site.namespace, Command::new("nft").arg("-f").arg(file))
}

/// Removes everything.
pub(crate) fn clear(site: &Site) -> Result<()> {
    timed(&site.namespace, Command::new("nft").args(["flush", "ruleset"])).map(drop)
}
