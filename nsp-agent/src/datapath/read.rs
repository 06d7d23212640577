//! Reading back: counters, access records, conversations, events.

use std::{collections::HashMap as HashMapOf, io, time::Duration};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray, RingBuf},
};
use nsp_common::{
    event::{
        COUNTERS, Counter, Event, Loss, Record, RecordKey, category_counter, loss_counter,
        reason_counter,
    },
    flow::{Flow, FlowKey, FlowKeyV4},
    verdict::{Category, Direction, Reason, Verdict},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Datapath, DatapathError, take};

/// Steps of one walk over a table of conversations.
const WALK_STEPS_MAX: usize = 1 << 19;

/// The exact counters, summed over processors.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    values: Vec<Counter>,
}

impl Counters {
    /// Packets and bytes of one reason, direction and verdict.
    pub fn reason(&self, reason: Reason, direction: Direction, verdict: Verdict) -> Counter {
        self.at(reason_counter(reason as u8, direction, verdict))
    }

    /// Packets and bytes that were logged in a category, or lost on the way to it.
    pub fn category(&self, category: Category) -> Counter {
        self.at(category_counter(category))
    }

    /// Packets and bytes behind a loss.
    pub fn loss(&self, loss: Loss) -> Counter {
        self.at(loss_counter(loss))
    }

    /// Everything that is not zero, by reason.
    pub fn reasons(&self) -> Vec<(Reason, Direction, Verdict, Counter)> {
        let mut found = Vec::new();
        for reason in Reason::ALL {
            for direction in Direction::ALL {
                for verdict in Verdict::ALL {
                    let counter = self.reason(*reason, *direction, *verdict);
                    if counter.packets != 0 {
                        found.push((*reason, *direction, *verdict, counter));
                    }
                }
            }
        }
        found
    }

    fn at(&self, index: u32) -> Counter {
        self.values.get(index as usize).copied().unwrap_or_default()
    }
}

pub(super) struct CounterTable(PerCpuArray<MapData, Counter>);

impl CounterTable {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self(take(ebpf, "COUNTERS")?))
    }
}

/// Records of two epochs, one being filled while the other is read.
pub(super) struct RecordTables {
    fine: [HashMap<MapData, RecordKey, Record>; 2],
    coarse: [HashMap<MapData, RecordKey, Record>; 2],
    flows_v4: [HashMap<MapData, FlowKeyV4, Flow>; 2],
    flows_v6: [HashMap<MapData, FlowKey, Flow>; 2],
    events: Option<RingBuf<MapData>>,
    epoch: u64,
}

impl RecordTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            fine: [take(ebpf, "RECORDS_EVEN")?, take(ebpf, "RECORDS_ODD")?],
            coarse: [take(ebpf, "COARSE_EVEN")?, take(ebpf, "COARSE_ODD")?],
            flows_v4: [take(ebpf, "PENDING_V4")?, take(ebpf, "FLOWS_V4")?],
            flows_v6: [take(ebpf, "PENDING_V6")?, take(ebpf, "FLOWS_V6")?],
            events: Some(take(ebpf, "EVENTS")?),
            epoch: 0,
        })
    }
}

/// The records of one epoch.
pub type Drained = Vec<(RecordKey, Record)>;

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

