//! A datapath that outlives its agent: opened over the maps that another agent left behind, or beside them.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use aya::maps::{Array, Map, MapData};
use nsp_common::{
    event::{COUNTERS, Counter},
    generation::{Current, SLOTS},
    pinned::Pinned,
};

use super::{
    Capacities, Datapath, DatapathError, OBJECT, Owner, PinDir, PinError,
    adopt::{self, Mismatch},
    control::{now_ns, word},
    ledger::Ledger,
    mapped::Mapped,
    migrate::CARRIED,
    object,
    pins::{LAYOUT, Set},
};
use crate::compile::Sizes;

/// `BPF_F_MMAPABLE`
const MMAPABLE: u32 = 1 << 10;

/// What an agent found in the pin directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing that anybody is judged by.
    New,
    /// Maps that it goes on with: what is in force is in force, and stays so.
    Adopted,
    /// Maps that it cannot go on with, or hooks without any, that are in force until its own are.
    Beside,
}

/// The counters that a set was given by those before it.
fn read_carried(set: &Set) -> Result<Vec<Counter>, DatapathError> {
    let path = set.map(CARRIED);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| DatapathError::Map { operation: "read", map: CARRIED, source };
    let map = MapData::from_pin(&path).and_then(Map::from_map_data);
    let map: Array<MapData, Counter> = map.and_then(Array::try_from).map_err(failed)?;
    (0..COUNTERS).map(|index| map.get(&index, 0).map_err(failed)).collect()
}

/// What outlives the agent.
pub(super) struct Outliving {
    pub(super) pins: PinDir,
    origin: Origin,
    /// The maps of this agent.
    set: Set,
    /// What they say of themselves.
    layout: Arc<Mapped>,
    /// The same, until it is pinned.
    unpinned: Option<Array<MapData, Pinned>>,
    /// Sets that are to go when this one is in force.
    before: Vec<Set>,
    /// The one of them that is in force until then, if this agent can read it.
    pub(super) readable: Option<Set>,
    /// The counters of sets before.
    carried: Vec<Counter>,
}

impl Outliving {
    fn name(&mut self, owner: &Owner) {
        // A word at a time: others are counted on meanwhile.
        const FIRST: usize = std::mem::offset_of!(Pinned, state) / 8;
        let [associations, rules, names, profiles] = owner.identities.map(u64::from);
        self.layout.store(0, FIRST, owner.state);
        self.layout.store(0, FIRST + 1, rules << 32 | associations);
        self.layout.store(0, FIRST + 2, profiles << 32 | names);
    }
}

impl Drop for Outliving {
    fn drop(&mut self) {
        if self.unpinned.is_none() {
            return;
        }
        // A start that failed: what it made is of no use to anybody.
        let mut result = self.set.remove();
        if self.origin == Origin::New {
            result = self.pins.remove_links(&BTreeSet::new()).and(result);
        }
        if let Err(error) = result {
            tracing::warn!(%error, "a set of maps that is half made stays");
        }
    }
}

impl Datapath {
    /// Loads the programs over the maps that are pinned in a directory, if these are what this agent would
    /// make for a policy of `sizes`; else over new ones, which are pinned there.
    ///
    /// # Errors
    /// [`DatapathError`]; what is in force stays in force.
    pub fn open(
        capacities: Capacities,
        sizes: &Sizes,
        owner: &Owner,
        pins: PinDir,
    ) -> Result<Self, DatapathError> {
        let mut before = Vec::new();
        let mut adopted = None;
        let mut readable = None;
        for set in pins.sets()? {
            if adopted.is_some() || !before.is_empty() {
                // An agent was killed between the two.
                let is_readable = adopted.is_some()
                    && adopt::examine(&set, &capacities, sizes, owner)
                        .map_or_else(|why| why.can_migrate(), |_| true);
                readable = readable.or_else(|| is_readable.then(|| set.clone()));
                before.push(set);
                continue;
            }
            match adopt::examine(&set, &capacities, sizes, owner) {
                Ok(capacities) => adopted = Some((set, capacities)),
                Err(Mismatch::Half) => {
                    tracing::warn!(set = %set.path.display(), "half made, taken away");
                    set.remove()?;
                }
                Err(why) => {
                    tracing::warn!(set = %set.path.display(), %why, "pinned maps are not adopted");
                    if why.can_migrate() {
                        readable = Some(set.clone());
                    } else {
                        tracing::warn!(
                            "conversations are taken over from the kernel's sockets, names from the state directory; counters begin anew"
                        );
                    }
                    before.push(set);
                }
            }
        }
        if let Some((set, capacities)) = adopted {
            return Self::adopt(pins, set, before, readable, capacities);
        }
        // A link holds its program and its maps, whatever became of their files.
        let is_new = before.is_empty() && pins.links()?.is_empty();
        let origin = if is_new { Origin::New } else { Origin::Beside };
        let set = pins.new_set()?;
        let failed = |source| DatapathError::Map { operation: "make", map: LAYOUT, source };
        let mut unpinned = Array::<MapData, Pinned>::create(1, MMAPABLE).map_err(failed)?;
        unpinned.set(0, adopt::to_pinned(&capacities, owner), 0).map_err(failed)?;
        let layout = Mapped::same(&unpinned, LAYOUT)?;
        let (unpinned, carried) = (Some(unpinned), Vec::new());
        let outliving =
            Outliving { pins, origin, set, layout, unpinned, before, readable, carried };
        let ebpf = object::load(OBJECT, &capacities, Some(&outliving.set))?;
        let mut datapath = Self::over(ebpf, capacities)?;
        if let Some(before) = &outliving.readable {
            datapath.number_after(before)?;
        }
        datapath.outliving = Some(outliving);
        Ok(datapath)
    }

