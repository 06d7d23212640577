//! The decision's tables in ordinary containers, and what the programs do to them: what the maps
//! and the kernel programs are held against.
//!
//! Plain on purpose. Every look-up is the shortest code that is right; nothing is fast.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use nsp_agent::compile::{Compiled, overlay::OverlayTables};
use nsp_common::{
    address::{Address, Family},
    class::{Class, PortEntry, RuleNumber, port_index},
    decide::{FlowAction, IcmpBudget, Tables, decide},
    decision::Decision,
    flow::{CUT, Flow},
    flow_key::FlowKey,
    generation::{Association, Generation},
    learned::Learned,
    overlay::Overlay,
    packet::{Packet, flags},
    selector::Selector,
    verdict::{TrafficClass, Verdict},
};
use rustix::time::{ClockId, clock_gettime};

/// What a later fragment is known by.
type Datagram = (Address, Address, u32, u8, u16);

/// ICMP errors of one kind that pass in a second, on the one processor that the model has.
const ICMP_ERRORS_PER_S: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// What is left of a second's ICMP errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When the second began.
    pub filled_ns: u64,
    /// How many more pass in it.
    pub tokens: u64,
}

/// A host with a policy in force.
pub struct Model<'a> {
    /// The policy.
    pub compiled: &'a Compiled,
    /// Number of its generation.
    pub number: u32,
    /// Link groups by prefix.
    pub routes: Vec<(IpNet, u64)>,
    /// Link group of each device.
    pub groups: BTreeMap<u32, u8>,
    /// Duties of addresses.
    pub endpoints: HashMap<Address, u32>,
    /// Names of addresses.
    pub learned: HashMap<Address, Learned>,
    /// What is allowed or blocked for a time.
    pub overlay: OverlayTables,
    /// Selectors, their slot left zero.
    pub selectors: HashMap<Selector, u16>,
    /// The sender's cgroups by level; the first place is unused.
    pub cgroups: [u64; 8],
    /// Whether the sender is a recursive resolver.
    pub is_recursive: bool,
    /// Tracked conversations.
    pub flows: HashMap<FlowKey, Flow>,
    /// The instant, or the clock's.
    pub now_ns: Option<u64>,
    /// ICMP errors that may still pass in a second, by what they are about.
    pub budgets: [Bucket; 2],
    heads: HashMap<Datagram, Flow>,
    found: Option<FlowKey>,
    dry: bool,
    spends: bool,
}

impl<'a> Model<'a> {
    /// A host that nobody talked to yet.
    pub fn new(compiled: &'a Compiled, number: u32) -> Self {
        Self {
            compiled,
            number,
            routes: Vec::new(),
            groups: BTreeMap::new(),
            endpoints: HashMap::new(),
            learned: HashMap::new(),
            overlay: OverlayTables::default(),
            selectors: HashMap::new(),
            cgroups: [0; 8],
            is_recursive: false,
            flows: HashMap::new(),
            now_ns: None,
            budgets: [Bucket::default(); 2],
            heads: HashMap::new(),
            found: None,
            dry: false,
            spends: false,
        }
    }

    /// Judges a packet and changes nothing.
    pub fn explain(&mut self, packet: &Packet) -> Decision {
        self.dry = true;
        let decision = decide(packet, self);
        self.dry = false;
        decision
    }

    /// Judges a packet and does what the programs do to conversations.
    pub fn judge(&mut self, packet: &Packet) -> Decision {
        self.found = None;
        let decision = decide(packet, self);
        if decision.verdict == Verdict::Pass {
            let now_ns = self.now_ns();
            self.track(packet, &decision, now_ns);
        }
        decision
    }

    /// What [`Self::judge`] would answer, budgets of ICMP errors included; changes nothing.
    pub fn foretell(&mut self, packet: &Packet) -> Decision {
        let budgets = self.budgets;
        (self.dry, self.spends) = (true, true);
        let decision = decide(packet, self);
        (self.dry, self.spends) = (false, false);
        self.budgets = budgets;
        decision
    }

    /// Ends a conversation as an operator does, if there is one.
    pub fn cut(&mut self, key: &FlowKey) {
        if let Some(flow) = self.flows.get_mut(key) {
            flow.opener |= CUT;
        }
    }

    /// Forgets the conversations that are over: the programs' clock takes such out at any time.
    pub fn age(&mut self) {
        let now_ns = self.now_ns();
        self.flows.retain(|key, flow| !flow.is_expired(key.protocol, now_ns));
    }

    fn track(&mut self, packet: &Packet, decision: &Decision, now_ns: u64) {
        let flow = Flow::open(packet, decision, self.number, now_ns);
        let trusted = [TrafficClass::Private, TrafficClass::Intra, TrafficClass::Cross];
        if packet.has(flags::FIRST_FRAGMENT) && !trusted.contains(&decision.class) {
            self.heads.insert(datagram(packet), flow);
        }
        if decision.flow == FlowAction::Open {
            self.flows.insert(packet.key, flow);
        }
    }
}

/// The clock that the programs read.
pub fn coarse_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

fn datagram(packet: &Packet) -> Datagram {
    let protocol = if packet.key.is_v4() { packet.key.protocol } else { 0 };
    (packet.key.remote, packet.key.local, packet.fragment_id, protocol, packet.key.scope)
}

