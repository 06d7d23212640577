//! Names: the task that resolves them, and the kernel's table of their addresses.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use nsp_common::{
    address::Address,
    learned::{QUOTA_EXACT, Unit},
    link::endpoint,
    verdict::Lesson,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Options,
    state::{Agent, now_ns},
};
use crate::names::{
    forbidden::Forbidden,
    resolver::{HostResolver, Upstreams},
    schedule::{Batch, NameStatus},
    task::{self, Inputs},
};

/// How long `status` waits for the names task.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// How long after its end an address is taken out: whoever prolongs it at that moment has long done so.
const SWEEP_AFTER_S: u32 = 60;

/// The names task's inputs, kept to be changed.
pub(super) struct NamesHandle {
    pub(super) names: watch::Sender<Vec<(u32, String)>>,
    pub(super) upstreams: watch::Sender<Upstreams>,
    pub(super) forbidden: watch::Sender<Forbidden>,
    pub(super) status: mpsc::Sender<oneshot::Sender<Vec<NameStatus>>>,
}

/// Starts the task.
pub(super) fn start_names(options: &Options, batches: mpsc::Sender<Batch>) -> NamesHandle {
    let (names, names_out) = watch::channel(Vec::new());
    let (upstreams, upstreams_out) = watch::channel(Upstreams::Host);
    let (forbidden, forbidden_out) = watch::channel(Forbidden::new(Vec::new(), []));
    let (status, status_out) = mpsc::channel(4);
    let inputs = Inputs {
        names: names_out,
        upstreams: upstreams_out,
        forbidden: forbidden_out,
        status: status_out,
    };
    let (resolv_conf, hosts) = (options.resolv_conf.clone(), options.hosts.clone());
    tokio::spawn(task::run(inputs, batches, move |upstreams| {
        HostResolver::with_files(upstreams, resolv_conf.clone(), hosts.clone())
    }));
    NamesHandle { names, upstreams, forbidden, status }
}

impl Agent {
    /// State of the names the agent resolves.
    pub(super) async fn name_status(&self) -> Vec<NameStatus> {
        let (sender, receiver) = oneshot::channel();
        // The task may be waiting for this loop to take its batches: never wait for it for long.
        let asked = async {
            self.names.status.send(sender).await.ok()?;
            receiver.await.ok()
        };
        tokio::time::timeout(STATUS_PATIENCE, asked).await.ok().flatten().unwrap_or_default()
    }

    /// Teaches the kernel the addresses that the agent resolved itself.
    pub(super) fn learn(&mut self, batch: &Batch) {
        let Batch { updates, removals } = batch;
        if !removals.is_empty() {
            self.dns.memory.changed();
        }
        for removal in removals {
            if let Err(error) = self.datapath.forget(removal.address, removal.name) {
                return self.complain("an address is not forgotten", &error);
            }
        }
        for update in updates {
            let unit = Unit { name: update.name, quota: QUOTA_EXACT };
            let expires_s = u32::try_from(update.expires_s).unwrap_or(u32::MAX);
            match self.datapath.teach(update.address, unit, expires_s) {
                Ok(Lesson::Learned) => {
                    if let Some(name) = self.exact_name(update.name) {
                        self.remember_asked(update.address, &name, update.name);
                    }
                }
                Ok(refused) => {
                    tracing::warn!(address = %update.address, why = refused.name(), "not learned");
                }
                Err(error) => return self.complain("an address is not learned", &error),
            }
        }
    }

    /// Takes out what nobody asks for any more.
    pub(super) fn sweep_learned(&mut self) {
        let now_s = (now_ns() / 1_000_000_000) as u32;
        if let Err(error) = self.datapath.sweep_learned(now_s.saturating_sub(SWEEP_AFTER_S)) {
            self.complain("learned addresses are not swept", &error);
        }
    }

    pub(super) fn endpoints(&self) -> Vec<(Address, u32)> {
        let host = self.resolvers.remote().map(|resolver| resolver.address);
        let policy = self.loaded.policy.dns.resolvers.iter().copied();
        let mut all: Vec<IpAddr> = host.chain(policy).collect();
        all.sort_unstable();
        all.dedup();
        let mut endpoints: BTreeMap<Address, u32> = BTreeMap::new();
        for address in all {
            *endpoints.entry(Address::from(address)).or_default() |= endpoint::RESOLVER;
        }
        for own in self.links.iter().flat_map(|link| &link.addresses) {
            *endpoints.entry(Address::from(own.addr())).or_default() |= endpoint::OWN;
        }
        for address in &self.dns.serving.addresses {
            *endpoints.entry(Address::from(*address)).or_default() |= endpoint::STUB;
        }
        endpoints.into_iter().collect()
    }

    /// The exact name with this identity.
    fn exact_name(&self, identity: u32) -> Option<String> {
        let found = self.compiled.fqdns.iter().find(|(it, _)| *it == identity);
        found.map(|(_, fqdn)| fqdn.to_string())
    }

    /// The endpoints of the policy beside those that are there.
    pub(super) fn add_endpoints(&mut self) {
        let endpoints = self.endpoints();
        if let Err(error) = self.datapath.add_endpoints(&endpoints) {
            self.complain("resolvers are not followed", &error);
        }
    }

    pub(super) fn set_endpoints(&mut self) {
        let endpoints = self.endpoints();
        if let Err(error) = self.datapath.set_endpoints(&endpoints) {
            self.complain("resolvers are not followed", &error);
        }
    }

    pub(super) fn tell_names(&mut self) {
        // What is below a wildcard is learned from the host's own questions alone.
        let fqdns = self.compiled.fqdns.iter().filter(|(_, fqdn)| !fqdn.is_wildcard());
        let names = fqdns.map(|(identity, fqdn)| (*identity, fqdn.to_string())).collect();
        // The task lives as long as the agent.
        let _receivers = self.names.names.send(names);
        self.tell_forbidden();
    }

    pub(super) fn tell_forbidden(&mut self) {
        let _receivers = self.names.forbidden.send(self.forbidden());
    }
}
