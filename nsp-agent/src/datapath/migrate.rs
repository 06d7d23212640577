//! Taking over what is in a set of maps that this agent cannot go on with, but can read: conversations,
//! learned addresses, counters, access records.
//!
//! Its layout is this agent's and its identities are too; it has other sizes, or tables for the other engine.

use std::collections::HashMap as ByName;

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use nsp_common::{
    address::{Address, Family},
    event::{COUNTERS, Counter, Near, Record, RecordKey},
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
    generation::{Generation, SLOTS},
    learned::{Learned, Naming, Unit},
    pinned::Pinned,
    verdict::Lesson,
};

use super::{
    Datapath, DatapathError,
    batch::{self, Part},
    pins::{LAYOUT, Set},
    read::{self, Drained},
};

/// `BPF_NOEXIST`
const NOT_YET: u64 = 1;
/// The counters of sets before, summed up. No program knows it.
pub(super) const CARRIED: &str = "CARRIED";

/// What was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Conversations.
    pub flows: usize,
    /// Those that found no room.
    pub flows_refused: usize,
    /// Learned addresses' names.
    pub names: usize,
}

fn open<T>(set: &Set, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = MapData::from_pin(set.map(name)).and_then(Map::from_map_data);
    map.and_then(T::try_from).map_err(failed(name))
}

fn failed(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { operation: "take over", map, source }
}

fn each<K: Pod, V: Pod>(
    set: &Set,
    name: &'static str,
    mut visit: impl FnMut(K, V) -> Result<(), DatapathError>,
) -> Result<(), DatapathError> {
    let map: HashMap<MapData, K, V> = open(set, name)?;
    let mut from = Some(0);
    while let Some(bucket) = from {
        let part = batch::read(&map, bucket).map_err(MapError::IoError).map_err(failed(name))?;
        let Part { entries, next } = part;
        for (key, value) in entries {
            visit(key, value)?;
        }
        from = next;
    }
    Ok(())
}

impl Datapath {
    /// The set in force before, if it can be read.
    fn readable_before(&self) -> Option<Set> {
        self.outliving.as_ref()?.readable.clone()
    }

    /// Goes on counting generations from where the set before is.
    pub(super) fn number_after(&mut self, set: &Set) -> Result<(), DatapathError> {
        let generations: Array<MapData, Generation> = open(set, "GENERATIONS")?;
        for slot in 0..SLOTS {
            let Generation { number, .. } =
                generations.get(&slot, 0).map_err(failed("GENERATIONS"))?;
            self.last_number = self.last_number.max(number);
        }
        Ok(())
    }

