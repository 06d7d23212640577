//! `sock_diag` messages to sockets.

use std::net::SocketAddr;

use netlink_packet_sock_diag::{
    IPPROTO_TCP, TCP_CLOSE, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT,
    inet::{InetResponse, nlas::Nla},
};
use rtnetlink::packet_core::{DecodeError, Nla as _, Parseable as _, parse_u64};

use super::{Connection, Listener};

/// `INET_DIAG_CGROUP_ID`, since Linux 5.8.
const CGROUP_ID: u16 = 21;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) protocol: u8,
    /// A TCP state; UDP sockets use two of them.
    pub(super) state: u8,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Whether it is an IPv6 socket that takes IPv4 too.
    pub(super) dual_stack: bool,
    pub(super) cgroup: Option<u64>,
    pub(super) inode: u32,
    pub(super) interface: Option<u32>,
}

/// One answer about sockets of `protocol`.
pub(super) fn socket(payload: &[u8], protocol: u8) -> Result<Socket, DecodeError> {
    let InetResponse { header, nlas } = InetResponse::parse(payload)?;
    let (mut v6_only, mut cgroup) = (None, None);
    for attribute in &nlas {
        match attribute {
            Nla::SkV6Only(only) => v6_only = Some(*only),
            Nla::Other(other) if other.kind() == CGROUP_ID => {
                let mut value = vec![0; other.value_len()];
                other.emit_value(&mut value);
                cgroup = Some(parse_u64(&value)?);
            }
            _ => {}
        }
    }
    let id = header.socket_id;
    let every_v6 = id.source_address.is_ipv6() && id.source_address.is_unspecified();
    Ok(Socket {
        protocol,
        state: header.state,
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        dual_stack: every_v6 && v6_only == Some(false),
        cgroup,
        inode: header.inode,
        interface: Some(id.interface_id).filter(|index| *index != 0),
    })
}

impl Socket {
    pub(super) fn listens(&self) -> bool {
        let state = if self.protocol == IPPROTO_TCP { TCP_LISTEN } else { TCP_CLOSE };
        self.state == state && self.local.port() != 0
    }

    pub(super) fn talks(&self) -> bool {
        let over = matches!(self.state, TCP_LISTEN | TCP_CLOSE | TCP_TIME_WAIT);
        !over && self.local.port() != 0 && self.remote.port() != 0
    }

    pub(super) fn listener(&self) -> Listener {
        let Self { protocol, state: _, local, remote: _, dual_stack, cgroup, inode, interface } =
            *self;
        Listener {
            protocol,
            address: local.ip(),
            port: local.port(),
            dual_stack,
            cgroup,
            inode,
            interface,
        }
    }

    pub(super) fn connection(&self, has_listener: bool) -> Connection {
        let Self { protocol, state, local, remote, dual_stack: _, cgroup, inode: _, interface } =
            *self;
        // A client whose port happens to be a listener's has sent its SYN itself.
        let opened_here = protocol == IPPROTO_TCP && state == TCP_SYN_SENT;
        let handshake_in = protocol == IPPROTO_TCP && state == TCP_SYN_RECV;
        Connection {
            protocol,
            local,
            remote,
            listening_side: handshake_in || has_listener && !opened_here,
            replied: !opened_here && !handshake_in,
            cgroup,
            interface,
        }
    }
}
