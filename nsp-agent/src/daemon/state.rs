//! What the agent knows and does; the loop in `daemon.rs` says when.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use nsp_common::{
    address::Address,
    class::{PortEntry, port_index},
    link::{Link as KernelLink, endpoint},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Options, bind,
    bind::Bindings,
    catalogue, seed,
    store::{self, State, StoreError},
};
use crate::{
    access_log::{
        catalogue::Catalogue,
        clock::Clock,
        record::AccessRecord,
        sink::{Rotation, Sink, Target},
        writer::Writer,
    },
    compile::{
        self, BudgetError, Compiled,
        oracle::{HostView, Oracle},
    },
    control::Request,
    datapath::{
        Capacities, Datapath, DatapathError, Events,
        attach::{Attachments, Device},
    },
    host::{
        NetlinkError, Pattern, PatternError,
        cgroups::{self, Tree},
        links::{self, Choices, HostChange, Link},
        resolvers::{self, ResolverFiles, Resolvers},
        routes::{self, RouteEntry},
        sockets::{self, Connection, Listener},
    },
    names::{
        forbidden::Forbidden,
        resolver::{HostResolver, Upstreams},
        schedule::{Batch, NameStatus},
        table::{LearnedTable, TableChange},
        task::{self, Inputs, now_s},
    },
    policy::{self, Loaded, PolicyErrors, model::Policy},
};

/// Addresses of one family that the kernel's learned table holds.
const LEARNED_CAPACITY: usize = 16384;

