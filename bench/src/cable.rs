//! Two hosts and the cable between them: a server, whose end a perimeter may cover, and its peer.

use std::{fmt::Write as _, net::IpAddr};

use nsp_tests::netns::{Namespace, Sandbox};

/// The server's end of the cable.
pub(crate) const DEVICE: &str = "up0";

/// Two hosts, removed on drop with all that runs on them.
#[derive(Debug)]
pub(crate) struct Cable {
    sandbox: Sandbox,
}

impl Cable {
    /// Lays one between public addresses.
    pub(crate) fn lay() -> Self {
        let mut sandbox = Sandbox::new();
        for host in ["server", "peer"] {
            sandbox.add_host(host);
        }
        sandbox.connect(("server", DEVICE), ("peer", "eth0"));
        let ends = [("server", DEVICE, SERVER, PEER), ("peer", "eth0", PEER, SERVER)];
        for (host, device, own, other) in ends {
            let mut lines = String::new();
            for (own, other) in own.into_iter().zip(other) {
                let length = if own.contains(':') { 128 } else { 32 };
                writeln!(lines, "address add {own} peer {other}/{length} dev {device}")
                    .expect("a string has room");
            }
            sandbox.host(host).ip(&lines);
        }
        sandbox.settle();
        Self { sandbox }
    }

    /// The host that may have a perimeter.
    pub(crate) fn server(&self) -> &Namespace {
        self.sandbox.host("server")
    }

    /// The other.
    pub(crate) fn peer(&self) -> &Namespace {
        self.sandbox.host("peer")
    }
}

/// Addresses of the server, IPv4 and IPv6.
const SERVER: [&str; 2] = ["203.0.113.1", "2001:db8:1::1"];

/// Addresses of its peer.
const PEER: [&str; 2] = ["198.51.100.7", "2001:db8:5::7"];

/// Networks of the peer, which what is measured admits.
pub(crate) const PEER_NETWORKS: [&str; 2] = ["198.51.100.0/24", "2001:db8:5::/48"];

/// The server's address in a family, as rows name it.
pub(crate) fn server_address(family: &str) -> IpAddr {
    let address = if family == "v4" { SERVER[0] } else { SERVER[1] };
    address.parse().expect("an address")
}
