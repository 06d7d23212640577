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
    generation::{Control, Epoch},
    verdict::{Category, Direction, Lesson, Reason, Verdict},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, Timespec as Time, clock_getres, clock_gettime},
};

use super::{Datapath, DatapathError, mapped::Mapped, take};

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
}

/// Place of the word in [`Control`].
const EPOCH_WORD: usize = offset_of!(Control, epoch) / 8;

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
        let [now, tick] =
            [clock_gettime, clock_getres].map(|ask| nanoseconds(ask(ClockId::MonotonicCoarse)));
        self.records.epoch = self.records.epoch.next(now, tick);
        self.control.store(0, EPOCH_WORD, self.records.epoch.0);
        self.grace()?;
        let mut drained = Vec::new();
        let RecordTables { fine, coarse, many, near, full, .. } = &mut self.records;
        // Tables that are emptied have room again; should one not be, the programs find out.
        for (at, count) in EPOCH_OF_FULL.map(|(at, count)| (at + ended * count, count)) {
            full.clear_bytes(0, at, count);
        }
        let mut many_at_hand = Drained::new();
        take_near(near, ended as u32, &mut many_at_hand).map_err(|source| DatapathError::Map {
            operation: "drain",
            map: "NEAR",
            source,
        })?;
        for map in [&mut fine[ended], &mut coarse[ended], &mut many[ended]] {
            if let Err(source) = take_all(map, &mut drained) {
                // What was taken must be told; what was not is there when this table's turn comes.
                if drained.is_empty() && many_at_hand.is_empty() {
                    return Err(DatapathError::Map { operation: "drain", map: "RECORDS", source });
                }
                break;
            }
        }
        join(&mut drained, many_at_hand);
        Ok(drained)
    }

    /// Takes the ring of events out, for the task that waits on it.
    pub fn take_events(&mut self) -> Option<Events> {
        self.records.events.take().map(Events)
    }
}

fn nanoseconds(time: Time) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
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

/// Reads and empties the near rows of an epoch, which nobody writes any more.
fn take_near(
    map: &mut PerCpuArray<MapData, Near>,
    ended: u32,
    taken: &mut Drained,
) -> Result<(), MapError> {
    for row in ended * NEAR_ROWS..(ended + 1) * NEAR_ROWS {
        let rows = map.get(&row, 0)?;
        if rows.iter().all(|near| near.record.packets == 0) {
            continue;
        }
        taken.extend(
            rows.iter().filter(|near| near.record.packets != 0).map(|near| (near.key, near.record)),
        );
        let empty = PerCpuValues::try_from(vec![Near::EMPTY; rows.len()])?;
        map.set(row, empty, 0)?;
    }
    Ok(())
}

/// Adds rows of many sources, each processor's, to the records: one record for each key.
fn join(drained: &mut Drained, rows: Drained) {
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
