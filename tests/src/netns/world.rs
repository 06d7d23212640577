//! The small internet of the tests.
//!
//! ```text
//!            office 203.0.113.5      stranger 198.51.100.7
//!                    └──── router ────┘
//!                            │ bridge 192.0.2.254
//!   member 192.0.2.10 ───────┤
//!                            └── up0 server 192.0.2.1
//!                                    priv0 10.0.0.1 ── private 10.0.0.9
//! ```
//!
//! Everything public reaches the server by `up0`, everything private by `priv0`. The server's
//! `up0` has the hardware address that built frames are for, and the router's bridge the one they
//! are from, so a frame of the packet builder is at home here as it stands.

use std::{net::SocketAddr, time::Duration};

use super::{namespace::Namespace, sandbox::Sandbox};
use crate::{
    packet::{Family, NEAR_MAC, PEER_MAC, Party, server_private},
    sockets::{FrameListener, FrameSender, Outcome, tcp_connect},
};

/// The router between the parties; it judges nothing.
const ROUTER: &str = "router";

/// What to build.
#[derive(Clone, Debug)]
pub struct WorldBuilder {
    clients: Vec<Party>,
}

impl WorldBuilder {
    /// Only these clients; every namespace left out saves some milliseconds.
    #[must_use]
    pub fn clients(self, clients: &[Party]) -> Self {
        Self { clients: clients.to_vec() }
    }

    /// Builds it.
    ///
    /// # Panics
    /// When privileges are missing or the kernel refuses a part.
    pub fn build(self) -> World {
        let mut sandbox = Sandbox::new();
        sandbox.add_host(Party::Server.name());
        build_router(&mut sandbox);
        for client in self.clients {
            match client {
                Party::Server => {}
                Party::Private => add_private(&mut sandbox),
                Party::Member => add_member(&mut sandbox),
                Party::Office => add_public(&mut sandbox, client, "203.0.113", "2001:db8:100:"),
                Party::Stranger => add_public(&mut sandbox, client, "198.51.100", "2001:db8:5:"),
            }
        }
        sandbox.settle();
        World { sandbox }
    }
}

/// The parties of the address plan, connected.
#[derive(Debug)]
pub struct World {
    sandbox: Sandbox,
}

impl World {
    /// Everybody.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To choose who takes part.
    pub fn builder() -> WorldBuilder {
        WorldBuilder { clients: Party::ALL.to_vec() }
    }

    /// A party's namespace.
    ///
    /// # Panics
    /// When the party was left out.
    pub fn host(&self, party: Party) -> &Namespace {
        self.sandbox.host(party.name())
    }

    /// The server's namespace.
    pub fn server(&self) -> &Namespace {
        self.host(Party::Server)
    }

    /// The router's namespace: its `br0` is the server's gateway, `to-server`, `to-office` and
    /// `to-stranger` its ports.
    pub fn router(&self) -> &Namespace {
        self.sandbox.host(ROUTER)
    }

    /// Waits until what a test changed is in effect, on every host; see [`Namespace::settle`].
    pub fn settle(&self) {
        self.sandbox.settle();
    }

    /// For further hosts and cables.
    pub fn sandbox(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }

    /// The server's address as a party sees it.
    pub fn server_address(&self, client: Party, family: Family, port: u16) -> SocketAddr {
        let address = match client {
            Party::Private => server_private(family),
            _ => Party::Server.address(family),
        };
        SocketAddr::new(address, port)
    }

    /// Whether a party gets a TCP connection to the server, within a second.
    pub fn connect(&self, client: Party, family: Family, port: u16) -> Outcome {
        let from = SocketAddr::new(client.address(family), 0);
        let to = self.server_address(client, family, port);
        tcp_connect(self.host(client), from, to, Duration::from_secs(1))
    }

    /// Puts frames on the wire to the server's `up0`, exactly as built.
    pub fn wire(&self) -> FrameSender {
        FrameSender::open(self.router(), "to-server")
    }

    /// Sees the frames that leave the server's `up0`, from the other end of the cable.
    pub fn tap(&self) -> FrameListener {
        FrameListener::open(self.router(), "to-server")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn build_router(sandbox: &mut Sandbox) {
    let router = sandbox.add_host(ROUTER);
    router.sysctl("net.ipv4.ip_forward", "1");
    router.sysctl("net.ipv6.conf.all.forwarding", "1");
    router.ip(&format!(
        "link add br0 address {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
         link set dev br0 up\n\
         address add 192.0.2.254/24 dev br0\n\
         address add 2001:db8:1::fe/64 dev br0 nodad\n",
        mac(PEER_MAC),
    ));
    sandbox.connect((ROUTER, "to-server"), ("server", "up0"));
    sandbox.host(ROUTER).ip("link set dev to-server master br0");
    sandbox.host("server").ip(&format!(
        "link set dev up0 address {}\n{}",
        mac(NEAR_MAC),
        neighbour_of_the_bridge("up0", Party::Server),
    ));
}

fn add_member(sandbox: &mut Sandbox) {
    let name = Party::Member.name();
    sandbox.add_host(name);
    sandbox.connect((ROUTER, "to-member"), (name, "eth0"));
    sandbox.host(ROUTER).ip("link set dev to-member master br0");
    sandbox.host(name).ip(&neighbour_of_the_bridge("eth0", Party::Member));
}

fn neighbour_of_the_bridge(interface: &str, party: Party) -> String {
    let (v4, v6) = (party.v4(), party.v6());
    format!(
        "address add {v4}/24 dev {interface}\n\
         address add {v6}/64 dev {interface} nodad\n\
         route add default via 192.0.2.254\n\
         route add ::/0 via 2001:db8:1::fe\n",
    )
}

fn add_public(sandbox: &mut Sandbox, party: Party, net_v4: &str, net_v6: &str) {
    let name = party.name();
    sandbox.add_host(name);
    let port = format!("to-{name}");
    sandbox.connect((ROUTER, &port), (name, "eth0"));
    sandbox.host(ROUTER).ip(&format!(
        "address add {net_v4}.254/24 dev {port}\n\
         address add {net_v6}:fe/64 dev {port} nodad\n",
    ));
    let (v4, v6) = (party.v4(), party.v6());
    sandbox.host(name).ip(&format!(
        "address add {v4}/24 dev eth0\n\
         address add {v6}/64 dev eth0 nodad\n\
         route add default via {net_v4}.254\n\
         route add ::/0 via {net_v6}:fe\n",
    ));
}

fn add_private(sandbox: &mut Sandbox) {
    let name = Party::Private.name();
    sandbox.add_host(name);
    sandbox.connect(("server", "priv0"), (name, "eth0"));
    for (host, interface, v4, v6) in [
        ("server", "priv0", server_private(Family::V4), server_private(Family::V6)),
        (name, "eth0", Party::Private.address(Family::V4), Party::Private.address(Family::V6)),
    ] {
        sandbox.host(host).ip(&format!(
            "address add {v4}/24 dev {interface}\n\
             address add {v6}/64 dev {interface} nodad\n",
        ));
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests;
