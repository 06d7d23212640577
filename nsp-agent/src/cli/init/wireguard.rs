//! The peers of WireGuard tunnels: the packets around the packets go to them.
//!
//! Only `wg` tells who they are, so without it the tunnels alone are noted.

use std::{collections::BTreeSet, net::SocketAddr};

use super::program;

/// `wg` by its name, and where it is on hosts whose users have no `sbin` in their `PATH`.
const WG: [&str; 3] = ["wg", "/usr/bin/wg", "/usr/sbin/wg"];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wireguard {
    /// The tunnels.
    pub(super) links: Vec<String>,
    /// Where their peers are now.
    pub(super) endpoints: BTreeSet<SocketAddr>,
    /// Why the peers are not known.
    pub(super) note: Option<String>,
}

/// Asks for the peers of these tunnels.
pub(super) fn read(links: Vec<String>) -> Wireguard {
    read_with(&WG, links)
}

fn read_with(wg: &[&str], links: Vec<String>) -> Wireguard {
    if links.is_empty() {
        return Wireguard::default();
    }
    match program::ask(wg, &["show", "all", "endpoints"]) {
        Ok(text) => Wireguard { links, endpoints: parse(&text), note: None },
        Err(why) => Wireguard { links, endpoints: BTreeSet::new(), note: Some(why) },
    }
}

/// Lines of interface, key and endpoint; a peer that never spoke has none.
fn parse(text: &str) -> BTreeSet<SocketAddr> {
    let endpoint = |line: &str| line.rsplit('\t').next()?.trim().parse::<SocketAddr>().ok();
    let elsewhere = |endpoint: &SocketAddr| !endpoint.ip().is_loopback();
    text.lines().filter_map(endpoint).filter(elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let text = "wg0\tAAAA=\t203.0.113.9:51820\nwg0\tBBBB=\t(none)\n\
                    wg1\tCCCC=\t[2001:db8::9]:51821\nwg1\tDDDD=\t127.0.0.1:51820\n\n";
        let expected = ["203.0.113.9:51820", "[2001:db8::9]:51821"];
        assert_eq!(parse(text), expected.map(|it| it.parse().unwrap()).into());
    }

    #[test]
    fn without_a_tunnel_nobody_is_asked() {
        assert_eq!(read_with(&["/nonexistent/wg"], Vec::new()), Wireguard::default());
    }

    #[test]
    fn without_wg_the_tunnels_are_known_and_the_peers_are_not() {
        let found = read_with(&["/nonexistent/wg"], vec!["wg0".to_owned()]);
        assert_eq!(found.links, ["wg0"]);
        assert_eq!(found.note.as_deref(), Some("/nonexistent/wg is not there"));
    }
}
