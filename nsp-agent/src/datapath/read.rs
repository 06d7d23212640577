//! Reading back: counters, access records, events.

use std::{collections::HashMap as ByKey, io, mem::offset_of, time::Duration};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
};
use nsp_common::{
    event::{
        COUNTERS, Counter, Event, Full, Grain, Loss, NEAR_ROWS, Near, Record, RecordKey,
        category_counter, lesson_counter, loss_counter, reason_counter,
    },
    generation::Epoch,
    verdict::{Category, Direction, Lesson, Reason, Verdict},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Datapath, DatapathError, batch,
    control::{now_ns, tick_ns, word},
    mapped::Mapped,
    take,
};

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

    /// DNS answers, or addresses in them, that came to this.
    pub fn lesson(&self, lesson: Lesson) -> u64 {
        self.at(lesson_counter(lesson)).packets
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
    many: [HashMap<MapData, RecordKey, Record>; 2],
    near: PerCpuArray<MapData, Near>,
    full: Mapped,
    events: Option<RingBuf<MapData>>,
    epoch: Epoch,
}

impl RecordTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            fine: [take(ebpf, "RECORDS_EVEN")?, take(ebpf, "RECORDS_ODD")?],
            coarse: [take(ebpf, "COARSE_EVEN")?, take(ebpf, "COARSE_ODD")?],
            many: [take(ebpf, "MANY_EVEN")?, take(ebpf, "MANY_ODD")?],
            near: take(ebpf, "NEAR")?,
            full: Mapped::new(ebpf, "FULL", 1, size_of::<Full>())?,
            events: Some(take(ebpf, "EVENTS")?),
            epoch: Epoch::default(),
        })
    }

    /// Goes on in the epoch that is being filled.
    pub(super) fn resume(&mut self, epoch: u64) {
        self.epoch = Epoch(epoch);
    }
}

/// Where the parts of [`Full`] about the first epoch are, and how long; those about the other follow each.
const EPOCH_OF_FULL: [(usize, usize); 2] =
    [(offset_of!(Full, strangers), 16), (offset_of!(Full, grains), 2)];

/// The records of one epoch.
pub type Drained = Vec<(RecordKey, Record)>;

impl Datapath {
    /// Reads all counters.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        let mut values = Vec::with_capacity(COUNTERS as usize);
        for index in 0..COUNTERS {
            values.push(self.counter(index)?);
        }
        Ok(Counters { values })
    }

    /// The counter of one reason, direction and verdict, without reading the others.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reason(
        &self,
        reason: Reason,
        direction: Direction,
        verdict: Verdict,
    ) -> Result<Counter, DatapathError> {
        self.counter(reason_counter(reason as u8, direction, verdict))
    }

    fn counter(&self, index: u32) -> Result<Counter, DatapathError> {
        let sum = sum(&self.counters.0, index).map_err(|source| DatapathError::Map {
            operation: "read",
            map: "COUNTERS",
            source,
        })?;
        let carried = self.carried().get(index as usize).copied().unwrap_or_default();
        Ok(plus(sum, carried))
    }

    /// One of the counters of lessons.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lesson(&self, lesson: Lesson) -> Result<u64, DatapathError> {
        let per_cpu = self.counters.0.get(&lesson_counter(lesson), 0);
        let per_cpu = per_cpu.map_err(|source| DatapathError::Map {
            operation: "read",
            map: "COUNTERS",
            source,
        })?;
        Ok(per_cpu.iter().map(|one| one.packets).sum())
    }

    /// Begins a new epoch and takes the records of the one that ended.
    ///
    /// # Errors
    /// When the kernel refuses; records that were not taken are taken the next time.
    pub fn drain_records(&mut self) -> Result<Drained, DatapathError> {
        let ended = usize::from(self.records.epoch.is_odd());
        self.records.epoch = self.records.epoch.next(now_ns(), tick_ns());
        self.control.store(0, word::EPOCH, self.records.epoch.0);
        self.grace()?;
        let ledger = self.ledger();
        let failed = |source| DatapathError::Map { operation: "drain", map: "RECORDS", source };
        // Tables that are emptied have room again; should one not be, the programs find out.
        for (at, count) in EPOCH_OF_FULL.map(|(at, count)| (at + ended * count, count)) {
            self.records.full.clear_bytes(0, at, count);
        }
        let held = self.records.held(ended).map_err(failed)?;
        if let Some(ledger) = &ledger {
            ledger.begin(held.packets());
        }
        let (drained, left) = self.records.take(ended, held);
        if let Some(ledger) = &ledger {
            ledger.took(left);
        }
        Ok(drained)
    }

    /// Counts what an agent that was killed while it took records has left of them.
    pub(super) fn recount(&self) -> Result<(), DatapathError> {
        let ended = usize::from(!self.records.epoch.is_odd());
        let held = self.records.held(ended);
        let held = held.map_err(|source| DatapathError::Map {
            operation: "read",
            map: "RECORDS",
            source,
        })?;
        if let Some(ledger) = self.ledger() {
            ledger.resume(held.packets());
        }
        Ok(())
    }

    /// Takes the ring of events out, for the task that waits on it.
    pub fn take_events(&mut self) -> Option<Events> {
        self.records.events.take().map(Events)
    }
}

