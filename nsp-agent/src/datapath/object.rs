//! The embedded object: sizes, globals, load.

use std::{collections::HashMap, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::MapError,
    programs::{Program, ProgramError},
};
use nix::sys::signal::{SigSet, SigmaskHow};
use nsp_common::{ageing::Pace, generation::SLOTS};

use super::{DatapathError, Engine, FlowRoom, addresses, adopt::Shape, pins::Set};
use crate::compile::{Sizes, limits::NAMES_MAX};

/// The kernel programs, as `cargo xtask build` made them; empty in a build without them.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nsp.bpf"));

/// What is frozen when the programs are loaded: room per slot, in entries, and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// What maps addresses to classes.
    pub engine: Engine,
    /// Pages of the range table, beyond which a page costs a call more.
    pub pages: usize,
    /// Address and name classes.
    pub classes: usize,
    /// Cells of the comb.
    pub cells: usize,
    /// Rule numbers.
    pub rows: usize,
    /// Rules.
    pub rules: usize,
    /// Names.
    pub names: usize,
    /// Selectors by address, interface and cgroup.
    pub selectors: usize,
    /// Conversations.
    pub flows: FlowRoom,
    /// Access records of one epoch.
    pub records: u32,
    /// Those of whole networks, and as many of "many sources".
    pub networks: u32,
}

/// A MiB for a table: the roots of both families and some thousand prefixes.
const PAGES_LEAST: usize = 256;

impl Capacities {
    /// Room for a policy and for what it will grow to: twice as much, and never too little for a
    /// small one to become a middling one.
    pub fn for_sizes(sizes: &Sizes) -> Self {
        let room = |needed: usize, least: usize| (needed * 2).next_power_of_two().max(least);
        Self {
            engine: Engine::default(),
            // A quarter more: what grows beyond it is not refused.
            pages: (sizes.pages + sizes.pages / 4).max(PAGES_LEAST),
            classes: room(sizes.classes, 4096),
            cells: room(sizes.cells, 8192),
            rows: room(sizes.rows, 8192),
            rules: room(sizes.rules, 2048),
            // Every name that was ever listed has a number, those of sessions too: four bytes each.
            names: NAMES_MAX,
            selectors: room(sizes.selectors, 2048),
            flows: FlowRoom::default(),
            records: 1 << 14,
            networks: 1 << 12,
        }
    }

    /// The first table that has no room for a policy of these sizes: its name, what the policy needs, what
    /// there is.
    pub(super) fn lacking(&self, sizes: &Sizes) -> Option<(&'static str, usize, usize)> {
        let tables = [
            ("classes", sizes.classes, self.classes),
            ("cells", sizes.cells, self.cells),
            ("rows", sizes.rows, self.rows),
            ("rules", sizes.rules, self.rules),
            ("names", sizes.names, self.names),
            ("selectors", sizes.selectors, self.selectors),
        ];
        tables.into_iter().find(|(_, needed, room)| needed > room)
    }

    /// Room for pages in a slot. The reference engine has none, which the kernel does not take for an answer.
    pub(super) fn page_room(&self) -> usize {
        if self.engine == Engine::RangeTable { self.pages } else { 1 }
    }
}

