//! The embedded object: sizes, globals, load.

use std::io;

use aya::{Ebpf, EbpfError, EbpfLoader, maps::MapError, programs::Program};
use nsp_common::{ageing::Pace, generation::SLOTS};

use super::{DatapathError, Engine, FlowRoom, addresses};
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

    /// Room for pages in a slot. The reference engine has none, which the kernel does not take for an answer.
    pub(super) fn page_room(&self) -> usize {
        if self.engine == Engine::RangeTable { self.pages } else { 1 }
    }
}

/// Loads the object and every program.
pub(super) fn load(object: &[u8], capacities: &Capacities) -> Result<Ebpf, DatapathError> {
    if object.is_empty() {
        return Err(DatapathError::NoObject);
    }
    let Capacities {
        engine,
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
    let pages = capacities.page_room();
    let page_capacity = pages as u32;
    let by_trie = u32::from(engine == Engine::LpmTrie);
    let slots = |entries: usize| SLOTS * entries as u32;
    let globals = [classes as u32, cells as u32, rows as u32, rules as u32, names as u32];
    let FlowRoom { v4, v6 } = flows;
    let (peer_flows, unproven) = (flows.of_one_peer(), flows.unproven());
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
        .override_global("NAME_CAPACITY", &globals[4], true)
        .map_max_entries("PAGES", (addresses::PARTS * pages) as u32)
        .map_max_entries("CLASSES", slots(classes))
        .map_max_entries("CELLS", slots(cells))
        .map_max_entries("ROWS", slots(rows))
        .map_max_entries("RULES", slots(rules))
        .map_max_entries("NAME_CLASSES", slots(names))
        .map_max_entries("SELECTORS", slots(selectors))
        .map_max_entries("FLOWS_V4", v4)
        .map_max_entries("PLACES_V4", v4)
        .map_max_entries("FREE_V4", v4)
        .map_max_entries("FLOWS_V6", v6)
        .map_max_entries("PLACES_V6", v6)
        .map_max_entries("FREE_V6", v6)
        .map_max_entries("ASKED_V4", unproven)
        .map_max_entries("ASKED_V6", unproven)
        .map_max_entries("KNOCKED_V4", unproven)
        .map_max_entries("KNOCKED_V6", unproven)
        .map_max_entries("PEERS", unproven)
        .map_max_entries("RECORDS_EVEN", records)
        .map_max_entries("RECORDS_ODD", records)
        .map_max_entries("COARSE_EVEN", networks)
        .map_max_entries("COARSE_ODD", networks)
        .map_max_entries("MANY_EVEN", networks)
        .map_max_entries("MANY_ODD", networks);
    let mut ebpf = loader.load(object).map_err(refused)?;
    for (name, program) in ebpf.programs_mut() {
        let loaded = match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::CgroupSkb(program) => program.load(),
            _ => Ok(()),
        };
        loaded.map_err(|source| DatapathError::Program { program: name.to_owned(), source })?;
    }
    Ok(ebpf)
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
