//! Conversations that were live before the programs were: taken over from the kernel's sockets, so
//! that the first start cuts none of them.

use std::collections::HashSet;

use nsp_common::{
    address::Address,
    class::{flags as class_flags, port_index},
    decide::Tables as _,
    flow::{Flow, FlowKey, progress, standing},
    verdict::{Direction, Reason},
};

use super::{
    bind::Bindings,
    errors::DaemonError,
    state::{Agent, now_ns},
};
use crate::{
    compile::{self, oracle::Oracle},
    host::sockets::{self, Connection},
    policy::model::{AccessMode, Policy, PublicNetworkAccess},
};

/// The entries for live connections to public peers. Each is judged by its first packet (its
/// generation is none): a rule allows it, or it counts as tolerated before and is kept.
fn flows(
    connections: &[Connection],
    oracle: &Oracle<'_>,
    place_of: impl Fn(&Connection) -> Place,
    now_ns: u64,
) -> Vec<(FlowKey, Flow)> {
    connections
        .iter()
        .filter(|connection| connection.replied)
        .filter_map(|connection| {
            let Place { association, scope } = place_of(connection);
            let key = FlowKey { scope, ..key(connection) };
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
                association,
                progress: progress::SEEDED | progress::ANSWERED | progress::REPLIED,
                standing: standing::WOULD_DENY,
                reason: Reason::NoRule as u8,
                opener: opener as u8,
            };
            Some((key, flow))
        })
        .collect()
}

/// Where a conversation belongs.
struct Place {
    association: u16,
    /// As in [`FlowKey::scope`].
    scope: u16,
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

/// The same policy, dropping nothing.
fn in_transition(policy: &Policy) -> Policy {
    let mut lenient = policy.clone();
    if lenient.perimeter.public_network_access == PublicNetworkAccess::SecuredByPerimeter {
        lenient.perimeter.public_network_access = PublicNetworkAccess::Transition;
    }
    for resource in lenient.resources.values_mut() {
        resource.inbound_mode = AccessMode::Transition;
        resource.outbound_mode = AccessMode::Transition;
    }
    lenient
}

impl Agent {
    /// Publishes for the first time, in steps between which no conversation falls: at first nothing
    /// is dropped, so that each one that speaks is tracked; then the kernel's sockets tell of the
    /// silent ones; then the policy as it is.
    pub(super) async fn begin(&mut self) -> Result<(), DaemonError> {
        let lenient = in_transition(&self.loaded.policy);
        if lenient == self.loaded.policy {
            self.publish()?;
            self.seed().await;
            return Ok(());
        }
        let compiled = compile::compile(&lenient, &mut self.state.identities)?;
        self.bindings = self.bind();
        let Bindings { selectors, listeners, .. } = &self.bindings;
        self.datapath.publish(&compiled, selectors, listeners)?;
        self.seed().await;
        self.publish()?;
        Ok(())
    }

    /// Takes over the conversations of the kernel's sockets.
    async fn seed(&mut self) {
        let connections = match sockets::read().await {
            Ok(sockets) => sockets.connections,
            Err(error) => return self.complain("live conversations are not taken over", &error),
        };
        let flows = {
            let oracle = self.oracle(0);
            flows(&connections, &oracle, |it| self.place_of(it), now_ns())
        };
        let known: HashSet<FlowKey> = match self.datapath.flows() {
            Ok(flows) => flows.into_iter().map(|entry| entry.key).collect(),
            Err(error) => return self.complain("live conversations are not taken over", &error),
        };
        tracing::info!(flows = flows.len(), "live conversations taken over");
        // One that has spoken since is tracked already, and better.
        for (key, flow) in flows.iter().filter(|(key, _)| !known.contains(key)) {
            if let Err(error) = self.datapath.keep_flow(key, flow) {
                self.complain("a live conversation is not taken over", &error);
            }
        }
    }

    fn place_of(&self, connection: &Connection) -> Place {
        Place { association: self.association_of(connection), scope: self.scope_of(connection) }
    }

    /// The scope of the device that a conversation goes over: its socket's, or the route's.
    fn scope_of(&self, connection: &Connection) -> u16 {
        let remote = connection.remote.ip();
        let route = self
            .routes
            .iter()
            .filter(|route| route.prefix.contains(&remote))
            .max_by_key(|route| route.prefix.prefix_len());
        let by_route = || route?.interfaces.first().copied();
        let link = connection
            .interface
            .or_else(by_route)
            .and_then(|index| self.links.iter().find(|link| link.index == index));
        match link {
            Some(link) if !link.ethernet => FlowKey::scope_of(link.index),
            _ => 0,
        }
    }

    fn association_of(&self, connection: &Connection) -> u16 {
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
