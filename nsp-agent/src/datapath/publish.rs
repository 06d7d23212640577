//! Publishing a generation: fill a slot that nobody reads, wait, change one word.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{
        ArrayOfMaps, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use nsp_common::{
    class::{PortEntry, port_index},
    generation::{ASSOCIATIONS_MAX, Generation, SLOTS},
    learned::Unit,
    name::{KEY_LEN, NameKey},
    selector::Selector,
};

use super::{Datapath, DatapathError, mapped::Mapped, take};
use crate::compile::Compiled;

/// Tries to insert one prefix. The kernel's allocator can refuse for a moment although there is
/// memory (kernel 6.14 and later, `bpf_mem_alloc`).
const INSERT_TRIES: u32 = 200;
/// `BPF_F_NO_PREALLOC`, which tries insist on.
pub(super) const NO_PREALLOC: u32 = 1;

/// The value is a [`Unit`] as two words.
type NameTrie = LpmTrie<MapData, [u8; KEY_LEN], [u32; 2]>;

/// Names to their units, one trie a slot.
pub(super) struct NameTables {
    names: ArrayOfMaps<MapData, NameTrie>,
    /// Slots whose trie is empty: most policies have no names, and a grace period takes its time.
    is_empty: [bool; SLOTS as usize],
}

impl NameTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self { names: take(ebpf, "NAMES")?, is_empty: [false; SLOTS as usize] })
    }

    /// Fills a fresh trie and puts it into a slot.
    fn fill(&mut self, slot: u32, units: &[(NameKey, Unit)]) -> Result<(), DatapathError> {
        let is_empty = &mut self.is_empty[slot as usize];
        if *is_empty && units.is_empty() {
            return Ok(());
        }
        let failed = |source| DatapathError::Map { operation: "fill", map: "NAMES", source };
        let room = (units.len() as u32).max(1);
        let mut names = NameTrie::create(room, NO_PREALLOC).map_err(failed)?;
        for (key, Unit { name, quota }) in units {
            insert(&mut names, &Key::new(key.bits(), key.bytes), [*name, *quota])
                .map_err(failed)?;
        }
        self.names.set(slot, &names, 0).map_err(failed)?;
        *is_empty = units.is_empty();
        Ok(())
    }
}

pub(super) fn insert<K: Pod, V: Pod>(
    trie: &mut LpmTrie<MapData, K, V>,
    key: &Key<K>,
    value: V,
) -> Result<(), MapError> {
    let mut left = INSERT_TRIES;
    loop {
        match trie.insert(key, value, 0) {
            Err(MapError::SyscallError(error))
                if left > 0 && error.io_error.raw_os_error() == Some(libc::ENOMEM) =>
            {
                left -= 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

impl Datapath {
    /// Makes a compiled policy the one in force; answers its generation's number. `selectors` and
    /// `listeners` are what only the host can resolve: they belong to the generation as well. While one
    /// waits to be confirmed it takes that one's place.
    ///
    /// # Errors
    /// When it does not fit or the kernel refuses a prefix; the generation in force stays.
    pub fn publish(
        &mut self,
        compiled: &Compiled,
        selectors: &[(Selector, u16)],
        listeners: &BTreeMap<(u8, u16), u16>,
    ) -> Result<u32, DatapathError> {
        self.publish_until(compiled, selectors, listeners, None)
    }

    /// The same until an instant of the coarse monotonic clock, at which the kernel goes back to the
    /// generation before unless this one is [confirmed](Datapath::confirm).
    ///
    /// # Errors
    /// As [`Datapath::publish`].
    pub fn publish_until(
        &mut self,
        compiled: &Compiled,
        selectors: &[(Selector, u16)],
        listeners: &BTreeMap<(u8, u16), u16>,
        until_ns: Option<u64>,
    ) -> Result<u32, DatapathError> {
        self.check_capacity(compiled)?;
        let slot = self.free_slot();
        let number = self.last_number + 1;
        // First the empty header: whoever still holds this slot's number from long ago finds none.
        self.generations.write(slot as usize, &[Generation::default()]);
        self.grace()?;
        self.names.fill(slot, &compiled.name_units)?;
        self.addresses.fill(slot, compiled)?;
        self.write_tables(slot as usize, compiled);
        self.live.select(slot, &super::live::in_slot(slot, selectors))?;
        for ((protocol, port), association) in listeners {
            let at = port_index(*protocol, *port);
            if compiled.ports[at].association != 0 {
                // The policy names this port for a resource: that is more than a unit's listening.
                continue;
            }
            let entry = PortEntry { association: *association, ..compiled.ports[at] };
            self.ports.write_into(slot as usize, at, &[entry]);
        }
        let header = Generation { number, ..compiled.header };
        self.generations.write(slot as usize, &[header]);
        let before = self.current.map(|(slot, _)| slot);
        self.switch(slot, number, until_ns);
        let kept = self.pending.map(|pending| pending.slot_before());
        // Selectors of slots that nobody will go back to make room for the next.
        for old in (1..SLOTS).filter(|it| ![Some(slot), before, kept].contains(&Some(*it))) {
            // What stays of them takes room and no more; the next publication tries again.
            let _cleared = self.live.select(old, &[]);
            let _released = self.addresses.release(old);
        }
        Ok(number)
    }

    /// Waits until no program runs that began before this call.
    pub(super) fn grace(&mut self) -> Result<(), DatapathError> {
        self.addresses.grace()
    }

    /// The slot after the current one, or the next where that may come back. Slot zero stays empty for ever:
    /// it is what "nothing published" points at.
    fn free_slot(&self) -> u32 {
        let current = self.current.map_or(0, |(slot, _)| slot);
        let after = |slot: u32| 1 + slot % (SLOTS - 1);
        let kept = self.pending.map(|pending| pending.slot_before());
        if kept == Some(after(current)) { after(after(current)) } else { after(current) }
    }

    fn write_tables(&mut self, slot: usize, compiled: &Compiled) {
        let room = ASSOCIATIONS_MAX as usize;
        self.associations.clear(slot * room, room);
        self.associations.write(slot * room, &compiled.associations);
        self.ports.write_into(slot, 0, &compiled.ports);
        let part = |map: &mut Mapped, capacity: usize| map.clear(slot * capacity, capacity);
        part(&mut self.classes, self.capacities.classes);
        part(&mut self.cells, self.capacities.cells);
        part(&mut self.rows, self.capacities.rows);
        part(&mut self.rules, self.capacities.rules);
        part(&mut self.name_classes, self.capacities.names);
        self.classes.write(slot * self.capacities.classes, &compiled.classes);
        self.cells.write(slot * self.capacities.cells, &compiled.cells);
        self.rows.write(slot * self.capacities.rows, &compiled.rows);
        self.rules.write(slot * self.capacities.rules, &compiled.rules);
        self.name_classes.write(slot * self.capacities.names, &compiled.names);
    }

    fn check_capacity(&self, compiled: &Compiled) -> Result<(), DatapathError> {
        match self.capacities.lacking(&compiled.sizes) {
            Some((table, needed, capacity)) => {
                Err(DatapathError::Capacity { table, needed, capacity })
            }
            None => Ok(()),
        }
    }
}
