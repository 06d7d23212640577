//! The loaded programs, and what they changed.

use std::collections::BTreeMap;

use nsp_agent::{
    compile::{
        identities::Identities,
        overlay::{Entry, OverlayTables},
    },
    datapath::{Capacities, Counters, Datapath, Drained, Engine, Events, FlowRoom},
};
use nsp_common::{
    event::{Event, Loss},
    link::Link,
    verdict::{Category, Direction, Lesson, Reason, Verdict},
};

use super::{
    policy::{Generation, compiled},
    pool::Loan,
};

/// The device that packets seem to come by: loopback, which is number one in every namespace.
pub const DEVICE: u32 = 1;

/// Which of the host's networks [`DEVICE`] leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everything that has no better route.
    Public = 0,
    /// 10.0.0.0/8 and fd00::/8.
    Private = 1,
}

/// What a packet changed: packets and bytes by counter, those that changed only.
pub type Delta = BTreeMap<String, (u64, u64)>;

/// One loaded set of programs and maps.
pub struct Lab {
    /// The programs and maps.
    pub datapath: Datapath,
    events: Events,
    last: Delta,
    /// The identities of the policy in force.
    pub identities: Identities,
    /// The policy in force.
    pub generation: Option<Generation>,
    text: String,
    next_port: u16,
}

impl Lab {
    /// A set of its own, for a test that counts on empty tables.
    ///
    /// # Panics
    /// Without privileges, or when the kernel refuses a program.
    pub fn load() -> Self {
        Self::by(Engine::default())
    }

    /// The same, with the engine that maps addresses to classes.
    ///
    /// # Panics
    /// As [`Lab::load`].
    pub fn by(engine: Engine) -> Self {
        let least = Capacities::for_sizes(&Default::default());
        Self::with(Capacities { engine, flows: FlowRoom::of(1 << 14), ..least })
    }

    /// A set of its own with this much room.
    ///
    /// # Panics
    /// Without privileges, or when the kernel refuses a program.
    pub fn with(capacities: Capacities) -> Self {
        crate::privilege::require();
        let mut datapath = Datapath::load(capacities)
            .unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
        let events = datapath.take_events().expect("nobody took the events before");
        let mut lab = Self {
            datapath,
            events,
            last: Delta::new(),
            identities: Identities::default(),
            generation: None,
            text: String::new(),
            next_port: 20_000,
        };
        lab.by_network(Network::Public);
        let routes = [("0.0.0.0/0", 0), ("::/0", 0), ("10.0.0.0/8", 1), ("fd00::/8", 1)];
        let routes =
            routes.map(|(prefix, group)| (prefix.parse().expect("a constant"), 1 << group));
        lab.datapath.set_routes(&routes).expect("routes fit");
        lab.last = lab.counters();
        lab
    }

    /// A set that the tests of a process share, for as long as the loan lives.
    pub fn shared() -> Loan {
        Loan::take()
    }

    /// As it was when it was loaded, but for conversations and the policy.
    pub(super) fn tidy(&mut self) {
        self.by_network(Network::Public);
        self.datapath.set_endpoints(&[]).expect("nothing to write");
        self.forget_names();
        self.overlay(&[]);
        self.clear();
    }

    /// Puts a policy in force, with identities of its own; does nothing when it already is.
    pub fn put_in_force(&mut self, text: &str) {
        if self.text != text {
            // Should the policy be refused, the next one starts from nothing too.
            self.text.clear();
            self.identities = Identities::default();
            self.apply(text);
        }
    }

    /// Makes these the entries of the live overlay.
    ///
    /// # Panics
    /// When there are too many, or the kernel refuses them.
    pub fn overlay(&mut self, entries: &[Entry]) {
        let tables = OverlayTables::of(entries, self.identities.names()).expect("they fit");
        self.datapath.set_overlay(&tables).expect("the kernel takes them");
    }

    /// Forgets every learned address.
    pub fn forget_names(&self) {
        for (address, learned) in self.datapath.learned().expect("addresses can be read") {
            for entry in learned.names.iter().filter(|entry| entry.name != 0) {
                self.datapath.forget(address, entry.name).expect("it runs");
            }
        }
        self.datapath.sweep_learned(0).expect("addresses can be read");
    }

    /// Puts another version of the policy in force: what keeps its name keeps its identity.
    pub fn apply(&mut self, text: &str) {
        let generation = compiled(text, &mut self.identities);
        self.datapath
            .publish(&generation.compiled, &[], &BTreeMap::new())
            .unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
        self.generation = Some(generation);
        text.clone_into(&mut self.text);
    }

    /// Makes [`DEVICE`] lead to a network.
    pub fn by_network(&mut self, network: Network) {
        let link = Link { group: network as u8, _pad: 0, scope: 0 };
        self.datapath.set_links(&[(DEVICE, link)]).expect("the device fits");
    }

    /// A port (or identifier) that no packet had before.
    pub fn fresh(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// The change of all counters since this was asked last.
    pub fn delta(&mut self) -> Delta {
        let now = self.counters();
        let mut delta = Delta::new();
        for (name, (packets, bytes)) in &now {
            let (packets_before, bytes_before) = self.last.get(name).copied().unwrap_or((0, 0));
            if (*packets, *bytes) != (packets_before, bytes_before) {
                delta.insert(name.clone(), (packets - packets_before, bytes - bytes_before));
            }
        }
        self.last = now;
        delta
    }

    /// What became of DNS answers and their addresses since the programs were loaded.
    pub fn lessons(&self) -> BTreeMap<Lesson, u64> {
        let counters = self.datapath.counters().expect("counters can be read");
        let counted = Lesson::ALL.iter().map(|lesson| (*lesson, counters.lesson(*lesson)));
        counted.filter(|(_, count)| *count != 0).collect()
    }

    /// The records and events since this was asked last.
    pub fn records(&mut self) -> (Drained, Vec<Event>) {
        let records = self.datapath.drain_records().expect("records can be read");
        (records, std::iter::from_fn(|| self.events.take_one()).collect())
    }

    /// Forgets what was counted and recorded so far.
    pub fn clear(&mut self) {
        let _records = self.records();
        let _delta = self.delta();
    }

    fn counters(&self) -> Delta {
        let counters = self.datapath.counters().expect("counters can be read");
        named(&counters)
    }
}

/// Every counter that is not zero, by what it counts.
fn named(counters: &Counters) -> Delta {
    let reasons = counters.reasons().into_iter().map(|(reason, direction, verdict, counter)| {
        (reason_name(reason, direction, verdict), (counter.packets, counter.bytes))
    });
    let categories = Category::ALL.iter().map(|category| {
        let counter = counters.category(*category);
        (category_name(*category), (counter.packets, counter.bytes))
    });
    let losses = [Loss::Record, Loss::Event, Loss::Flow, Loss::Fragment].map(|loss| {
        let counter = counters.loss(loss);
        (format!("lost {loss:?}"), (counter.packets, counter.bytes))
    });
    let all = reasons.chain(categories).chain(losses);
    all.filter(|(_, counted)| *counted != (0, 0)).collect()
}

pub(super) fn reason_name(reason: Reason, direction: Direction, verdict: Verdict) -> String {
    format!("{direction:?} {verdict:?} {reason:?}")
}

pub(super) fn category_name(category: Category) -> String {
    format!("{category:?}")
}