    fn adopt(
        pins: PinDir,
        set: Set,
        before: Vec<Set>,
        readable: Option<Set>,
        capacities: Capacities,
    ) -> Result<Self, DatapathError> {
        let failed = |source| DatapathError::Map { operation: "open", map: LAYOUT, source };
        let map = MapData::from_pin(set.map(LAYOUT)).and_then(Map::from_map_data);
        let layout = Arc::new(Mapped::over(map.map_err(failed)?, LAYOUT, 1, size_of::<Pinned>())?);
        let ebpf = object::load(OBJECT, &capacities, Some(&set))?;
        let mut datapath = Self::over(ebpf, capacities)?;
        tracing::info!(
            set = %set.path.display(),
            generation = datapath.generation(),
            "pinned maps are adopted"
        );
        let (origin, unpinned, carried) = (Origin::Adopted, None, read_carried(&set)?);
        datapath.outliving =
            Some(Outliving { pins, origin, set, layout, unpinned, before, readable, carried });
        datapath.recount()?;
        Ok(datapath)
    }

    /// Counters of sets before this one, by index; empty where there are none.
    pub(super) fn carried(&self) -> &[Counter] {
        self.outliving.as_ref().map_or(&[], |it| &it.carried)
    }

    /// Counts on from the counters of sets before.
    pub(super) fn carry(&mut self, carried: Array<MapData, Counter>) -> Result<(), DatapathError> {
        let Some(outliving) = &mut self.outliving else { return Ok(()) };
        let path = outliving.set.map(CARRIED);
        if path.exists() {
            // It was done, and the agent was killed before the set was gone.
            return Ok(());
        }
        carried.pin(&path).map_err(|error| PinError::Io {
            operation: "pin",
            path,
            source: std::io::Error::other(error),
        })?;
        outliving.carried = read_carried(&outliving.set)?;
        Ok(())
    }

    /// Goes on from where the maps are.
    pub(super) fn resume(&mut self) {
        let control = |word| self.control.word(0, word).load(Ordering::Acquire);
        let numbers: Vec<u32> = (0..SLOTS as usize)
            .map(|slot| self.generations.word(slot, 0).load(Ordering::Acquire) as u32)
            .collect();
        // What an agent that is gone had put in force until it would be confirmed is taken back now: who should
        // confirm it, and what it would go back to, only that agent knew.
        let current = Current(control(word::CURRENT)).taken_back();
        self.control.store(0, word::CURRENT, current.0);
        let slot = current.slot(now_ns());
        let number = numbers.get(slot as usize).copied().unwrap_or(0);
        let (epoch, half) = (control(word::EPOCH), control(word::FILTER_HALF));
        self.current = (number != 0).then_some((slot, number));
        // One may be in a slot that never came into force: nothing was judged by it, and nothing will be.
        self.last_number = numbers.into_iter().max().unwrap_or(0);
        self.records.resume(epoch);
        self.filter.resume(half);
    }

    /// What was found, if anything outlives this agent.
    pub fn origin(&self) -> Option<Origin> {
        self.outliving.as_ref().map(|it| it.origin)
    }

    /// The pin directory.
    pub fn pins(&self) -> Option<&PinDir> {
        self.outliving.as_ref().map(|it| &it.pins)
    }

    /// Says whose identities the maps will hold; to be called before they do.
    pub fn name_owner(&mut self, owner: &Owner) {
        if let Some(outliving) = &mut self.outliving {
            outliving.name(owner);
        }
    }

    /// The policy is in force: from here on the next agent may go on with these maps.
    ///
    /// # Errors
    /// When the kernel refuses; then the next agent makes its own.
    pub fn become_whole(&mut self) -> Result<(), DatapathError> {
        let Some(outliving) = &mut self.outliving else { return Ok(()) };
        let Some(layout) = outliving.unpinned.take() else { return Ok(()) };
        let path = outliving.set.map(LAYOUT);
        layout.pin(&path).map_err(|error| PinError::Io {
            operation: "pin",
            path,
            source: std::io::Error::other(error),
        })?;
        Ok(())
    }

    /// The hooks are at these programs: takes away the sets that were in force before.
    pub fn forget_before(&mut self) {
        let Some(outliving) = &mut self.outliving else { return };
        outliving.readable = None;
        for set in outliving.before.drain(..) {
            match set.remove() {
                Ok(()) => tracing::info!(set = %set.path.display(), "taken away"),
                Err(error) => tracing::warn!(%error, "a set of maps stays"),
            }
        }
    }

    /// Where it is kept what became of records, if anything outlives this agent.
    pub fn ledger(&self) -> Option<Ledger> {
        self.outliving.as_ref().map(|it| Ledger::of(it.layout.clone()))
    }

    /// Takes away the hooks that agents before left. `own` are the files of those that the caller held, and has let
    /// go: in a bpffs that is read-only they stay, and cannot be opened.
    ///
    /// # Errors
    /// When a hook stays.
    pub fn remove_links(&mut self, own: &BTreeSet<PathBuf>) -> Result<(), DatapathError> {
        let Some(outliving) = &mut self.outliving else { return Ok(()) };
        outliving.pins.remove_links(own).map_err(DatapathError::Pins)
    }

    /// Takes away what would outlive the agent. Hooks that are held are the caller's to let go.
    ///
    /// # Errors
    /// When a file stays.
    pub fn remove_pins(&mut self) -> Result<(), DatapathError> {
        let Some(outliving) = &mut self.outliving else { return Ok(()) };
        outliving.pins.remove().map_err(DatapathError::Pins)
    }
}
