//! The compiled policy as the decision's tables, in ordinary collections.
//!
//! What `explain` holds against the kernel's answer, and `plan` judges live conversations by. It
//! reads the same compiled generation that was published, by other means.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use nsp_common::{
    address::{Address, Family},
    class::{CLASS_NONE, Class, PortEntry, RuleNumber, port_index},
    decide::{IcmpBudget, Tables},
    flow::{Flow, FlowKey},
    generation::{Association, Generation},
    learned::Learned,
    overlay::Overlay,
    packet::Packet,
    selector::Selector,
};

use super::{Compiled, longest::Longest, overlay::OverlayTables};

/// What the host adds to a compiled policy.
#[derive(Clone, Debug, Default)]
pub struct HostView {
    /// Selectors with slot zero.
    pub selectors: HashMap<Selector, u16>,
    /// Listening ports of units.
    pub listeners: BTreeMap<(u8, u16), u16>,
    /// Link groups by prefix.
    pub routes: Vec<(IpNet, u64)>,
    /// Group of each device.
    pub groups: BTreeMap<u32, u8>,
    /// Names of learned addresses.
    pub learned: HashMap<Address, Learned>,
    /// What is allowed or blocked for a time.
    pub overlay: OverlayTables,
    /// Duties of addresses.
    pub endpoints: HashMap<Address, u32>,
    /// The sender's association, for a packet that goes out.
    pub sender: u16,
    /// The sender is a recursive resolver.
    pub is_recursive: bool,
    /// The tracked conversation that is asked about.
    pub flow: Option<(FlowKey, Flow)>,
    /// Coarse monotonic clock, ns.
    pub now_ns: u64,
}

/// A compiled policy on a host.
pub struct Oracle<'a> {
    compiled: &'a Compiled,
    host: HostView,
    number: u32,
    classes: Longest<'a, u32>,
    routes: Longest<'a, u64>,
    overlay: Longest<'a, Overlay>,
}

impl<'a> Oracle<'a> {
    /// The policy as generation `number`.
    pub fn new(compiled: &'a Compiled, number: u32, host: HostView) -> Self {
        Self {
            compiled,
            number,
            classes: Longest::of_sorted(&compiled.prefixes),
            routes: Longest::of(host.routes.iter().copied()),
            overlay: Longest::of(host.overlay.prefixes.iter().map(|(at, it)| (*at, *it))),
            host,
        }
    }
}

impl Oracle<'_> {
    /// Learns the names of an address.
    pub fn learn(&mut self, address: Address, learned: Learned) {
        self.host.learned.insert(address, learned);
    }

    /// Tells of the tracked conversation that is asked about next, in place of the one before.
    pub fn track(&mut self, key: FlowKey, flow: Flow) {
        self.host.flow = Some((key, flow));
    }

    /// The host's part, for another policy.
    pub fn into_host(self) -> HostView {
        self.host
    }
}

impl Tables for Oracle<'_> {
    fn now_ns(&self) -> u64 {
        self.host.now_ns
    }

    fn generation(&self) -> Generation {
        Generation { number: self.number, ..self.compiled.header }
    }

    fn slot(&self) -> u32 {
        0
    }

    fn flow(&mut self, key: &FlowKey) -> Option<Flow> {
        self.host.flow.filter(|(tracked, _)| tracked == key).map(|(_, flow)| flow)
    }

    fn rejudged(&mut self, _flow: &Flow) {}

    fn touch(&mut self, _packet: &Packet, _flow: &Flow) {}

    fn forget(&mut self, _key: &FlowKey) {}

    fn fragment_head(&self, _packet: &Packet) -> Option<Flow> {
        None
    }

    fn class_of(&self, address: &Address, family: Family) -> u32 {
        self.classes.find(address.to_ip(family)).copied().unwrap_or(CLASS_NONE)
    }

    fn class(&self, number: u32) -> Class {
        self.compiled.classes.get(number as usize).copied().unwrap_or_default()
    }

    fn routed_back(&self, remote: &Address, family: Family, ifindex: u32) -> bool {
        let groups = self.routes.find(remote.to_ip(family)).copied().unwrap_or(0);
        self.host.groups.get(&ifindex).is_some_and(|group| groups >> group & 1 == 1)
    }

    fn port(&self, protocol: u8, port: u16) -> PortEntry {
        let entry = self.compiled.ports[port_index(protocol, port)];
        match self.host.listeners.get(&(protocol, port)) {
            Some(association) => PortEntry { association: *association, ..entry },
            None => entry,
        }
    }

    fn select(&self, selector: &Selector) -> u16 {
        self.host.selectors.get(selector).copied().unwrap_or(0)
    }

    fn cgroup_association(&self) -> u16 {
        self.host.sender
    }

    fn is_recursive(&self) -> bool {
        self.host.is_recursive
    }

    fn association(&self, number: u16) -> Association {
        self.compiled.associations.get(usize::from(number)).copied().unwrap_or_default()
    }

    fn rule(&self, lane: u32, class: u32, port_class: u16) -> RuleNumber {
        let first = self.class(class).cells;
        let cell = self.compiled.cells.get((first + lane) as usize).copied().unwrap_or_default();
        if cell.owner != class + 1 {
            return 0;
        }
        let at = cell.row * self.compiled.header.row_length + u32::from(port_class);
        self.compiled.rows.get(at as usize).copied().unwrap_or(0)
    }

    fn rule_identity(&self, number: RuleNumber) -> u32 {
        self.compiled.rules.get(number as usize).copied().unwrap_or(0)
    }

    fn learned(&self, address: &Address, _family: Family) -> Option<&Learned> {
        self.host.learned.get(address)
    }

    fn name_class(&self, name: u32) -> u32 {
        self.compiled.names.get(name as usize).copied().unwrap_or(0)
    }

    fn overlay(&self) -> u32 {
        self.host.overlay.presence
    }

    fn temporary(&self, address: &Address, family: Family) -> Option<&Overlay> {
        self.overlay.find(address.to_ip(family))
    }

    fn temporary_of_name(&self, name: u32) -> Option<&Overlay> {
        self.host.overlay.names.get(&name)
    }

    fn endpoint(&self, address: &Address) -> u32 {
        self.host.endpoints.get(address).copied().unwrap_or(0)
    }

    fn icmp_budget(&mut self, _budget: IcmpBudget) -> bool {
        true
    }
}
