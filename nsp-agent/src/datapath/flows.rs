//! Conversations, read from their tables. (`orders.rs` changes them, by the program that may.)

use std::collections::HashMap as ByKey;

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use nsp_common::{
    address::Family,
    ageing::Aged,
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
    verdict::Direction,
};
use serde::{Deserialize, Serialize};

use super::{Datapath, DatapathError, batch, take, take_map};

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

/// A table of conversations. In the order in which they are read, oldest knowledge first: a conversation
/// that is proven meanwhile is seen twice rather than never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowTable {
    /// This host opened them and nobody has answered, IPv4.
    AskedV4,
    /// Others opened them and have not come back.
    KnockedV4,
    /// As [`Self::AskedV4`].
    AskedV6,
    /// As [`Self::KnockedV4`].
    KnockedV6,
    /// Both ends have spoken.
    ProvenV4,
    /// As [`Self::ProvenV4`].
    ProvenV6,
}

impl FlowTable {
    /// All, in order.
    pub const ALL: [Self; 6] = [
        Self::AskedV4,
        Self::KnockedV4,
        Self::AskedV6,
        Self::KnockedV6,
        Self::ProvenV4,
        Self::ProvenV6,
    ];

    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AskedV4 => "askedV4",
            Self::KnockedV4 => "knockedV4",
            Self::AskedV6 => "askedV6",
            Self::KnockedV6 => "knockedV6",
            Self::ProvenV4 => "provenV4",
            Self::ProvenV6 => "provenV6",
        }
    }
}

impl FlowEntry {
    /// The table that it is in.
    pub fn table(&self) -> FlowTable {
        match (self.is_proven, self.flow.opened_by(), self.key.ip_family()) {
            (true, _, Family::V4) => FlowTable::ProvenV4,
            (true, _, Family::V6) => FlowTable::ProvenV6,
            (false, Direction::Outbound, Family::V4) => FlowTable::AskedV4,
            (false, Direction::Outbound, Family::V6) => FlowTable::AskedV6,
            (false, Direction::Inbound, Family::V4) => FlowTable::KnockedV4,
            (false, Direction::Inbound, Family::V6) => FlowTable::KnockedV6,
        }
    }
}

/// Conversations of a part, where there are as many.
const PART_MIN: usize = 1024;

/// Where to go on reading. It stays good whatever becomes of the conversations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowCursor {
    /// Index into [`FlowTable::ALL`].
    table: usize,
    /// Bucket of that table.
    bucket: u32,
}

/// The tables of conversations.
pub(super) struct FlowTables {
    pub(super) asked_v4: HashMap<MapData, FlowKeyV4, Flow>,
    pub(super) knocked_v4: HashMap<MapData, FlowKeyV4, Flow>,
    pub(super) asked_v6: HashMap<MapData, FlowKey, Flow>,
    pub(super) knocked_v6: HashMap<MapData, FlowKey, Flow>,
    pub(super) proven_v4: HashMap<MapData, FlowKeyV4, Proven>,
    pub(super) proven_v6: HashMap<MapData, FlowKey, Proven>,
    /// The places of `proven_v4`, and which of them are free.
    pub(super) places_v4: [MapData; 2],
    pub(super) places_v6: [MapData; 2],
    pub(super) peers: MapData,
    pub(super) aged: Array<MapData, Aged>,
}

type Entries = Vec<FlowEntry>;