impl Datapath {
    /// Reads all counters.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        let mut values = Vec::with_capacity(COUNTERS as usize);
        for index in 0..COUNTERS {
            let per_cpu = self.counters.0.get(&index, 0).map_err(|source| DatapathError::Map {
                operation: "read",
                map: "COUNTERS",
                source,
            })?;
            let sum = per_cpu.iter().fold(Counter::default(), |sum, one| Counter {
                packets: sum.packets + one.packets,
                bytes: sum.bytes + one.bytes,
            });
            values.push(sum);
        }
        Ok(Counters { values })
    }

    /// Begins a new epoch and takes the records of the one that ended.
    ///
    /// # Errors
    /// When the kernel refuses; records that were not taken are taken the next time.
    pub fn drain_records(&mut self) -> Result<Drained, DatapathError> {
        let ended = (self.records.epoch & 1) as usize;
        self.records.epoch += 1;
        self.control.store(0, 1, self.records.epoch);
        self.grace()?;
        let mut drained = Vec::new();
        for map in [&mut self.records.fine[ended], &mut self.records.coarse[ended]] {
            take_all(map, &mut drained).map_err(|source| DatapathError::Map {
                operation: "drain",
                map: "RECORDS",
                source,
            })?;
        }
        Ok(drained)
    }

    /// Takes the ring of events out, for the task that waits on it.
    pub fn take_events(&mut self) -> Option<Events> {
        self.records.events.take().map(Events)
    }

    /// Every tracked conversation, as far as a bounded walk sees them: a flood turns the table of
    /// unproven ones over faster than it can be read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flows(&self) -> Result<Vec<FlowEntry>, DatapathError> {
        let mut found = self.unproven_flows()?;
        // A conversation that was proven meanwhile is in both: the proven one is newer.
        found.extend(self.proven_flows()?);
        let mut by_key: HashMapOf<FlowKey, FlowEntry> = HashMapOf::with_capacity(found.len());
        for entry in found {
            by_key.insert(entry.key, entry);
        }
        Ok(by_key.into_values().collect())
    }

    /// The conversations both ends of which are proven.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn proven_flows(&self) -> Result<Vec<FlowEntry>, DatapathError> {
        self.walk(1)
    }

    fn unproven_flows(&self) -> Result<Vec<FlowEntry>, DatapathError> {
        self.walk(0)
    }

    fn walk(&self, table: usize) -> Result<Vec<FlowEntry>, DatapathError> {
        let failed = |source| DatapathError::Map { operation: "read", map: "FLOWS", source };
        let is_proven = table == 1;
        let mut found = Vec::new();
        // An entry that goes while the table is walked restarts the walk (kernel map_hash.rst), so
        // the number of steps needs a bound of its own.
        for entry in self.records.flows_v4[table].iter().take(WALK_STEPS_MAX) {
            let (key, flow) = entry.map_err(failed)?;
            found.push(FlowEntry { key: key.long(), flow, is_proven });
        }
        for entry in self.records.flows_v6[table].iter().take(WALK_STEPS_MAX) {
            let (key, flow) = entry.map_err(failed)?;
            found.push(FlowEntry { key, flow, is_proven });
        }
        Ok(found)
    }

    /// Writes a conversation, or takes it out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_flow(&mut self, key: &FlowKey, flow: Option<&Flow>) -> Result<(), DatapathError> {
        const PROVEN: usize = 1;
        let records = &mut self.records;
        let result = match (key.is_v4(), flow) {
            (true, Some(flow)) => records.flows_v4[PROVEN].insert(key.v4(), flow, 0),
            (true, None) => records.flows_v4[PROVEN].remove(&key.v4()),
            (false, Some(flow)) => records.flows_v6[PROVEN].insert(key, flow, 0),
            (false, None) => records.flows_v6[PROVEN].remove(key),
        };
        match result {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(DatapathError::Map { operation: "write", map: "FLOWS", source }),
        }
    }
}

/// Reads and deletes all of a map that nobody writes any more.
fn take_all(
    map: &mut HashMap<MapData, RecordKey, Record>,
    taken: &mut Drained,
) -> Result<(), MapError> {
    let keys: Vec<RecordKey> = map.keys().collect::<Result<_, _>>()?;
    for key in keys {
        match map.get(&key, 0) {
            Ok(record) => taken.push((key, record)),
            Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(error),
        }
        map.remove(&key)?;
    }
    Ok(())
}

/// The ring of events.
pub struct Events(RingBuf<MapData>);

impl Events {
    /// The next event, or `None` when the ring is empty.
    pub fn take_one(&mut self) -> Option<Event> {
        let item = self.0.next()?;
        Event::from_bytes(&item)
    }

    /// Waits until something comes, or the time is over.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut ring = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        poll(&mut ring, Some(&patience))?;
        Ok(())
    }
}
