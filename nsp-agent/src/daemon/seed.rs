//! Conversations that were live before the programs were: taken over from the kernel's sockets and its
//! connection tracking, so that the first start cuts none of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use nsp_common::{
    address::Address,
    class::flags as class_flags,
    decide::{Tables as _, Whose, allowed, resource_of},
    flow::{CUT, Flow, FlowKey, progress, standing},
    generation::association,
    net::protocol,
    verdict::{Direction, Reason},
};

use super::{
    dns::unit_of,
    errors::DaemonError,
    overlay,
    state::{Agent, now_ns},
};
use crate::{
    compile::{self, oracle::Oracle},
    datapath::{Migrated, Origin},
    host::{
        conntrack::{self, Tracked},
        sockets::{self, Connection},
    },
    policy::model::{AccessMode, Policy, PublicNetworkAccess},
};

/// A conversation that is under way.
struct Live {
    protocol: u8,
    remote: SocketAddr,
    local: SocketAddr,
    opener: Direction,
    /// The association of the cgroup that has its socket, or zero.
    sender: u16,
    /// The device its socket is bound to.
    device: Option<u32>,
}

impl Live {
    fn of_socket(connection: &Connection, sender: u16) -> Self {
        let opener =
            if connection.listening_side { Direction::Inbound } else { Direction::Outbound };
        Self {
            protocol: connection.protocol,
            remote: connection.remote,
            local: connection.local,
            opener,
            sender,
            device: connection.interface,
        }
    }

    /// One that is translated on its way through this host, as it is on the wire outside.
    fn of_tracked(tracked: &Tracked, own: &BTreeSet<IpAddr>) -> Option<Self> {
        let Tracked { protocol, original, reply, replied } = *tracked;
        let ends = if own.contains(&original.destination.ip()) {
            (original.source, original.destination, Direction::Inbound)
        } else if own.contains(&reply.destination.ip()) {
            (reply.source, reply.destination, Direction::Outbound)
        } else {
            return None;
        };
        let (remote, local, opener) = ends;
        let has_key = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        (replied && has_key).then_some(Self {
            protocol,
            remote,
            local,
            opener,
            sender: 0,
            device: None,
        })
    }

    fn key(&self, scope: u16) -> FlowKey {
        FlowKey {
            remote: Address::from(self.remote.ip()),
            local: Address::from(self.local.ip()),
            remote_port: self.remote.port(),
            local_port: self.local.port(),
            scope,
            protocol: self.protocol,
            family: if self.remote.is_ipv4() { 4 } else { 6 },
        }
    }
}

