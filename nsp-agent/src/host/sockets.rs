//! The sockets of this network namespace: who listens, and which conversations are live.
//!
//! Read from the kernel (`sock_diag`), with the cgroup that each socket was made in. That is the
//! cgroup of whoever called `socket`: a socket that systemd hands to a unit when it starts
//! (socket activation) carries systemd's own.

mod parse;

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP,
    constants::SOCK_DIAG_BY_FAMILY,
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use rtnetlink::{packet_core::Emitable as _, sys::protocols::NETLINK_SOCK_DIAG};

use self::parse::Socket;
use super::netlink::{Message, Netlink, NetlinkError};

/// A socket that takes what is sent to its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Transport protocol: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    /// Its address; unspecified is every address of its family.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether its address is `::` and it takes IPv4 too.
    pub dual_stack: bool,
    /// The id of the cgroup it was made in; `None` where the kernel has no cgroups.
    pub cgroup: Option<u64>,
    /// Its inode, as in the links of `/proc/PID/fd`.
    pub inode: u32,
    /// The device it is bound to, if any.
    pub interface: Option<u32>,
}

impl Listener {
    /// Whether it takes what is sent to this address, on its port and device.
    pub fn takes(&self, address: IpAddr) -> bool {
        let every = self.address.is_unspecified();
        self.address == address
            || every && self.address.is_ipv4() == address.is_ipv4()
            || self.dual_stack && address.is_ipv4()
    }
}

/// A conversation that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Transport protocol: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Whether the other end opened it, as far as can be told: somebody listens on the local port,
    /// or it is a handshake that came from outside.
    pub listening_side: bool,
    /// Whether both ends have spoken. Always so for UDP, of which the kernel does not tell.
    pub replied: bool,
    /// The id of the cgroup its socket was made in.
    pub cgroup: Option<u64>,
    /// The device its socket is bound to, if any.
    pub interface: Option<u32>,
}

/// The sockets of one moment. Addresses in IPv4-mapped form are given as IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// TCP sockets that listen, and UDP sockets that are bound to a port and not connected.
    pub listeners: Vec<Listener>,
    /// TCP conversations short of their end, and connected UDP sockets.
    pub connections: Vec<Connection>,
}

/// Reads the listeners and the live conversations of this thread's network namespace.
///
/// # Errors
///
/// When the kernel does not tell of TCP. That it does not of UDP is logged.
pub async fn read() -> Result<Sockets, NetlinkError> {
    // UDP sockets are either CLOSE or, when connected, ESTABLISHED.
    let tcp = dump(IPPROTO_TCP, StateFlags::all() - StateFlags::TIME_WAIT - StateFlags::CLOSE);
    let mut sockets = tcp.await?;
    match dump(IPPROTO_UDP, StateFlags::ESTABLISHED | StateFlags::CLOSE).await {
        Ok(udp) => sockets.extend(udp),
        // Those of TCP are worth having without it.
        Err(error) => tracing::warn!(%error, "conversations by UDP are not known"),
    }
    Ok(sort(&sockets))
}

/// Reads the listeners alone: cheap on a host with many conversations.
///
/// # Errors
///
/// As [`read`].
pub async fn listeners() -> Result<Vec<Listener>, NetlinkError> {
    let mut sockets = dump(IPPROTO_TCP, StateFlags::LISTEN).await?;
    sockets.extend(dump(IPPROTO_UDP, StateFlags::CLOSE).await?);
    Ok(sort(&sockets).listeners)
}

/// The ports that the kernel gives to sockets that ask for none: a UDP socket on one of them is
/// more likely a client than a service. Read for this thread's network namespace.
///
/// # Errors
///
/// When the kernel's setting cannot be read.
pub fn ephemeral_ports() -> Result<RangeInclusive<u16>, EphemeralPortsError> {
    let text = fs::read_to_string(LOCAL_PORT_RANGE)?;
    parse_port_range(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not two ports").into())
}

/// Where the kernel says which ports it gives out; IPv6 has the same.
const LOCAL_PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Why [`ephemeral_ports`] failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the ephemeral ports from {LOCAL_PORT_RANGE}: {0}")]
pub struct EphemeralPortsError(#[from] io::Error);

fn parse_port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Some(first..=last),
        _ => None,
    }
}

async fn dump(protocol: u8, states: StateFlags) -> Result<Vec<Socket>, NetlinkError> {
    let table = if protocol == IPPROTO_TCP {
        "TCP sockets (needs the kernel module tcp_diag)"
    } else {
        "UDP sockets (needs the kernel module udp_diag)"
    };
    let netlink = Netlink::open(NETLINK_SOCK_DIAG, table)?;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let request = InetRequest {
            family,
            protocol,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
        };
        let mut payload = vec![0; request.buffer_len()];
        request.emit(&mut payload);
        let request = Message { kind: SOCK_DIAG_BY_FAMILY, payload };
        for message in netlink.dump(table, &request).await? {
            let socket = parse::socket(&message.payload, protocol);
            sockets.push(socket.map_err(|source| NetlinkError::Decode { table, source })?);
        }
    }
    Ok(sockets)
}

/// Tells listeners from conversations, and for these which side opened them.
fn sort(sockets: &[Socket]) -> Sockets {
    let (listening, talking): (Vec<_>, Vec<_>) =
        sockets.iter().partition(|socket| socket.listens());
    let listeners: Vec<Listener> = listening.into_iter().map(Socket::listener).collect();
    // Most ports of most hosts have no listener: ask by port before by address.
    let ports: BTreeSet<(u8, u16)> =
        listeners.iter().map(|listener| (listener.protocol, listener.port)).collect();
    let has_listener = |socket: &Socket| {
        let (protocol, local) = (socket.protocol, socket.local);
        ports.contains(&(protocol, local.port()))
            && listeners.iter().any(|listener| {
                listener.protocol == protocol
                    && listener.port == local.port()
                    && listener.takes(local.ip())
            })
    };
    let connections = talking.into_iter().filter(|socket| socket.talks());
    Sockets {
        connections: connections.map(|socket| socket.connection(has_listener(socket))).collect(),
        listeners,
    }
}

#[cfg(test)]
mod tests;