impl FlowTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            asked_v4: take(ebpf, "ASKED_V4")?,
            knocked_v4: take(ebpf, "KNOCKED_V4")?,
            asked_v6: take(ebpf, "ASKED_V6")?,
            knocked_v6: take(ebpf, "KNOCKED_V6")?,
            proven_v4: take(ebpf, "FLOWS_V4")?,
            proven_v6: take(ebpf, "FLOWS_V6")?,
            places_v4: [data(ebpf, "PLACES_V4")?, data(ebpf, "FREE_V4")?],
            places_v6: [data(ebpf, "PLACES_V6")?, data(ebpf, "FREE_V6")?],
            peers: data(ebpf, "PEERS")?,
            aged: take(ebpf, "AGED")?,
        })
    }

    /// Puts a conversation among the unproven, by who opened it.
    pub(super) fn put_unproven(
        &mut self,
        key: &FlowKey,
        flow: &Flow,
        flags: u64,
    ) -> Result<(), MapError> {
        match (key.is_v4(), flow.opened_by()) {
            (true, Direction::Outbound) => self.asked_v4.insert(key.v4(), flow, flags),
            (true, Direction::Inbound) => self.knocked_v4.insert(key.v4(), flow, flags),
            (false, Direction::Outbound) => self.asked_v6.insert(key, flow, flags),
            (false, Direction::Inbound) => self.knocked_v6.insert(key, flow, flags),
        }
    }

    /// Whole buckets of a table, a thousand conversations or less; and the bucket to go on from.
    fn part(&self, table: FlowTable, bucket: u32) -> Result<(Entries, Option<u32>), MapError> {
        let unproven = |key, flow| FlowEntry { key, flow, is_proven: false };
        let proven = |key, Proven { flow, .. }| FlowEntry { key, flow, is_proven: true };
        match table {
            FlowTable::AskedV4 => part(&self.asked_v4, bucket, |k, v| unproven(k.long(), v)),
            FlowTable::KnockedV4 => part(&self.knocked_v4, bucket, |k, v| unproven(k.long(), v)),
            FlowTable::AskedV6 => part(&self.asked_v6, bucket, unproven),
            FlowTable::KnockedV6 => part(&self.knocked_v6, bucket, unproven),
            FlowTable::ProvenV4 => part(&self.proven_v4, bucket, |k, v| proven(k.long(), v)),
            FlowTable::ProvenV6 => part(&self.proven_v6, bucket, proven),
        }
    }

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
        let asked = if key.is_v4() {
            found(self.asked_v4.get(&key.v4(), 0))?
        } else {
            found(self.asked_v6.get(key, 0))?
        };
        if asked.is_some() {
            return Ok(asked);
        }
        if key.is_v4() {
            found(self.knocked_v4.get(&key.v4(), 0))
        } else {
            found(self.knocked_v6.get(key, 0))
        }
    }
}

/// Takes a map out of the object that is only asked what it takes.
fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, DatapathError> {
    match take_map(ebpf, name)? {
        Map::Array(data) | Map::Stack(data) | Map::LruHashMap(data) => Ok(data),
        _ => Err(DatapathError::Map {
            operation: "open",
            map: name,
            source: MapError::InvalidName { name: name.to_owned() },
        }),
    }
}

fn found<V>(result: Result<V, MapError>) -> Result<Option<V>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn part<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    bucket: u32,
    entry: impl Fn(K, V) -> FlowEntry,
) -> Result<(Entries, Option<u32>), MapError> {
    let batch::Part { entries, next } = batch::read(map, bucket).map_err(MapError::IoError)?;
    Ok((entries.into_iter().map(|(key, value)| entry(key, value)).collect(), next))
}

impl Datapath {
    /// A thousand conversations or two from a place on (the default is the beginning), and the place to go on
    /// from. What becomes proven between two parts may be in both.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flows_from(
        &self,
        from: FlowCursor,
    ) -> Result<(Vec<FlowEntry>, Option<FlowCursor>), DatapathError> {
        let mut found = Vec::new();
        let mut from = from;
        while found.len() < PART_MIN {
            let FlowCursor { table, bucket } = from;
            let Some(which) = FlowTable::ALL.get(table) else { return Ok((found, None)) };
            let (mut entries, next) = self.flows.part(*which, bucket).map_err(failed)?;
            found.append(&mut entries);
            from = match next {
                Some(bucket) => FlowCursor { table, bucket },
                None => FlowCursor { table: table + 1, bucket: 0 },
            };
        }
        Ok((found, Some(from)))
    }

    /// Shows every tracked conversation to `visit`, without holding more than a thousand or two of them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn each_flow(&self, mut visit: impl FnMut(FlowEntry)) -> Result<(), DatapathError> {
        let mut from = Some(FlowCursor::default());
        while let Some(place) = from {
            let (entries, next) = self.flows_from(place)?;
            entries.into_iter().for_each(&mut visit);
            from = next;
        }
        Ok(())
    }

    /// Every tracked conversation, once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flows(&self) -> Result<Vec<FlowEntry>, DatapathError> {
        let mut found: Vec<FlowEntry> = Vec::new();
        let mut unproven: ByKey<FlowKey, usize> = ByKey::new();
        self.each_flow(|entry| {
            if let Some(before) = unproven.get(&entry.key) {
                found[*before] = entry;
                return;
            }
            if !entry.is_proven {
                unproven.insert(entry.key, found.len());
            }
            found.push(entry);
        })?;
        Ok(found)
    }

    /// The conversation with this key, as the programs would find it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flow_of(&self, key: &FlowKey) -> Result<Option<Flow>, DatapathError> {
        self.flows.get(key).map_err(failed)
    }
}

fn failed(source: MapError) -> DatapathError {
    DatapathError::Map { operation: "read", map: "FLOWS", source }
}
