//! Conversations: read from their tables, and changed by the program that may (`nsp_order`).

use std::{collections::HashMap as ByKey, io, thread, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData, MapError},
    programs::TestRunOptions,
};
use nsp_common::{
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
    order::{Action, Order, outcome},
};

use super::{Datapath, DatapathError, take};

/// Steps of one walk over a table. An entry that goes while a table is walked restarts the walk
/// (kernel map_hash.rst), so their number needs a bound of its own.
const WALK_STEPS_MAX: usize = 1 << 19;

/// Tries to start the clock: its allocation can fail for a moment although there is memory.
const BEGIN_TRIES: u32 = 1000;

const PROGRAM: &str = "nsp_order";

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry {
    /// Its key.
    pub key: FlowKey,
    /// Its entry.
    pub flow: Flow,
    /// Whether both ends are proven.
    pub is_proven: bool,
}

/// The tables of conversations.
pub(super) struct FlowTables {
    unproven_v4: [HashMap<MapData, FlowKeyV4, Flow>; 2],
    unproven_v6: [HashMap<MapData, FlowKey, Flow>; 2],
    proven_v4: HashMap<MapData, FlowKeyV4, Proven>,
    proven_v6: HashMap<MapData, FlowKey, Proven>,
}

impl FlowTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            unproven_v4: [take(ebpf, "ASKED_V4")?, take(ebpf, "KNOCKED_V4")?],
            unproven_v6: [take(ebpf, "ASKED_V6")?, take(ebpf, "KNOCKED_V6")?],
            proven_v4: take(ebpf, "FLOWS_V4")?,
            proven_v6: take(ebpf, "FLOWS_V6")?,
        })
    }

    /// What is in the tables, oldest knowledge first: a conversation that was proven meanwhile is in
    /// two of them.
    fn walk(&self) -> Result<Vec<FlowEntry>, MapError> {
        let mut found = Vec::new();
        for map in &self.unproven_v4 {
            walk(map, |key, flow| {
                found.push(FlowEntry { key: key.long(), flow, is_proven: false });
            })?;
        }
        for map in &self.unproven_v6 {
            walk(map, |key, flow| found.push(FlowEntry { key, flow, is_proven: false }))?;
        }
        walk(&self.proven_v4, |key, Proven { flow, .. }| {
            found.push(FlowEntry { key: key.long(), flow, is_proven: true });
        })?;
        walk(&self.proven_v6, |key, Proven { flow, .. }| {
            found.push(FlowEntry { key, flow, is_proven: true });
        })?;
        Ok(found)
    }
}

impl FlowTables {
    /// In the order of the programs: proven, opened by this host, opened by others.
    fn get(&self, key: &FlowKey) -> Result<Option<Flow>, MapError> {
        let proven = if key.is_v4() {
            found(self.proven_v4.get(&key.v4(), 0))?
        } else {
            found(self.proven_v6.get(key, 0))?
        };
        if let Some(Proven { flow, .. }) = proven {
            return Ok(Some(flow));
        }
        for index in 0..2 {
            let flow = if key.is_v4() {
                found(self.unproven_v4[index].get(&key.v4(), 0))?
            } else {
                found(self.unproven_v6[index].get(key, 0))?
            };
            if flow.is_some() {
                return Ok(flow);
            }
        }
        Ok(None)
    }
}

fn found<V>(result: Result<V, MapError>) -> Result<Option<V>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn walk<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    mut visit: impl FnMut(K, V),
) -> Result<(), MapError> {
    for entry in map.iter().take(WALK_STEPS_MAX) {
        let (key, value) = entry?;
        visit(key, value);
    }
    Ok(())
}

impl Datapath {
    /// Every tracked conversation, as far as a bounded walk sees them: a flood turns the tables of
    /// unproven ones over faster than they can be read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flows(&self) -> Result<Vec<FlowEntry>, DatapathError> {
        let found = self.flows.walk().map_err(|source| DatapathError::Map {
            operation: "read",
            map: "FLOWS",
            source,
        })?;
        let mut by_key: ByKey<FlowKey, FlowEntry> = ByKey::with_capacity(found.len());
        for entry in found {
            by_key.insert(entry.key, entry);
        }
        Ok(by_key.into_values().collect())
    }

    /// The conversation with this key, as the programs would find it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flow_of(&self, key: &FlowKey) -> Result<Option<Flow>, DatapathError> {
        self.flows.get(key).map_err(|source| DatapathError::Map {
            operation: "read",
            map: "FLOWS",
            source,
        })
    }

    /// Puts a conversation among the proven, in place of what is there.
    ///
    /// # Errors
    /// When its table, or its peer's part of it, is full.
    pub fn keep_flow(&self, key: &FlowKey, flow: &Flow) -> Result<(), DatapathError> {
        match self.order(Action::Keep, key, flow)? {
            outcome::DONE => Ok(()),
            error => Err(DatapathError::Keep(io::Error::from_raw_os_error(-error))),
        }
    }

    /// Ends a conversation; false when there is none.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn cut_flow(&self, key: &FlowKey, flow: &Flow) -> Result<bool, DatapathError> {
        Ok(self.order(Action::Cut, key, flow)? == outcome::DONE)
    }

    /// Frees the places of conversations and starts the clock that ages them.
    ///
    /// # Errors
    /// When the kernel has no memory for the clock, for longer than a moment.
    pub(super) fn begin_ageing(&self) -> Result<(), DatapathError> {
        let mut left = BEGIN_TRIES;
        loop {
            match self.order(Action::Begin, &FlowKey::EMPTY, &Flow::EMPTY)? {
                outcome::DONE => return Ok(()),
                error if error == -libc::ENOMEM && left > 0 => {
                    left -= 1;
                    thread::sleep(Duration::from_millis(1));
                }
                error => return Err(DatapathError::Ageing(io::Error::from_raw_os_error(-error))),
            }
        }
    }

    fn order(&self, action: Action, key: &FlowKey, flow: &Flow) -> Result<i32, DatapathError> {
        let order = Order { key: *key, flow: *flow, action: action as u32, _pad: 0 };
        let data_in = order.to_bytes();
        let options = TestRunOptions { data_in: Some(&data_in), ..TestRunOptions::new() };
        Ok(self.call(PROGRAM, options)? as i32)
    }
}
