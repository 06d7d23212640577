//! Names: the task that resolves them, and the kernel's table of their addresses.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use nsp_common::{address::Address, link::endpoint};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Options,
    state::{Agent, private_prefixes},
};
use crate::names::{
    forbidden::Forbidden,
    resolver::{HostResolver, Upstreams},
    schedule::{Batch, NameStatus},
    table::TableChange,
    task::{self, Inputs},
};

/// How long `status` waits for the names task.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

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

    /// Writes new addresses of names into the kernel's table.
    pub(super) fn learn(&mut self, batch: &Batch) {
        let changes = self.learned.apply(batch);
        self.write_learned(&changes);
    }

    pub(super) fn write_learned(&mut self, changes: &[TableChange]) {
        for change in changes {
            let written = match change {
                TableChange::Write { address, learned } => {
                    self.datapath.set_learned(*address, Some(learned))
                }
                TableChange::Delete { address } => self.datapath.set_learned(*address, None),
            };
            if let Err(error) = written {
                self.complain("an address is not learned", &error);
            }
        }
    }

    pub(super) fn endpoints(&self) -> Vec<(Address, u32)> {
        let host = self.resolvers.remote().map(|resolver| resolver.address);
        let policy = self.loaded.policy.resolvers.iter().copied();
        let mut all: Vec<IpAddr> = host.chain(policy).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|address| (Address::from(address), endpoint::RESOLVER)).collect()
    }

    pub(super) fn set_endpoints(&mut self) {
        let endpoints = self.endpoints();
        if let Err(error) = self.datapath.set_endpoints(&endpoints) {
            self.complain("resolvers are not followed", &error);
        }
    }

    pub(super) fn tell_names(&mut self) {
        let fqdns = self.compiled.fqdns.iter();
        let names = fqdns.map(|(identity, fqdn)| (*identity, fqdn.to_string())).collect();
        // The task lives as long as the agent.
        let _receivers = self.names.names.send(names);
        self.tell_forbidden();
    }

    pub(super) fn tell_forbidden(&mut self) {
        let own = self.links.iter().flat_map(|link| &link.addresses).map(IpNet::addr);
        let forbidden = Forbidden::new(private_prefixes(&self.loaded.policy), own);
        let _receivers = self.names.forbidden.send(forbidden);
    }
}
