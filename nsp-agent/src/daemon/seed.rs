//! Conversations that were live before the programs were: taken over from the kernel's sockets, so
//! that the first start cuts none of them.

use nsp_common::{
    address::Address,
    class::{flags as class_flags, port_index},
    decide::Tables as _,
    flow::{Flow, FlowKey, flags},
    verdict::{Direction, Reason},
};

use super::state::{Agent, now_ns};
use crate::{
    compile::oracle::Oracle,
    host::sockets::{self, Connection},
};

/// The entries for live connections to public peers. Each is judged by its first packet (its
/// generation is none): a rule allows it, or it counts as tolerated before and is kept.
pub(super) fn flows(
    connections: &[Connection],
    oracle: &Oracle<'_>,
    association_of: impl Fn(&Connection) -> u16,
    now_ns: u64,
) -> Vec<(FlowKey, Flow)> {
    connections
        .iter()
        .filter(|connection| connection.replied)
        .filter_map(|connection| {
            let key = key(connection);
            let family = key.ip_family();
            let trusted = class_flags::PRIVATE | class_flags::MEMBER | class_flags::LINKED;
            let class = oracle.class(oracle.class_of(&key.remote, family));
            if class.flags & trusted != 0 || key.remote.is_loopback(family) {
                return None;
            }
            let opener =
                if connection.listening_side { Direction::Inbound } else { Direction::Outbound };
            let flow = Flow {
                opened_ns: now_ns,
                seen_ns: now_ns,
                packets: 0,
                bytes: 0,
                rule: 0,
                name: 0,
                generation: 0,
                ifindex: 0,
                association: association_of(connection),
                flags: flags::SEEDED | flags::REPLIED | flags::WOULD_DENY,
                reason: Reason::NoRule as u8,
                opener: opener as u8,
                _pad: [0; 2],
            };
            Some((key, flow))
        })
        .collect()
}

fn key(connection: &Connection) -> FlowKey {
    FlowKey {
        remote: Address::from(connection.remote.ip()),
        local: Address::from(connection.local.ip()),
        remote_port: connection.remote.port(),
        local_port: connection.local.port(),
        scope: 0,
        protocol: connection.protocol,
        family: if connection.remote.is_ipv4() { 4 } else { 6 },
    }
}

impl Agent {
    /// Takes over the conversations of the kernel's sockets.
    pub(super) async fn seed(&mut self) {
        let connections = match sockets::read().await {
            Ok(sockets) => sockets.connections,
            Err(error) => return self.complain("live conversations are not taken over", &error),
        };
        self.bindings = self.bind();
        let flows = {
            let oracle = self.oracle(0);
            flows(&connections, &oracle, |it| self.association_of(it), now_ns())
        };
        tracing::info!(flows = flows.len(), "live conversations taken over");
        for (key, flow) in flows {
            if let Err(error) = self.datapath.set_flow(&key, Some(&flow)) {
                return self.complain("a live conversation is not taken over", &error);
            }
        }
    }

    pub(super) fn association_of(&self, connection: &Connection) -> u16 {
        let local = connection.local.port();
        let listening = self
            .bindings
            .listeners
            .get(&(connection.protocol, local))
            .copied()
            .unwrap_or(self.compiled.ports[port_index(connection.protocol, local)].association);
        let sender = connection
            .cgroup
            .and_then(|id| self.tree.as_ref()?.path_of(id).map(ToOwned::to_owned))
            .map_or(0, |path| self.association_of_path(&path));
        let order =
            if connection.listening_side { [listening, sender] } else { [sender, listening] };
        order.into_iter().find(|it| *it != 0).unwrap_or(self.compiled.header.host)
    }
}