    /// Takes over what is in the set before, if it can be read; what is here already stays. `units` are the
    /// names of the policy. To be called before the hooks are at these programs, and once more after it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn migrate(
        &mut self,
        units: &ByName<u32, Unit>,
    ) -> Result<Option<Migrated>, DatapathError> {
        let Some(set) = self.readable_before() else { return Ok(None) };
        let mut done = Migrated::default();
        each(&set, "FLOWS_V4", |key: FlowKeyV4, Proven { flow, .. }| {
            self.migrate_proven(&key.long(), &flow, &mut done)
        })?;
        each(&set, "FLOWS_V6", |key: FlowKey, Proven { flow, .. }| {
            self.migrate_proven(&key, &flow, &mut done)
        })?;
        for name in ["ASKED_V4", "KNOCKED_V4"] {
            each(&set, name, |key: FlowKeyV4, flow| {
                self.migrate_unproven(&key.long(), &flow, &mut done)
            })?;
        }
        for name in ["ASKED_V6", "KNOCKED_V6"] {
            each(&set, name, |key: FlowKey, flow| self.migrate_unproven(&key, &flow, &mut done))?;
        }
        each(&set, "LEARNED_V4", |key: [u8; 4], learned| {
            self.migrate_learned(key.into(), &learned, units, &mut done)
        })?;
        each(&set, "LEARNED_V6", |key: [u8; 16], learned| {
            self.migrate_learned(key.into(), &learned, units, &mut done)
        })?;
        each(&set, "NAMINGS", |address: Address, naming: Naming| {
            let put = self.namings.namings.insert(address, naming, NOT_YET);
            unless_there(put).map(drop).map_err(failed("NAMINGS"))
        })?;
        Ok(Some(done))
    }

    fn migrate_proven(
        &self,
        key: &FlowKey,
        flow: &Flow,
        done: &mut Migrated,
    ) -> Result<(), DatapathError> {
        if self.is_proven(key)? {
            return Ok(());
        }
        match self.keep_flow(key, flow) {
            Ok(()) => done.flows += 1,
            // The new table may be smaller.
            Err(DatapathError::Keep(_)) => done.flows_refused += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn migrate_unproven(
        &mut self,
        key: &FlowKey,
        flow: &Flow,
        done: &mut Migrated,
    ) -> Result<(), DatapathError> {
        if self.is_proven(key)? {
            return Ok(());
        }
        self.filter.expect(key);
        let put = self.flows.put_unproven(key, flow, NOT_YET);
        done.flows += usize::from(unless_there(put).map_err(failed("FLOWS"))?);
        Ok(())
    }

    fn migrate_learned(
        &self,
        address: std::net::IpAddr,
        learned: &Learned,
        units: &ByName<u32, Unit>,
        done: &mut Migrated,
    ) -> Result<(), DatapathError> {
        for held in learned.names.iter().filter(|it| it.name != 0) {
            let Some(unit) = units.get(&held.name) else { continue };
            if self.teach(address, *unit, held.expires_s)? == Lesson::Learned {
                done.names += 1;
            }
        }
        Ok(())
    }

    /// Takes the access records out of the set before, and its counters; answers with the records how many
    /// packets' records its agents had lost. The hooks are at other programs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drain_before(&mut self) -> Result<(Drained, u64), DatapathError> {
        let Some(set) = self.readable_before() else { return Ok(Default::default()) };
        // The last of its programs may be running still.
        self.grace()?;
        let mut drained = Drained::new();
        for name in
            ["RECORDS_EVEN", "RECORDS_ODD", "COARSE_EVEN", "COARSE_ODD", "MANY_EVEN", "MANY_ODD"]
        {
            each(&set, name, |key: RecordKey, record: Record| {
                drained.push((key, record));
                Ok(())
            })?;
        }
        let near: PerCpuArray<MapData, Near> = open(&set, "NEAR")?;
        for epoch in 0..2 {
            read::join(&mut drained, read::near_rows(&near, epoch).map_err(failed("NEAR"))?);
        }
        self.carry_counters(&set)?;
        let theirs: Array<MapData, Pinned> = open(&set, LAYOUT)?;
        let Pinned { taken, told, .. } = theirs.get(&0, 0).map_err(failed(LAYOUT))?;
        let lost = taken.saturating_sub(told);
        if let Some(ledger) = self.ledger() {
            ledger.begin(read::packets(&drained) + lost);
            ledger.took(0);
        }
        Ok((drained, lost))
    }

    fn carry_counters(&mut self, set: &Set) -> Result<(), DatapathError> {
        let theirs: PerCpuArray<MapData, Counter> = open(set, "COUNTERS")?;
        let before: Option<Array<MapData, Counter>> = open(set, CARRIED).ok();
        let mut carried =
            Array::<MapData, Counter>::create(COUNTERS, 0).map_err(failed(CARRIED))?;
        for index in 0..COUNTERS {
            let mut sum = read::sum(&theirs, index).map_err(failed("COUNTERS"))?;
            if let Some(before) = &before {
                let more = before.get(&index, 0).map_err(failed(CARRIED))?;
                sum.packets += more.packets;
                sum.bytes += more.bytes;
            }
            carried.set(index, sum, 0).map_err(failed(CARRIED))?;
        }
        self.carry(carried)
    }

    /// Whether a conversation is among the proven.
    fn is_proven(&self, key: &FlowKey) -> Result<bool, DatapathError> {
        let found = match key.ip_family() {
            Family::V4 => self.flows.proven_v4.get(&key.v4(), 0).map(drop),
            Family::V6 => self.flows.proven_v6.get(key, 0).map(drop),
        };
        match found {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => Err(failed("FLOWS")(source)),
        }
    }
}

/// Whether it was put; that it is there already is no failure.
fn unless_there(put: Result<(), MapError>) -> Result<bool, MapError> {
    match put {
        Ok(()) => Ok(true),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