/// The name of a conversation in the state file.
pub(super) fn name_of(key: &FlowKey) -> String {
    let family = key.ip_family();
    let remote = SocketAddr::new(key.remote.to_ip(family), key.remote_port);
    let local = SocketAddr::new(key.local.to_ip(family), key.local_port);
    format!("{} {remote} {local}", key.protocol)
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
    /// Publishes for the first time, in steps between which no conversation of this host's sockets
    /// or its connection tracking falls: those there are; then a generation that tracks and drops
    /// nothing; those that came meanwhile; then the policy as it is.
    pub(super) async fn begin(&mut self) -> Result<(), DaemonError> {
        if self.datapath.origin() == Some(Origin::Adopted) {
            // The conversations are there, and so is a policy: the next one follows it as any other does.
            self.publish()?;
            return Ok(());
        }
        self.migrate()?;
        self.begin_anew().await?;
        self.datapath.become_whole()?;
        Ok(())
    }

    /// Takes over what is in the maps that are in force until this agent's are, where they can be read.
    pub(super) fn migrate(&mut self) -> Result<(), DaemonError> {
        let listed = self.compiled.fqdns.iter();
        let units = listed.map(|(identity, fqdn)| (*identity, unit_of(*identity, fqdn))).collect();
        if let Some(Migrated { flows, flows_refused, names }) = self.datapath.migrate(&units)? {
            tracing::info!(flows, flows_refused, names, "taken over from the maps before");
        }
        Ok(())
    }

    /// The hooks are at this agent's programs: what came to the maps before until then is taken over, and
    /// they go.
    pub(super) fn leave_before(&mut self) -> Result<(), DaemonError> {
        self.migrate()?;
        let (drained, lost) = self.datapath.drain_before()?;
        self.lost_before += lost;
        self.tell(&drained);
        self.datapath.forget_before();
        Ok(())
    }

    async fn begin_anew(&mut self) -> Result<(), DaemonError> {
        self.bindings = self.bind();
        self.write_overlay();
        self.set_endpoints();
        self.restore_learned();
        let enforces = in_transition(&self.loaded.policy) != self.loaded.policy;
        self.seed(enforces).await?;
        if !enforces {
            self.publish()?;
            return self.seed(enforces).await;
        }
        self.publish_lenient(None)?;
        self.seed(enforces).await?;
        self.publish()?;
        Ok(())
    }

    /// Puts the same policy in force, dropping nothing; whether that is another one. At an instant, where one is
    /// given, the kernel goes back to the one before.
    pub(super) fn publish_lenient(&mut self, until_ns: Option<u64>) -> Result<bool, DaemonError> {
        let policy = self.with_sessions(&self.loaded.policy)?.into_owned();
        let lenient = in_transition(&policy);
        if lenient == policy {
            return Ok(false);
        }
        let temporary = overlay::names_of(&self.state.overlay);
        let compiled = compile::compile_with(&lenient, &mut self.state.identities, &temporary)?;
        self.bindings = self.bind();
        let (selectors, listeners) = (&self.bindings.selectors, &self.bindings.listeners);
        self.datapath.publish_until(&compiled, selectors, listeners, until_ns)?;
        Ok(true)
    }

    /// Takes over the conversations that are live. Where they cannot be read a policy that enforces
    /// would cut them: that is an error.
    pub(super) async fn seed(&mut self, enforces: bool) -> Result<(), DaemonError> {
        let lives = match self.lives().await {
            Ok(lives) => lives,
            Err(error) if enforces => return Err(DaemonError::Host(error)),
            Err(error) => {
                self.complain("live conversations are not taken over", &error);
                return Ok(());
            }
        };
        let known: BTreeMap<String, Flow> = self
            .datapath
            .flows()?
            .into_iter()
            .map(|entry| (name_of(&entry.key), entry.flow))
            .collect();
        let flows: Vec<(FlowKey, Flow)> = {
            let oracle = self.oracle(0);
            lives.iter().filter_map(|live| self.flow_of(live, &oracle)).collect()
        };
        let mut live = BTreeSet::new();
        let mut taken = 0;
        for (key, mut flow) in flows {
            let name = name_of(&key);
            match known.get(&name) {
                // Known already, and which side opened it is right.
                Some(it) if it.opened_by() == flow.opened_by() => {
                    live.insert(name);
                    continue;
                }
                // It spoke before its socket was read, and looked as if the other end had opened it.
                Some(it) => (flow.packets, flow.bytes) = (it.packets, it.bytes),
                None => {}
            }
            taken += 1;
            if let Err(error) = self.datapath.keep_flow(&key, &flow) {
                self.complain("a live conversation is not taken over", &error);
            }
            live.insert(name);
        }
        self.state.cut.retain(|name| live.contains(name));
        tracing::info!(flows = taken, "live conversations taken over");
        Ok(())
    }

    async fn lives(&self) -> Result<Vec<Live>, crate::host::NetlinkError> {
        let connections = sockets::read().await?.connections;
        let mut lives: Vec<Live> = connections
            .iter()
            .filter(|connection| connection.replied)
            .map(|connection| Live::of_socket(connection, self.sender_of(connection)))
            .collect();
        let own: BTreeSet<IpAddr> =
            self.links.iter().flat_map(|link| &link.addresses).map(IpNet::addr).collect();
        let with_sockets: BTreeSet<(u8, SocketAddr, SocketAddr)> =
            lives.iter().map(|live| (live.protocol, live.remote, live.local)).collect();
        match conntrack::read().await {
            Ok(tracked) => {
                let tracked = tracked.iter().filter_map(|it| Live::of_tracked(it, &own));
                lives.extend(tracked.filter(|live| {
                    !with_sockets.contains(&(live.protocol, live.remote, live.local))
                }));
            }
            Err(error) => tracing::info!(%error, "no connection tracking to take over from"),
        }
        Ok(lives)
    }

    /// The entry of a live conversation that is judged by rules. It is judged by its first packet
    /// (its generation is none): a rule allows it, or it counts as tolerated before and is kept.
    fn flow_of(&self, live: &Live, oracle: &Oracle<'_>) -> Option<(FlowKey, Flow)> {
        let device = self.device_of(live);
        let link = device.and_then(|index| self.links.iter().find(|link| link.index == index));
        let scope = match link {
            Some(link) if !link.ethernet => FlowKey::scope_of(link.index),
            _ => 0,
        };
        let (key, ifindex) = (live.key(scope), device.unwrap_or(0));
        let generation = oracle.generation();
        let by_place = || resource_of(&key, live.opener, ifindex, oracle, &generation);
        let sender = if live.opener == Direction::Outbound { live.sender } else { 0 };
        let association = if sender != 0 { sender } else { by_place() };
        if self.is_trusted(&key, ifindex, association, oracle) {
            return None;
        }
        let now_ns = now_ns();
        // After a strict apply in this boot nobody knows any more which conversations it meant.
        let was_cut = self.state.identities.cut_before_ns(association) != 0;
        // What lives by an entry of the overlay ends with it, also when the agent was started anew.
        let whose = Whose { association, opener: live.opener, name: 0 };
        let temporary = allowed(&key, whose, oracle);
        let mark = if self.state.cut.contains(&name_of(&key)) { CUT } else { 0 };
        let flow = Flow {
            opened_ns: if was_cut { 0 } else { now_ns },
            seen_ns: now_ns,
            ifindex,
            association,
            progress: progress::SEEDED | progress::ANSWERED | progress::REPLIED,
            rule: temporary.rule,
            name: temporary.name,
            standing: if temporary.rule == 0 { standing::WOULD_DENY } else { standing::TEMPORARY },
            reason: Reason::NoRule as u8,
            opener: live.opener as u8 | mark,
            ..Flow::EMPTY
        };
        Some((key, flow))
    }

    /// Whether the packets of a conversation pass without one.
    fn is_trusted(
        &self,
        key: &FlowKey,
        ifindex: u32,
        association: u16,
        oracle: &Oracle<'_>,
    ) -> bool {
        let family = key.ip_family();
        let trusted = class_flags::PRIVATE | class_flags::MEMBER | class_flags::LINKED;
        let bits = oracle.class(oracle.class_of(&key.remote, family)).flags & trusted;
        let needs_rule = bits == class_flags::PRIVATE
            && oracle.association(association).has(association::PRIVATE_BY_RULES);
        key.remote.is_loopback(family)
            || bits != 0 && !needs_rule && oracle.routed_back(&key.remote, family, ifindex)
    }

    /// The device that a conversation goes over: its socket's, or the route's.
    fn device_of(&self, live: &Live) -> Option<u32> {
        let remote = live.remote.ip();
        let by_route = || {
            self.routes
                .iter()
                .filter(|route| route.prefix.contains(&remote))
                .max_by_key(|route| route.prefix.prefix_len())
                .and_then(|route| route.interfaces.first().copied())
        };
        live.device.or_else(by_route)
    }

    fn sender_of(&self, connection: &Connection) -> u16 {
        connection
            .cgroup
            .and_then(|id| self.tree.as_ref()?.path_of(id).map(ToOwned::to_owned))
            .map_or(0, |path| self.association_of_path(&path))
    }
}