/// The records of one epoch, as they lie in their tables.
struct Held {
    /// By address, by network, of many sources.
    tables: [Drained; 3],
    near: Drained,
}

impl Held {
    fn packets(&self) -> u64 {
        self.tables.iter().chain([&self.near]).map(packets).sum()
    }
}

pub(super) fn packets(records: &Drained) -> u64 {
    records.iter().map(|(_, record)| record.packets).sum()
}

impl RecordTables {
    /// Reads the records of an epoch, which nobody writes any more.
    fn held(&self, epoch: usize) -> Result<Held, MapError> {
        let table = |map| all(map).map_err(MapError::IoError);
        let tables =
            [table(&self.fine[epoch])?, table(&self.coarse[epoch])?, table(&self.many[epoch])?];
        Ok(Held { tables, near: near_rows(&self.near, epoch as u32)? })
    }

    /// Takes them out; answers them, and the packets of those that stay: they are there when their table's turn
    /// comes.
    fn take(&mut self, epoch: usize, held: Held) -> (Drained, u64) {
        let Held { tables, near } = held;
        let [fine, coarse, many] = tables;
        let mut drained = Drained::new();
        let mut left = 0;
        let maps = [&mut self.fine[epoch], &mut self.coarse[epoch], &mut self.many[epoch]];
        for (map, records) in maps.into_iter().zip([fine, coarse, many]) {
            for (key, record) in records {
                match map.remove(&key) {
                    Ok(()) | Err(MapError::KeyNotFound) => drained.push((key, record)),
                    Err(error) => {
                        tracing::error!(%error, "an access record is not taken");
                        left += record.packets;
                    }
                }
            }
        }
        match clear_near(&mut self.near, epoch as u32) {
            Ok(()) => join(&mut drained, near),
            Err(error) => {
                tracing::error!(%error, "access records of many sources are not taken");
                left += packets(&near);
            }
        }
        (drained, left)
    }
}

/// All of a table.
fn all(map: &HashMap<MapData, RecordKey, Record>) -> io::Result<Drained> {
    let mut found = Drained::new();
    let mut from = Some(0);
    while let Some(bucket) = from {
        let batch::Part { mut entries, next } = batch::read(map, bucket)?;
        found.append(&mut entries);
        from = next;
    }
    Ok(found)
}

fn rows_of(epoch: u32) -> std::ops::Range<u32> {
    epoch * NEAR_ROWS..(epoch + 1) * NEAR_ROWS
}

/// Empties the near rows of an epoch.
fn clear_near(map: &mut PerCpuArray<MapData, Near>, epoch: u32) -> Result<(), MapError> {
    for row in rows_of(epoch) {
        let rows = map.get(&row, 0)?;
        if rows.iter().any(|near| near.record.packets != 0) {
            map.set(row, PerCpuValues::try_from(vec![Near::EMPTY; rows.len()])?, 0)?;
        }
    }
    Ok(())
}

/// The near rows of an epoch that have something.
pub(super) fn near_rows(map: &PerCpuArray<MapData, Near>, epoch: u32) -> Result<Drained, MapError> {
    let mut found = Drained::new();
    for row in rows_of(epoch) {
        let rows = map.get(&row, 0)?;
        let used = rows.iter().filter(|near| near.record.packets != 0);
        found.extend(used.map(|near| (near.key, near.record)));
    }
    Ok(found)
}

/// One counter, over all processors.
pub(super) fn sum(map: &PerCpuArray<MapData, Counter>, index: u32) -> Result<Counter, MapError> {
    let per_cpu = map.get(&index, 0)?;
    Ok(per_cpu.iter().fold(Counter::default(), |sum, one| plus(sum, *one)))
}

fn plus(sum: Counter, more: Counter) -> Counter {
    Counter { packets: sum.packets + more.packets, bytes: sum.bytes + more.bytes }
}

/// Adds rows of many sources, each processor's, to the records: one record for each key.
pub(super) fn join(drained: &mut Drained, rows: Drained) {
    let mut places: ByKey<RecordKey, usize> = drained
        .iter()
        .enumerate()
        .filter(|(_, (key, _))| key.grain == Grain::Many as u8)
        .map(|(place, (key, _))| (*key, place))
        .collect();
    for (key, row) in rows {
        let Some(place) = places.get(&key) else {
            places.insert(key, drained.len());
            drained.push((key, row));
            continue;
        };
        drained[*place].1.add(&row);
    }
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
