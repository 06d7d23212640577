//! Names per address, as the kernel's learned-address tables hold them.
//!
//! Several names can stand for one address, and the kernel has [`NAMES_PER_ADDRESS`] places for
//! them. This table holds all names it was told, fills the places in the order in which the names
//! came, and gives a place that falls free to the next in line. It says which entries to write and
//! which to delete, and never says so of an entry that did not change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nsp_common::learned::{Learned, LearnedName, NAMES_PER_ADDRESS};

use super::schedule::Batch;

/// One change of the kernel's tables. An address is in canonical form: IPv4 is never mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// Write this value.
    Write {
        /// The key.
        address: IpAddr,
        /// The value.
        learned: Learned,
    },
    /// Delete the entry.
    Delete {
        /// The key.
        address: IpAddr,
    },
}

/// What the kernel's tables of both families hold, and the names that wait for a place.
///
/// **Invariant:** a held address has at least one name, and none twice.
#[derive(Clone, Debug)]
pub struct LearnedTable {
    addresses: BTreeMap<IpAddr, Vec<LearnedName>>,
    capacity: usize,
    held: [usize; 2],
    refused: u64,
}

impl LearnedTable {
    /// An empty table; `capacity` is the number of entries of the kernel's table of one family.
    pub fn new(capacity: usize) -> Self {
        Self { addresses: BTreeMap::new(), capacity, held: [0; 2], refused: 0 }
    }

    /// Takes over an entry that the kernel already holds, from a run before this one. It stays
    /// until its own expiry, unless its name is taught anew.
    pub fn adopt(&mut self, address: IpAddr, learned: &Learned) {
        let Learned { names } = learned;
        for entry in names.iter().filter(|entry| entry.name != 0) {
            self.insert(address.to_canonical(), *entry);
        }
    }

    /// What a batch changes.
    pub fn apply(&mut self, batch: &Batch) -> Vec<TableChange> {
        let Batch { updates, removals } = batch;
        let touched = removals
            .iter()
            .map(|removal| removal.address)
            .chain(updates.iter().map(|update| update.address))
            .collect();
        self.change(touched, |table| {
            for removal in removals {
                table.remove(removal.address, |entry| entry.name == removal.name);
            }
            for update in updates {
                let expires_s = u32::try_from(update.expires_s).unwrap_or(u32::MAX);
                table.insert(update.address, LearnedName { name: update.name, expires_s });
            }
        })
    }

    /// What time changes: names that are over leave.
    pub fn expire(&mut self, now_s: u64) -> Vec<TableChange> {
        self.retain(|entry| u64::from(entry.expires_s) > now_s)
    }

    /// What a new policy changes: names whose identities it does not have leave.
    pub fn retain_names(&mut self, keep: impl Fn(u32) -> bool) -> Vec<TableChange> {
        self.retain(|entry| keep(entry.name))
    }

    /// Every entry as it should be, to fill tables that are new.
    pub fn entries(&self) -> impl Iterator<Item = (IpAddr, Learned)> {
        self.addresses.iter().map(|(address, names)| (*address, placed(names)))
    }

    /// Addresses held, of both families.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether no address is held.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Names that wait for a place now: their address has more than the kernel can hold, so rules
    /// for these names do not admit it.
    pub fn waiting(&self) -> usize {
        self.addresses.values().map(|names| names.len().saturating_sub(NAMES_PER_ADDRESS)).sum()
    }

    /// Updates refused so far because the family's table was full. A name that is taught again gets
    /// its address once there is room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn retain(&mut self, keep: impl Fn(&LearnedName) -> bool) -> Vec<TableChange> {
        let touched = self
            .addresses
            .iter()
            .filter(|(_, names)| !names.iter().all(&keep))
            .map(|(address, _)| *address)
            .collect::<BTreeSet<IpAddr>>();
        self.change(touched.clone(), |table| {
            for address in touched {
                table.remove(address, |entry| !keep(entry));
            }
        })
    }

    /// Carries out `work` and compares the touched entries. Deletions come first: they make room.
    fn change(
        &mut self,
        touched: BTreeSet<IpAddr>,
        work: impl FnOnce(&mut Self),
    ) -> Vec<TableChange> {
        let value = |table: &Self, address: &IpAddr| {
            table.addresses.get(address).map(|names| placed(names))
        };
        let before: Vec<_> =
            touched.into_iter().map(|address| (address, value(self, &address))).collect();
        work(self);
        let (mut deletes, mut writes) = (Vec::new(), Vec::new());
        for (address, before) in before {
            match (before, value(self, &address)) {
                (Some(_), None) => deletes.push(TableChange::Delete { address }),
                (before, Some(learned)) if before != Some(learned) => {
                    writes.push(TableChange::Write { address, learned });
                }
                _ => {}
            }
        }
        deletes.append(&mut writes);
        deletes
    }

    fn insert(&mut self, address: IpAddr, entry: LearnedName) {
        let held = &mut self.held[usize::from(address.is_ipv6())];
        if !self.addresses.contains_key(&address) {
            if *held >= self.capacity {
                self.refused += 1;
                return;
            }
            *held += 1;
        }
        let names = self.addresses.entry(address).or_default();
        match names.iter_mut().find(|known| known.name == entry.name) {
            Some(known) => *known = entry,
            None => names.push(entry),
        }
    }

    fn remove(&mut self, address: IpAddr, gone: impl Fn(&LearnedName) -> bool) {
        let Some(names) = self.addresses.get_mut(&address) else { return };
        names.retain(|entry| !gone(entry));
        if names.is_empty() {
            self.addresses.remove(&address);
            self.held[usize::from(address.is_ipv6())] -= 1;
        }
    }
}

/// The value for these names, as far as there are places.
fn placed(names: &[LearnedName]) -> Learned {
    let mut learned = Learned::default();
    for (place, name) in learned.names.iter_mut().zip(names) {
        *place = *name;
    }
    learned
}

#[cfg(test)]
mod tests;
