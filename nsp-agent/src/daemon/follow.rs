//! Following the host: devices, routes, units, listeners, resolvers.

use std::{ops::RangeInclusive, sync::Arc, time::Instant};

use nsp_common::{
    class::{PortEntry, port_index},
    flow_key::FlowKey,
    link::Link as KernelLink,
};
use tokio::sync::watch;

use super::{
    bind,
    bind::Bindings,
    errors::{DaemonError, with_sources},
    state::{Agent, private_prefixes},
};
use crate::{
    datapath::attach::Device,
    host::{
        cgroups::{self, Tree},
        links::{self, Held},
        resolvers::{self, ResolverFiles},
        routes, sockets,
    },
    policy::model::{Process, Selector},
};

/// The kernel's default, for when it cannot be read.
const EPHEMERAL_PORTS: RangeInclusive<u16> = 32768..=60999;

impl Agent {
    /// Routes, devices or addresses changed, or the time of one that was held is over.
    pub(super) async fn host_changed(&mut self) {
        match (links::read().await, routes::read().await) {
            (Ok(links), Ok(routes)) => {
                self.links = links;
                self.routes = routes;
            }
            (Err(error), _) | (_, Err(error)) => {
                // Who is judged goes on to be: the time begins anew with the next reading.
                self.held = Held::default();
                return self.complain("the host's network cannot be read", &error);
            }
        }
        self.cover_chosen();
        self.rebind();
        self.refresh_catalogue();
        self.tell_forbidden();
        self.set_endpoints();
        self.follow_stubs();
    }