/// Maps that outlive the agent: all that a conversation, a name or a record is remembered in.
pub(super) const PINNED: [&str; 58] = [
    "ADDRESSES_V4",
    "ADDRESSES_V6",
    "AGED",
    "ASKED_V4",
    "ASKED_V6",
    "ASKERS",
    "ASKER_PLACES",
    "ASSOCIATIONS",
    "CELLS",
    "CLASSES",
    "CLOCK",
    "COARSE_EVEN",
    "COARSE_ODD",
    "CONTROL",
    "COUNTERS",
    "ENDPOINTS",
    "FLOWS_V4",
    "FLOWS_V6",
    "FLOW_FILTER",
    "FRAGMENTS",
    "FREE_V4",
    "FREE_V6",
    "FULL",
    "GENERATIONS",
    "KNOCKED_V4",
    "KNOCKED_V6",
    "LEARNED_V4",
    "LEARNED_V6",
    "LINKS",
    "MANY_EVEN",
    "MANY_ODD",
    "MORE_PAGES",
    "NAMES",
    "NAME_CLASSES",
    "NAMINGS",
    "NEAR",
    "OVERLAY_NAMES",
    "OVERLAY_V4",
    "OVERLAY_V6",
    "PAGES",
    "PEERS",
    "PLACES_V4",
    "PLACES_V6",
    "PORTS",
    "QUESTIONS",
    "RECORDS_EVEN",
    "RECORDS_ODD",
    "REFUSED_NAMES",
    "RESOLVING",
    "RINGS",
    "RING_PLACES",
    "ROUTES_V4",
    "ROUTES_V6",
    "ROWS",
    "RULES",
    "SELECTORS",
    "SOCKETS",
    "STREAMS",
];

/// Maps that each set of programs has of its own: where they work, and what they tell the agent of at once.
#[cfg(test)]
const OWN: [&str; 7] =
    ["CALLERS", "EVENTS", "ICMP_BUDGETS", "READINGS", "SCRATCH", "WANTED", "WANTED_AT"];

/// Entries of the maps whose size is chosen when they are made.
fn entries(capacities: &Capacities) -> [(&'static str, u32); 24] {
    let Capacities {
        engine: _,
        pages: _,
        classes,
        cells,
        rows,
        rules,
        names,
        selectors,
        flows,
        records,
        networks,
    } = *capacities;
    let FlowRoom { v4, v6 } = flows;
    let unproven = flows.unproven();
    let slots = |entries: usize| SLOTS * entries as u32;
    [
        ("PAGES", (addresses::PARTS * capacities.page_room()) as u32),
        ("CLASSES", slots(classes)),
        ("CELLS", slots(cells)),
        ("ROWS", slots(rows)),
        ("RULES", slots(rules)),
        ("NAME_CLASSES", slots(names)),
        ("SELECTORS", slots(selectors)),
        ("FLOWS_V4", v4),
        ("PLACES_V4", v4),
        ("FREE_V4", v4),
        ("FLOWS_V6", v6),
        ("PLACES_V6", v6),
        ("FREE_V6", v6),
        ("ASKED_V4", unproven),
        ("ASKED_V6", unproven),
        ("KNOCKED_V4", unproven),
        ("KNOCKED_V6", unproven),
        ("PEERS", unproven),
        ("RECORDS_EVEN", records),
        ("RECORDS_ODD", records),
        ("COARSE_EVEN", networks),
        ("COARSE_ODD", networks),
        ("MANY_EVEN", networks),
        ("MANY_ODD", networks),
    ]
}

/// What the maps that outlive the agent would be made with.
pub(super) fn shapes(
    object: &[u8],
    capacities: &Capacities,
) -> Result<Vec<(&'static str, Shape)>, DatapathError> {
    let object =
        aya_obj::Object::parse(object).map_err(|error| DatapathError::Load(error.into()))?;
    let chosen: HashMap<&str, u32> = entries(capacities).into_iter().collect();
    let shape = |name: &'static str| {
        let map = object.maps.get(name)?;
        let entries = chosen.get(name).copied().unwrap_or(map.max_entries());
        let (key, value) = (map.key_size(), map.value_size());
        let (kind, flags) = (map.map_type(), map.map_flags());
        Some((name, Shape { kind, key, value, entries, flags }))
    };
    Ok(PINNED.into_iter().filter_map(shape).collect())
}