/// Why the daemon does not start, or an apply is refused.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The policy has errors.
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    /// The policy is too large.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The kernel refuses.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The host cannot be read.
    #[error("cannot read the host's network")]
    Host(#[source] NetlinkError),
    /// A pattern of `--interface` makes no sense.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// There is nothing to cover.
    #[error("no interface to cover: {0}")]
    NoInterface(String),
    /// The interface with the default route cannot be covered.
    #[error("cannot cover {interface}, which has the default route; --allow-uncovered starts all the same")]
    Uncovered {
        /// Its name.
        interface: String,
        /// Why.
        #[source]
        source: DatapathError,
    },
    /// The control socket cannot be made.
    #[error("cannot listen at {path}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No signals.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// No thread for the access log.
    #[error("cannot start the access log")]
    AccessLog(#[source] std::io::Error),
    /// The programs gave no sensible answer to the self-test.
    #[error("the kernel programs failed their self-test: {0}")]
    SelfTest(String),
}

/// The names task's inputs, kept to be changed.
pub(super) struct NamesHandle {
    names: watch::Sender<Vec<(u32, String)>>,
    upstreams: watch::Sender<Upstreams>,
    forbidden: watch::Sender<Forbidden>,
    status: mpsc::Sender<oneshot::Sender<Vec<NameStatus>>>,
}

/// The agent.
pub(super) struct Agent {
    pub(super) options: Options,
    patterns: Vec<Pattern>,
    pub(super) state: State,
    /// The policy in force, with `nsp mode`'s changes in it.
    pub(super) loaded: Loaded,
    /// Where it came from, when that is not the default file.
    pub(super) trial: Option<PathBuf>,
    pub(super) compiled: Compiled,
    pub(super) datapath: Datapath,
    pub(super) attachments: Attachments,
    /// Devices that should be covered and are not, with the reason.
    pub(super) uncovered: BTreeMap<String, String>,
    pub(super) links: Vec<Link>,
    pub(super) routes: Vec<RouteEntry>,
    pub(super) choices: Choices,
    pub(super) groups: BTreeMap<u32, u8>,
    tree: Option<Arc<Tree>>,
    listeners: Vec<Listener>,
    pub(super) bindings: Bindings,
    pub(super) resolvers: Resolvers,
    pub(super) learned: LearnedTable,
    names: NamesHandle,
    pub(super) writer: Writer,
    pub(super) catalogue: Catalogue,
    host_name: String,
    cares: u64,
    /// What went wrong last, for `status`.
    pub(super) last_error: Option<String>,
}

impl Agent {
    /// Reads everything, loads the programs, attaches them observing, and publishes the policy.
    pub(super) async fn start(
        options: Options,
        batches: mpsc::Sender<Batch>,
    ) -> Result<Self, DaemonError> {
        let patterns = options
            .interfaces
            .iter()
            .map(|text| Pattern::new(text))
            .collect::<Result<Vec<_>, _>>()?;
        let loaded = policy::load(&options.policy)?;
        let mut state = store::load(&options.state_dir)?;
        let compiled = compile::compile(&loaded.policy, &mut state.identities)?;
        let datapath = Datapath::load(Capacities::for_sizes(&compiled.sizes))?;
        let links = links::read().await.map_err(DaemonError::Host)?;
        let routes = routes::read().await.map_err(DaemonError::Host)?;
        let log = options.log.clone().or_else(|| loaded.policy.logging.file.clone());
        let target = Target::of(log.as_deref().unwrap_or(Path::new("/var/log/nsp/access.jsonl")));
        let writer = Writer::start(Sink::new(target, Rotation::default()))
            .map_err(DaemonError::AccessLog)?;
        let names = start_names(&options, batches);
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut agent = Self {
            patterns,
            compiled,
            datapath,
            attachments: Attachments::default(),
            uncovered: BTreeMap::new(),
            links,
            routes,
            choices: Choices::default(),
            groups: BTreeMap::new(),
            tree: None,
            listeners: Vec::new(),
            bindings: Bindings::default(),
            resolvers: Resolvers::default(),
            learned: LearnedTable::new(LEARNED_CAPACITY),
            names,
            writer,
            catalogue: Catalogue::default(),
            host_name,
            cares: 0,
            last_error: None,
            trial: None,
            options,
            state,
            loaded,
        };
        agent.state.guid.get_or_insert_with(new_guid);
        agent.read_host().await;
        agent.follow_host()?;
        let wanted: Vec<Device> = agent.wanted();
        if wanted.is_empty() {
            return Err(DaemonError::NoInterface(agent.why_nothing()));
        }
        agent.cover(&wanted);
        agent.check_covered()?;
        agent.seed().await;
        agent.publish()?;
        agent.self_test()?;
        Ok(agent)
    }

    /// The compiled policy and the host, for questions.
    pub(super) fn oracle(&self, sender: u16) -> Oracle<'_> {
        let host = HostView {
            selectors: self.bindings.selectors.iter().copied().collect(),
            listeners: self.bindings.listeners.clone(),
            routes: routes::route_table(&self.routes, &self.groups),
            groups: self.groups.clone(),
            learned: self
                .learned
                .entries()
                .map(|(address, learned)| (Address::from(address), learned))
                .collect(),
            endpoints: self.endpoints().into_iter().collect(),
            sender,
            flows: Default::default(),
            now_ns: now_ns(),
        };
        Oracle::new(&self.compiled, self.datapath.generation().unwrap_or(1), host)
    }

    /// The association of a cgroup path, or zero.
    pub(super) fn association_of_path(&self, path: &str) -> u16 {
        let Some(tree) = &self.tree else { return 0 };
        let mut nearest = 0;
        let mut prefix = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            prefix = format!("{prefix}/{part}");
            let Some(cgroup) = tree.find(&prefix) else { break };
            let key = nsp_common::selector::Selector::cgroup(0, cgroup.id);
            if let Some((_, association)) =
                self.bindings.selectors.iter().find(|(selector, _)| *selector == key)
            {
                nearest = *association;
            }
        }
        nearest
    }

    /// The tree of cgroups.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.as_deref()
    }

    /// State of the names the agent resolves.
    pub(super) async fn name_status(&self) -> Vec<NameStatus> {
        let (sender, receiver) = oneshot::channel();
        match self.names.status.send(sender).await {
            Ok(()) => receiver.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Makes the policy in `self.compiled` the one in force, and everything beside it.
    pub(super) fn publish(&mut self) -> Result<u32, DatapathError> {
        self.bindings = self.bind();
        let number = self.datapath.publish(
            &self.compiled,
            &self.bindings.selectors,
            &self.bindings.listeners,
        )?;
        catalogue::raise_versions(&self.loaded.policy, &mut self.state);
        self.refresh_catalogue();
        if let Err(error) = store::save(&self.options.state_dir, &self.state) {
            self.complain("state is not saved", &error);
        }
        self.tell_names();
        self.set_endpoints();
        tracing::info!(generation = number, "policy published");
        Ok(number)
    }

    /// Compiles and publishes another policy; on any failure the one in force stays.
    pub(super) fn apply(&mut self, loaded: Loaded, strict: bool) -> Result<u32, DaemonError> {
        let mut identities = self.state.identities.clone();
        if strict {
            for (number, _) in self.state.identities.associations() {
                identities.cut(number, now_ns());
            }
        }
        let compiled = compile::compile(&loaded.policy, &mut identities)?;
        let previous_identities = std::mem::replace(&mut self.state.identities, identities);
        let previous_compiled = std::mem::replace(&mut self.compiled, compiled);
        let previous_loaded = std::mem::replace(&mut self.loaded, loaded);
        match self.publish() {
            Ok(number) => Ok(number),
            Err(error) => {
                self.state.identities = previous_identities;
                self.compiled = previous_compiled;
                self.loaded = previous_loaded;
                self.bindings = self.bind();
                Err(error.into())
            }
        }
    }

    /// SIGHUP: the file as it is now.
    pub(super) fn reload(&mut self) {
        let result = policy::load(&self.options.policy)
            .map_err(DaemonError::from)
            .and_then(|loaded| self.apply(loaded, false));
        match result {
            Ok(_) => self.trial = None,
            Err(error) => self.complain("the policy stays as it is", &error),
        }
    }

    /// Answers a verb.
    pub(super) async fn answer(&mut self, request: Request) -> Result<serde_json::Value, String> {
        match request {
            Request::Status => Ok(self.status().await),
            Request::Explain { packet } => self.explain(&packet),
            Request::Flows => self.list_flows(),
            Request::Cut { peer, kept } => self.cut_flows(peer, kept),
            Request::Apply { path, strict } => {
                let loaded = policy::load(&path).map_err(|errors| errors.to_string())?;
                let number =
                    self.apply(loaded, strict).map_err(|error| with_sources(&error))?;
                self.trial = (path != self.options.policy).then_some(path);
                Ok(serde_json::json!({"generation": number, "trial": self.trial}))
            }
            Request::Plan { path } => {
                let loaded = policy::load(&path).map_err(|errors| errors.to_string())?;
                self.plan(&loaded)
            }
            Request::Mode { resource, enforced, direction } => {
                self.set_mode(&resource, enforced, direction.as_deref())
            }
            Request::Flush => {
                self.drain();
                Ok(serde_json::Value::Null)
            }
            Request::Detach => Ok(serde_json::Value::Null),
        }
    }

    fn set_mode(
        &mut self,
        resource: &str,
        enforced: bool,
        direction: Option<&str>,
    ) -> Result<serde_json::Value, String> {
        use crate::policy::model::AccessMode;
        let mode = if enforced { AccessMode::Enforced } else { AccessMode::Transition };
        let mut loaded = self.loaded.clone();
        let known: Vec<String> =
            loaded.policy.resources.keys().map(ToString::to_string).collect();
        let Some((_, entry)) =
            loaded.policy.resources.iter_mut().find(|(name, _)| name.as_str() == resource)
        else {
            return Err(format!("no resource {resource:?}; there are: {}", known.join(", ")));
        };
        if direction != Some("outbound") {
            entry.inbound_mode = mode;
        }
        if direction != Some("inbound") {
            entry.outbound_mode = mode;
        }
        let number = self.apply(loaded, false).map_err(|error| with_sources(&error))?;
        Ok(serde_json::json!({"generation": number}))
    }

    /// Routes, devices or addresses changed.
    pub(super) async fn host_changed(&mut self, _change: HostChange) {
        match (links::read().await, routes::read().await) {
            (Ok(links), Ok(routes)) => {
                self.links = links;
                self.routes = routes;
            }
            (Err(error), _) | (_, Err(error)) => {
                return self.complain("the host's network cannot be read", &error);
            }
        }
        if let Err(error) = self.follow_host() {
            self.complain("the host's network is not followed", &error);
        }
        let wanted = self.wanted();
        self.attachments.retain(|device| wanted.contains(device));
        self.cover(&wanted);
        self.rebind();
        self.refresh_catalogue();
        self.tell_forbidden();
    }

    /// Writes new addresses of names into the kernel's table.
    pub(super) fn learn(&mut self, batch: &Batch) {
        let changes = self.learned.apply(batch);
        self.write_learned(&changes);
    }

    fn write_learned(&mut self, changes: &[TableChange]) {
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

    /// A unit came or went.
    pub(super) fn cgroups_changed(
        &mut self,
        cgroups: &Option<watch::Receiver<Arc<Tree>>>,
    ) {
        if let Some(receiver) = cgroups {
            self.tree = Some(receiver.borrow().clone());
            self.rebind();
        }
    }

    /// Follows the tree of cgroups, where there is one.
    pub(super) fn watch_cgroups(&mut self) -> Option<watch::Receiver<Arc<Tree>>> {
        let mount = cgroups::mount_point().ok()?;
        match cgroups::watch(&mount) {
            Ok(receiver) => Some(receiver),
            Err(error) => {
                self.complain("cgroups are not followed", &error);
                None
            }
        }
    }

    /// Takes the ring of events for the loop.
    pub(super) fn take_events(&mut self) -> Option<Events> {
        self.datapath.take_events()
    }

    /// Writes the access records gathered so far.
    pub(super) fn drain(&mut self) {
        let drained = match self.datapath.drain_records() {
            Ok(drained) => drained,
            Err(error) => return self.complain("access records are not read", &error),
        };
        if drained.is_empty() {
            return;
        }
        let clock = Clock::read();
        let enabled = &self.loaded.policy.logging.enabled_log_categories;
        let mut records: Vec<AccessRecord> = drained
            .iter()
            .map(|(key, record)| AccessRecord::of(key, record, &self.catalogue, &clock))
            .filter(|record| enabled.iter().any(|known| known.as_str() == record.category))
            .collect();
        records.sort_by_key(|record| record.time_generated);
        self.writer.write(records);
    }

    /// What is to be looked after every second.
    pub(super) async fn care(&mut self) {
        self.cares += 1;
        let expired = self.learned.expire(now_s());
        self.write_learned(&expired);
        if self.follows_listeners() {
            match sockets::listeners().await {
                Ok(listeners) if listeners != self.listeners => {
                    self.listeners = listeners;
                    self.rebind();
                }
                Ok(_) => {}
                Err(error) => self.complain("listeners are not followed", &error),
            }
        }
        if self.cares % 5 == 0 {
            let files = self.resolver_files();
            if let Ok(resolvers) = resolvers::read(&files)
                && resolvers != self.resolvers
            {
                self.resolvers = resolvers;
                self.set_endpoints();
                let _receivers = self.names.upstreams.send(Upstreams::Host);
            }
        }
        if self.cares % 30 == 0 {
            self.expire_flows();
        }
    }

    /// Says that both directions are attached and tested.
    pub(super) fn say_ready(&self) {
        for (device, hook) in self.attachments.iter() {
            tracing::info!(interface = device.name, ingress = hook.name(), egress = "tc", "covered");
        }
        eprintln!("nsp: ready");
    }

    /// The last records are written; dropping the rest detaches.
    pub(super) fn end(mut self) {
        self.drain();
        let (state, in_time) = self.writer.close(std::time::Duration::from_secs(3));
        if !in_time || state.lost.lines != 0 {
            tracing::error!(lines = state.lost.lines, packets = state.lost.packets, "access log lost");
        }
    }

    fn bind(&self) -> Bindings {
        let host = bind::Host {
            links: &self.links,
            cgroups: self.tree.as_deref(),
            listeners: &self.listeners,
        };
        bind::bind(&self.compiled.resources, &host)
    }

    /// Brings selectors and listeners of the generation in force up to date.
    fn rebind(&mut self) {
        let bindings = self.bind();
        if bindings == self.bindings {
            return;
        }
        let before = std::mem::replace(&mut self.bindings, bindings);
        if let Err(error) = self.datapath.select(&self.bindings.selectors) {
            self.complain("resources are not followed", &error);
        }
        let gone = before.listeners.keys().filter(|it| !self.bindings.listeners.contains_key(it));
        for (protocol, port) in gone {
            let entry = self.compiled.ports[port_index(*protocol, *port)];
            self.datapath.set_port(*protocol, *port, entry);
        }
        for ((protocol, port), association) in &self.bindings.listeners {
            let entry = self.compiled.ports[port_index(*protocol, *port)];
            let entry = PortEntry { association: *association, ..entry };
            self.datapath.set_port(*protocol, *port, entry);
        }
    }

    fn follows_listeners(&self) -> bool {
        use crate::policy::model::{Process, Selector};
        self.compiled.resources.iter().any(|resource| match &resource.selector {
            Selector::Part(part) => matches!(part.process, Some(Process::Unit(_))),
            Selector::Host => false,
        })
    }

    async fn read_host(&mut self) {
        if let Ok(mount) = cgroups::mount_point() {
            self.tree = Tree::read(&mount).ok().map(Arc::new);
        }
        if let Ok(listeners) = sockets::listeners().await {
            self.listeners = listeners;
        }
        if let Ok(resolvers) = resolvers::read(&self.resolver_files()) {
            self.resolvers = resolvers;
        }
    }

    fn resolver_files(&self) -> ResolverFiles {
        ResolverFiles { resolv_conf: self.options.resolv_conf.clone(), ..ResolverFiles::default() }
    }

    /// Chooses devices anew and writes what the kernel knows of devices and routes.
    fn follow_host(&mut self) -> Result<(), DaemonError> {
        let private = private_prefixes(&self.loaded.policy);
        self.choices = links::choose(&self.links, &self.routes, &self.patterns, &private);
        match links::link_groups(&self.choices, &self.links, &self.groups) {
            Ok(groups) => self.groups = groups,
            Err(error) => self.complain("too many interfaces", &error),
        }
        let entries: Vec<(u32, KernelLink)> = self
            .groups
            .iter()
            .map(|(index, group)| (*index, KernelLink { group: *group, _pad: 0, scope: 0 }))
            .collect();
        self.datapath.set_links(&entries)?;
        let table = routes::route_table(&self.routes, &self.groups);
        self.datapath.set_routes(&table)?;
        Ok(())
    }

    fn wanted(&self) -> Vec<Device> {
        let judged = self.choices.judged();
        let links = judged.filter_map(|choice| {
            let link = self.links.iter().find(|link| link.index == choice.index)?;
            Some(Device {
                index: link.index,
                name: link.name.clone(),
                has_link_header: link.ethernet,
            })
        });
        links.collect()
    }

    fn why_nothing(&self) -> String {
        let reasons = self.choices.devices.iter();
        let mut reasons: Vec<String> =
            reasons.map(|it| format!("{}: {}", it.name, it.reason)).collect();
        let missing = self.choices.unmatched.iter();
        reasons.extend(missing.map(|pattern| format!("no interface matches {pattern}")));
        reasons.join("; ")
    }

    fn cover(&mut self, wanted: &[Device]) {
        self.uncovered.clear();
        for device in wanted {
            if self.attachments.covers(device.index) {
                continue;
            }
            let added = self.attachments.add(&mut self.datapath, device, self.options.xdp_mode);
            if let Err(error) = added {
                let why = with_sources(&error);
                tracing::error!(interface = device.name, %why, "not covered");
                self.uncovered.insert(device.name.clone(), why);
            }
        }
    }

    /// The interface with the default route must be covered, or the perimeter is a pretence.
    fn check_covered(&mut self) -> Result<(), DaemonError> {
        if self.options.allow_uncovered {
            return Ok(());
        }
        for device in self.wanted() {
            if self.attachments.covers(device.index) {
                continue;
            }
            let has_default = self.routes.iter().any(|route| {
                route.prefix.prefix_len() == 0 && route.interfaces.contains(&device.index)
            });
            if has_default || self.attachments.iter().next().is_none() {
                let mode = self.options.xdp_mode;
                let again = self.attachments.add(&mut self.datapath, &device, mode);
                if let Err(source) = again {
                    return Err(DaemonError::Uncovered { interface: device.name, source });
                }
            }
        }
        Ok(())
    }

    /// Takes over the conversations of the kernel's sockets.
    async fn seed(&mut self) {
        let connections = match sockets::read().await {
            Ok(sockets) => sockets.connections,
            Err(error) => return self.complain("live conversations are not taken over", &error),
        };
        self.bindings = self.bind();
        let flows = {
            let oracle = self.oracle(0);
            seed::flows(&connections, &oracle, |it| self.association_of(it), now_ns())
        };
        tracing::info!(flows = flows.len(), "live conversations taken over");
        for (key, flow) in flows {
            if let Err(error) = self.datapath.set_flow(&key, Some(&flow)) {
                return self.complain("a live conversation is not taken over", &error);
            }
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

    fn endpoints(&self) -> Vec<(Address, u32)> {
        let host = self.resolvers.remote().map(|resolver| resolver.address);
        let policy = self.loaded.policy.resolvers.iter().copied();
        let mut all: Vec<IpAddr> = host.chain(policy).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|address| (Address::from(address), endpoint::RESOLVER)).collect()
    }

    fn set_endpoints(&mut self) {
        let endpoints = self.endpoints();
        if let Err(error) = self.datapath.set_endpoints(&endpoints) {
            self.complain("resolvers are not followed", &error);
        }
    }

    fn tell_names(&mut self) {
        let fqdns = self.compiled.fqdns.iter();
        let names = fqdns.map(|(identity, fqdn)| (*identity, fqdn.to_string())).collect();
        // The task lives as long as the agent.
        let _receivers = self.names.names.send(names);
        self.tell_forbidden();
    }

    fn tell_forbidden(&mut self) {
        let own = self.links.iter().flat_map(|link| &link.addresses).map(|net| net.addr());
        let forbidden = Forbidden::new(private_prefixes(&self.loaded.policy), own);
        let _receivers = self.names.forbidden.send(forbidden);
    }

    fn refresh_catalogue(&mut self) {
        self.catalogue =
            catalogue::build(&self.loaded.policy, &self.state, &self.links, &self.host_name);
    }

    /// A known drop and a known pass must come out as such before anybody is told "ready".
    fn self_test(&self) -> Result<(), DaemonError> {
        self.run_self_test().map_err(DaemonError::SelfTest)
    }

    pub(super) fn complain(&mut self, what: &str, error: &dyn std::error::Error) {
        let why = with_sources(error);
        tracing::error!(%why, "{what}");
        self.last_error = Some(format!("{what}: {why}"));
    }
}

fn start_names(options: &Options, batches: mpsc::Sender<Batch>) -> NamesHandle {
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

/// The private ranges in force.
fn private_prefixes(policy: &Policy) -> Vec<ipnet::IpNet> {
    compile::private_prefixes(policy).collect()
}

/// Coarse monotonic clock, ns: the one the kernel programs use.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// An error with everything behind it, on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// A random GUID (RFC 9562 version 4).
fn new_guid() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness a GUID of zeros is still a GUID; the kernel always has some.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    policy::model::Guid::from_bytes(bytes).to_string()
}