fn longest<T: Copy>(prefixes: &[(IpNet, T)], address: &Address, family: Family) -> Option<T> {
    longest_of(prefixes.iter().map(|(prefix, value)| (prefix, value)), address, family).copied()
}

fn longest_of<'a, T>(
    prefixes: impl Iterator<Item = (&'a IpNet, &'a T)>,
    address: &Address,
    family: Family,
) -> Option<&'a T> {
    let address = address.to_ip(family);
    let covering = prefixes.filter(|(prefix, _)| prefix.contains(&address));
    covering.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, value)| value)
}

impl Tables for Model<'_> {
    fn now_ns(&self) -> u64 {
        self.now_ns.unwrap_or_else(coarse_ns)
    }

    fn generation(&self) -> Generation {
        Generation { number: self.number, ..self.compiled.header }
    }

    fn slot(&self) -> u32 {
        0
    }

    fn flow(&mut self, key: &FlowKey) -> Option<Flow> {
        self.found = Some(*key);
        self.flows.get(key).copied()
    }

    fn rejudged(&mut self, judged: &Flow) {
        if self.dry {
            return;
        }
        if let Some(flow) = self.found.and_then(|key| self.flows.get_mut(&key)) {
            let Flow { standing, rule, reason, association, generation, .. } = *judged;
            *flow = Flow { standing, rule, reason, association, generation, ..*flow };
        }
    }

    fn touch(&mut self, packet: &Packet, _: &Flow) {
        if self.dry {
            return;
        }
        let now_ns = self.now_ns();
        let found = self.found.and_then(|key| self.flows.get_mut(&key));
        let flow = found.expect("what is touched was found");
        flow.progress = flow.progress_after(packet);
        flow.seen_ns = now_ns;
        flow.packets += 1;
        flow.bytes += u64::from(packet.length);
    }

    fn forget(&mut self, key: &FlowKey) {
        if !self.dry {
            self.flows.remove(key);
        }
    }

    fn fragment_head(&self, packet: &Packet) -> Option<Flow> {
        self.heads.get(&datagram(packet)).copied().filter(|head| head.generation == self.number)
    }

    fn class_of(&self, address: &Address, family: Family) -> u32 {
        longest(&self.compiled.prefixes, address, family).unwrap_or(0)
    }

    fn class(&self, number: u32) -> Class {
        self.compiled.classes[number as usize]
    }

    fn routed_back(&self, remote: &Address, family: Family, ifindex: u32) -> bool {
        let (Some(group), Some(groups)) =
            (self.groups.get(&ifindex), longest(&self.routes, remote, family))
        else {
            return false;
        };
        groups & 1 << group != 0
    }

    fn port(&self, protocol: u8, port: u16) -> PortEntry {
        self.compiled.ports[port_index(protocol, port)]
    }

    fn select(&self, selector: &Selector) -> u16 {
        self.selectors.get(selector).copied().unwrap_or(0)
    }

    fn cgroup_association(&self) -> u16 {
        let ancestors = self.cgroups[1..].iter().take_while(|id| **id != 0);
        let selected = ancestors.map(|id| self.select(&Selector::cgroup(0, *id)));
        selected.filter(|association| *association != 0).last().unwrap_or(0)
    }

    fn is_recursive(&self) -> bool {
        self.is_recursive
    }

    fn association(&self, number: u16) -> Association {
        self.compiled.associations.get(usize::from(number)).copied().unwrap_or_default()
    }

    fn rule(&self, lane: u32, class: u32, port_class: u16) -> RuleNumber {
        let first = self.compiled.classes[class as usize].cells;
        match self.compiled.cells.get((first + lane) as usize) {
            Some(cell) if cell.owner == class + 1 => {
                let row = cell.row * self.compiled.header.row_length;
                self.compiled.rows[row as usize + usize::from(port_class)]
            }
            _ => 0,
        }
    }

    fn rule_identity(&self, number: RuleNumber) -> u32 {
        self.compiled.rules[number as usize]
    }

    fn learned(&self, address: &Address, _: Family) -> Option<&Learned> {
        self.learned.get(address)
    }

    fn name_class(&self, name: u32) -> u32 {
        self.compiled.names.get(name as usize).copied().unwrap_or(0)
    }

    fn overlay(&self) -> u32 {
        self.overlay.presence
    }

    fn temporary(&self, address: &Address, family: Family) -> Option<&Overlay> {
        longest_of(self.overlay.prefixes.iter(), address, family)
    }

    fn temporary_of_name(&self, name: u32) -> Option<&Overlay> {
        self.overlay.names.get(&name)
    }

    fn endpoint(&self, address: &Address) -> u32 {
        self.endpoints.get(address).copied().unwrap_or(0)
    }

    fn icmp_budget(&mut self, budget: IcmpBudget) -> bool {
        if self.dry && !self.spends {
            return true;
        }
        let now_ns = self.now_ns();
        let bucket = &mut self.budgets[budget as usize];
        if now_ns.saturating_sub(bucket.filled_ns) >= SECOND {
            *bucket = Bucket { filled_ns: now_ns, tokens: ICMP_ERRORS_PER_S };
        }
        let is_left = bucket.tokens > 0;
        bucket.tokens -= u64::from(is_left);
        is_left
    }
}