/// Loads the object and every program, over the maps of a set where there is one: those that are pinned in
/// it are used as they are, the others are made and pinned.
pub(super) fn load(
    object: &[u8],
    capacities: &Capacities,
    set: Option<&Set>,
) -> Result<Ebpf, DatapathError> {
    if object.is_empty() {
        return Err(DatapathError::NoObject);
    }
    let Capacities { engine, classes, cells, rows, rules, names, flows, .. } = *capacities;
    let Capacities { records, networks, .. } = *capacities;
    let page_capacity = capacities.page_room() as u32;
    let by_trie = u32::from(engine == Engine::LpmTrie);
    let globals = [classes as u32, cells as u32, rows as u32, rules as u32, names as u32];
    let FlowRoom { v4, v6 } = flows;
    let peer_flows = flows.of_one_peer();
    let pace = Pace::of(v4, v6);
    let strangers = [records, networks].map(|room| room / 4 * 3);
    let netns_cookie = super::calls::netns_cookie();
    let agent_pid = std::process::id();
    let mut loader = EbpfLoader::new();
    loader
        .override_global("NETNS_COOKIE", &netns_cookie, true)
        .override_global("BY_TRIE", &by_trie, true)
        .override_global("AGENT_PID", &agent_pid, true)
        .override_global("PEER_FLOWS_MAX_V4", &peer_flows[0], true)
        .override_global("PEER_FLOWS_MAX_V6", &peer_flows[1], true)
        .override_global("PLACES_COUNT_V4", &v4, true)
        .override_global("PLACES_COUNT_V6", &v6, true)
        .override_global("PLACES_A_TICK_V4", &pace.v4, true)
        .override_global("PLACES_A_TICK_V6", &pace.v6, true)
        .override_global("TICK_MS", &pace.tick_ms, true)
        .override_global("PAGE_CAPACITY", &page_capacity, true)
        .override_global("STRANGERS_MAX", &strangers[0], true)
        .override_global("STRANGER_NETWORKS_MAX", &strangers[1], true)
        .override_global("CLASS_CAPACITY", &globals[0], true)
        .override_global("CELL_CAPACITY", &globals[1], true)
        .override_global("ROW_CAPACITY", &globals[2], true)
        .override_global("RULE_CAPACITY", &globals[3], true)
        .override_global("NAME_CAPACITY", &globals[4], true);
    for (name, entries) in entries(capacities) {
        loader.map_max_entries(name, entries);
    }
    if let Some(set) = set {
        for name in PINNED {
            loader.map_pin_path(name, set.map(name));
        }
    }
    let mut ebpf = loader.load(object).map_err(refused)?;
    for (name, program) in ebpf.programs_mut() {
        verified(program)
            .map_err(|source| DatapathError::Program { program: name.to_owned(), source })?;
    }
    Ok(ebpf)
}

/// Has the kernel verify and take a program.
///
/// Its verifier gives up (EAGAIN) when a signal comes for the thread that waits for it, be it the end of a
/// child, and this takes long enough for one to come (kernel/bpf/verifier.c, do_check). So signals wait
/// until it is done; whatever else interrupts it is answered as libbpf does, by five tries.
fn verified(program: &mut Program) -> Result<(), ProgramError> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let mut left = 5;
    let loaded = loop {
        let loaded = match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::CgroupSkb(program) => program.load(),
            _ => Ok(()),
        };
        left -= 1;
        match loaded {
            Err(ProgramError::LoadError { io_error, .. })
                if left > 0 && io_error.kind() == io::ErrorKind::WouldBlock => {}
            loaded => break loaded,
        }
    };
    if let Ok(before) = before {
        // What was read a moment ago can be written.
        let _unblocked = before.thread_set_mask();
    }
    loaded
}

fn refused(error: EbpfError) -> DatapathError {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error })
            if io_error.kind() == io::ErrorKind::OutOfMemory =>
        {
            DatapathError::NoMemory { map: name, source: io_error }
        }
        other => DatapathError::Load(other),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_map_of_the_programs_is_pinned_or_their_own() {
        if OBJECT.is_empty() {
            return;
        }
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        let maps = object.maps.keys().map(String::as_str).filter(|it| !it.starts_with('.'));
        let known = PINNED.into_iter().chain(OWN);
        assert_eq!(maps.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
    }
}
