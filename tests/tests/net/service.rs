//! Services that the tests connect to.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use nsp_tests::{
    netns::{Namespace, World},
    packet::{Family, Party},
    sockets::{EchoServer, Outcome, tcp_connect, tcp_open},
};

/// How long nobody answers before that counts as silence.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// An echo service on a port, for both families.
pub(crate) fn tcp(namespace: &Namespace, port: u16) -> EchoServer {
    EchoServer::tcp(namespace, any(port))
}

/// A port at which the kernel takes so many connections by itself: nobody accepts them, so that no busy
/// program is why a SYN is sent again.
pub(crate) fn tcp_of_the_kernel(
    namespace: &Namespace,
    port: u16,
    connections: usize,
) -> TcpListener {
    namespace.sysctl("net.core.somaxconn", &connections.to_string());
    let listener = namespace.enter(|| TcpListener::bind(any(port))).expect("a free port");
    let backlog = i32::try_from(connections).expect("some thousand connections");
    // Again, for a longer queue.
    rustix::net::listen(&listener, backlog).expect("a bound socket");
    listener
}

/// An echo service for datagrams; both families need one each, or an answer has the wrong source.
pub(crate) fn udp(namespace: &Namespace, address: IpAddr, port: u16) -> EchoServer {
    EchoServer::udp(namespace, SocketAddr::new(address, port))
}

/// A connection of a client to the server that stays open.
///
/// # Panics
/// When it does not come about.
#[track_caller]
pub(crate) fn open(world: &World, client: Party, family: Family, port: u16) -> TcpStream {
    let from = SocketAddr::new(client.address(family), 0);
    let to = world.server_address(client, family, port);
    let opened = tcp_open(world.host(client), from, to, PATIENCE);
    opened.unwrap_or_else(|outcome| panic!("{client:?} to {to}: {outcome:?}"))
}

/// What becomes of a connection of the server to a party.
pub(crate) fn connect_out(world: &World, to: Party, family: Family, port: u16) -> Outcome {
    let (from, to) = ends_out(to, family, port);
    tcp_connect(world.server(), from, to, PATIENCE)
}

/// A connection of the server to a party that stays open.
///
/// # Panics
/// When it does not come about.
#[track_caller]
pub(crate) fn open_out(world: &World, to: Party, family: Family, port: u16) -> TcpStream {
    let (from, to) = ends_out(to, family, port);
    let opened = tcp_open(world.server(), from, to, PATIENCE);
    opened.unwrap_or_else(|outcome| panic!("out to {to}: {outcome:?}"))
}

fn ends_out(to: Party, family: Family, port: u16) -> (SocketAddr, SocketAddr) {
    let from = Party::Server.address(family);
    (SocketAddr::new(from, 0), SocketAddr::new(to.address(family), port))
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)
}