    /// A unit came or went.
    pub(super) async fn cgroups_changed(&mut self, cgroups: &Option<watch::Receiver<Arc<Tree>>>) {
        if let Some(receiver) = cgroups {
            self.tree = Some(receiver.borrow().clone());
            if self.follows_listeners()
                && let Ok(listeners) = sockets::listeners().await
            {
                self.listeners = listeners;
            }
            self.rebind();
            self.follow_stubs();
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

    pub(super) fn bind(&self) -> Bindings {
        let links = [&self.links[..], &self.links_as_hooked()].concat();
        let host = bind::Host {
            links: &links,
            cgroups: self.tree.as_deref(),
            listeners: &self.listeners,
            ephemeral: sockets::ephemeral_ports().unwrap_or(EPHEMERAL_PORTS),
        };
        let mut bindings = bind::bind(&self.compiled.resources, &host);
        // The tree is read by and by; a session's cgroup is known, and holds from its first moment.
        bindings.selectors.extend(self.session_selectors());
        // A port stays its unit's while the unit restarts: between its going and its coming back
        // nobody else's traffic is on it, and the first packet may be a stranger's.
        for (key, association) in &self.bindings.listeners {
            let is_known = self.compiled.resources.iter().any(|it| it.association == *association);
            if is_known {
                bindings.listeners.entry(*key).or_insert(*association);
            }
        }
        bindings
    }

    /// Brings selectors and listeners of the generation in force up to date.
    pub(super) fn rebind(&mut self) {
        let bindings = self.bind();
        if bindings == self.bindings {
            return;
        }
        self.bindings = bindings;
        if let Err(error) = self.datapath.select(&self.bindings.selectors) {
            self.complain("resources are not followed", &error);
        }
        for ((protocol, port), association) in &self.bindings.listeners {
            let entry = self.compiled.ports[port_index(*protocol, *port)];
            // The policy names this port for a resource: that is more than a unit's listening.
            if entry.association == 0 {
                let entry = PortEntry { association: *association, ..entry };
                self.datapath.set_port(*protocol, *port, entry);
            }
        }
    }

    pub(super) fn follows_listeners(&self) -> bool {
        self.has_resolver_here()
            || self.compiled.resources.iter().any(|resource| match &resource.selector {
                Selector::Part(part) => matches!(part.process, Some(Process::Unit(_))),
                Selector::Host => false,
            })
    }

    pub(super) async fn read_host(&mut self) {
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

    pub(super) fn resolver_files(&self) -> ResolverFiles {
        ResolverFiles { resolv_conf: self.options.resolv_conf.clone(), ..ResolverFiles::default() }
    }

    /// Chooses devices anew and writes what the kernel knows of devices and routes.
    pub(super) fn follow_host(&mut self) -> Result<(), DaemonError> {
        let private = private_prefixes(&self.loaded.policy);
        let now = Instant::now();
        let kept = self.held.kept(&self.choices, &self.links, now);
        self.choices = links::choose(&self.links, &self.routes, &self.patterns, &private, &kept);
        self.judge_renamed(&private, &kept);
        self.judge_named_interfaces();
        self.held.follow(&self.choices, now);
        match links::link_groups(&self.choices, &self.links, &self.groups) {
            Ok(groups) => self.groups = groups,
            Err(error) => self.complain("too many interfaces", &error),
        }
        let is_bare = |index: u32| self.links.iter().any(|it| it.index == index && !it.ethernet);
        let scope = |index| if is_bare(index) { FlowKey::scope_of(index) } else { 0 };
        let entry = |(index, group): (&u32, &u8)| {
            (*index, KernelLink { group: *group, _pad: 0, scope: scope(*index) })
        };
        let entries: Vec<(u32, KernelLink)> = self.groups.iter().map(entry).collect();
        self.datapath.set_links(&entries)?;
        let table = routes::route_table(&self.routes, &self.groups);
        self.datapath.set_routes(&table)?;
        Ok(())
    }

    /// Chooses devices anew, hooks those that came and unhooks those that went.
    pub(super) fn cover_chosen(&mut self) {
        if let Err(error) = self.follow_host() {
            self.complain("the host's network is not followed", &error);
        }
        let wanted = self.wanted();
        self.attachments.rename(&wanted);
        // What comes first: where a device yields to another (a port to its bridge), one of them judges always.
        self.cover(&wanted);
        // By index and kind: a device that was renamed is the same device.
        let stay = self.attachments.retain(|device| {
            let same = |it: &Device| {
                it.index == device.index && it.has_link_header == device.has_link_header
            };
            wanted.iter().any(same)
        });
        for (interface, error) in stay {
            self.complain(&format!("{interface}: still hooked"), &error);
        }
        // The kernel has no XDP below a device that has it: what went may have been in the way.
        if wanted.iter().any(|device| !self.attachments.covers(device.index)) {
            self.cover(&wanted);
        }
    }

    /// When a device is to be let go that is judged for a while.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.until()
    }

    /// A resource that is an interface is judged there, whatever else is chosen.
    fn judge_named_interfaces(&mut self) {
        let named =
            self.loaded.policy.resources.values().filter_map(|resource| match &resource.selector {
                Selector::Part(part) => part.interface.as_ref(),
                Selector::Host => None,
            });
        let also_named = self.links_as_hooked();
        for interface in named {
            let before = also_named.iter().find(|it| it.name == interface.as_str());
            let device = self.choices.devices.iter_mut().find(|it| {
                it.name == interface.as_str() || before.is_some_and(|link| link.index == it.index)
            });
            if let Some(choice) = device.filter(|choice| !choice.judged || choice.is_held) {
                choice.judged = true;
                choice.is_held = false;
                choice.reason = "a resource of the policy is this interface".to_owned();
            }
        }
    }

    /// The devices to hook.
    pub(super) fn wanted(&self) -> Vec<Device> {
        if self.is_off() {
            return Vec::new();
        }
        let judged = self.choices.judged();
        let links = judged.filter_map(|choice| {
            let link = self.links.iter().find(|link| link.index == choice.index)?;
            Some(Device {
                index: link.index,
                name: link.name.clone(),
                has_link_header: link.ethernet,
                without_native: links::xdp_is_in_the_way(choice, link, &self.links),
            })
        });
        links.collect()
    }

    pub(super) fn why_nothing(&self) -> String {
        let reasons = self.choices.devices.iter();
        let mut reasons: Vec<String> =
            reasons.map(|it| format!("{}: {}", it.name, it.reason)).collect();
        let missing = self.choices.unmatched.iter();
        reasons.extend(missing.map(|pattern| format!("no interface matches {pattern}")));
        reasons.join("; ")
    }

    /// Hooks what is not hooked. What fails is tried again every second, and said once.
    pub(super) fn cover(&mut self, wanted: &[Device]) {
        let before = std::mem::take(&mut self.uncovered);
        for device in wanted {
            if self.attachments.covers(device.index) {
                continue;
            }
            let added = self.attachments.add(&mut self.datapath, device, self.options.xdp_mode);
            match added {
                Ok(hook) => {
                    self.hooked_as.entry(device.index).or_insert_with(|| device.name.clone());
                    let (interface, ingress) = (&device.name, hook.name());
                    tracing::info!(interface, ingress, egress = "tc", "covered");
                }
                Err(error) => {
                    let why = with_sources(&error);
                    if before.get(&device.name) != Some(&why) {
                        tracing::error!(interface = device.name, %why, "not covered");
                    }
                    self.uncovered.insert(device.name.clone(), why);
                }
            }
        }
    }

    /// Hooks everything, by what is pinned where something is.
    pub(super) fn hook(&mut self, wanted: &[Device]) -> Result<(), DaemonError> {
        self.cover(wanted);
        self.check_covered()?;
        // They are tried again, and `status` has the reason.
        let _hooked = self.hook_calls();
        let is_left =
            |index| wanted.iter().any(|it| it.index == index) && !self.attachments.covers(index);
        self.datapath.sweep_hooks(&self.attachments, self.calls.as_ref().ok(), is_left)?;
        for link in
            self.links.iter().filter(|it| !wanted.iter().any(|device| device.index == it.index))
        {
            self.datapath.sweep_filters(&link.name);
        }
        Ok(())
    }

    /// Hooks programs' calls for a way out. TC denies what these hooks would, only later: to do without
    /// them is no failure, and is tried again every second.
    pub(super) fn hook_calls(&mut self) -> Result<(), String> {
        let hooked =
            cgroups::mount_point().map_err(|error| with_sources(&error)).and_then(|mount| {
                self.datapath.attach_calls(&mount).map_err(|error| with_sources(&error))
            });
        let before = std::mem::replace(&mut self.calls, hooked);
        match &self.calls {
            Ok(_) => {
                if before.is_err() {
                    tracing::info!("denied calls fail at once");
                }
                Ok(())
            }
            Err(why) => {
                if before.err().as_ref() != Some(why) {
                    tracing::warn!(%why, "denied calls fail by their own timeout");
                }
                Err(why.clone())
            }
        }
    }

    /// The interface with the default route must be covered, or the perimeter is a pretence.
    pub(super) fn check_covered(&mut self) -> Result<(), DaemonError> {
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
                    return Err(DaemonError::Uncovered {
                        interface: device.name,
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(())
    }
}
