//! When to ask for which name, and what the answers teach.
//!
//! Pure: no clock, no socket. Times are seconds of the coarse monotonic clock and come from the
//! caller, who must not let them run backwards.
//!
//! - An answer holds for its TTL, between [`TTL_S_MIN`] and [`TTL_S_MAX`]; a name is asked again
//!   once [`REFRESH_PERCENT`] of that have passed.
//! - What is taught expires [`GRACE_S`] after the TTL: applications cache. That is also how long an
//!   address stays that a later answer does not have any more.
//! - No answer (a timeout, SERVFAIL) takes nothing away: the addresses of the last good answer are
//!   held on to, at most [`STALE_S_MAX`] long, and the name is asked again after 1, 2, 4 up to
//!   [`RETRY_S_MAX`] seconds. An answer that says there are none lets them expire.
//!
//! **Invariant:** what was not learned from an answer is never taught, and what is
//! [forbidden](super::forbidden) is never taught.

mod name;
mod status;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use self::name::Name;
pub use self::status::{AddressStatus, NameStatus, Source};
use super::{
    forbidden::Forbidden,
    resolve::{Answer, ResolveError},
};

/// Shortest time an answer holds: a TTL of zero must not make a hot loop, and an application needs
/// a moment between resolving and connecting.
pub const TTL_S_MIN: u64 = 5;

/// Longest time an answer holds.
pub const TTL_S_MAX: u64 = 24 * 3600;

/// Part of the TTL after which a name is asked again.
pub const REFRESH_PERCENT: u64 = 80;

/// How long past its TTL an address stays, for applications that cache longer than they should.
pub const GRACE_S: u64 = 120;

/// Longest pause before a name that got no answer is asked again; the first is one second.
pub const RETRY_S_MAX: u64 = 60;

/// How long addresses are held on to when no answer comes, counted from the last good one.
pub const STALE_S_MAX: u64 = 24 * 3600;

/// When a name is due and its addresses have less than this left, they are prolonged ...
pub const HOLD_BELOW_S: u64 = 60;

/// ... to this.
pub const HOLD_S: u64 = 300;

/// Addresses one name can have at a time. An answer over UDP has room for some 30; a pool that
/// rotates quickly collects more over TTL and grace.
pub const ADDRESSES_PER_NAME: usize = 256;

/// One address taught for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedUpdate {
    /// In canonical form.
    pub address: IpAddr,
    /// Identity of the name.
    pub name: u32,
    /// When it ends for new conversations, seconds of the coarse monotonic clock.
    pub expires_s: u64,
}

/// One address taken from one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removal {
    /// In canonical form.
    pub address: IpAddr,
    /// Identity of the name.
    pub name: u32,
}

/// What changed, in one go. Removals come before updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// New addresses, and new expiries of old ones.
    pub updates: Vec<LearnedUpdate>,
    /// Addresses that are over.
    pub removals: Vec<Removal>,
}

impl Batch {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.removals.is_empty()
    }

    /// Adds what changed after this.
    pub fn append(&mut self, later: Self) {
        let Self { updates, removals } = later;
        let gone = |update: &LearnedUpdate| {
            removals.iter().any(|it| it.address == update.address && it.name == update.name)
        };
        self.updates.retain(|update| !gone(update));
        self.updates.extend(updates);
        self.removals.extend(removals);
    }
}

/// A question to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Identity of the name.
    pub identity: u32,
    /// The name.
    pub fqdn: Arc<str>,
}

/// The names of a policy and what is known of them.
#[derive(Debug, Default)]
pub struct Schedule {
    names: BTreeMap<u32, Name>,
    forbidden: Forbidden,
}

impl Schedule {
    /// No names yet.
    pub fn new(forbidden: Forbidden) -> Self {
        Self { names: BTreeMap::new(), forbidden }
    }

    /// Takes over the names of a policy. A name that stays keeps what it learned, a new one is due
    /// at once, and what names learned that are gone is removed.
    pub fn set_names(&mut self, names: &[(u32, String)], now_s: u64) -> Batch {
        let mut batch = Batch::default();
        let mut old = std::mem::take(&mut self.names);
        for (identity, fqdn) in names {
            if self.names.contains_key(identity) {
                continue;
            }
            let known = match old.entry(*identity) {
                Entry::Occupied(known) if *known.get().fqdn == **fqdn => Some(known.remove()),
                _ => None,
            };
            let name = known.unwrap_or_else(|| Name::new(fqdn, now_s));
            self.names.insert(*identity, name);
        }
        for (identity, mut gone) in old {
            gone.remove_where(identity, &mut batch, |_, _| true);
        }
        batch
    }

    /// Takes over what may not be learned, and removes what was and may not any more.
    pub fn set_forbidden(&mut self, forbidden: Forbidden) -> Batch {
        self.forbidden = forbidden;
        let mut batch = Batch::default();
        for (identity, name) in &mut self.names {
            name.remove_where(*identity, &mut batch, |address, _| {
                self.forbidden.why(address).is_some()
            });
        }
        batch
    }

    /// Makes every name due: the resolvers changed.
    pub fn refresh_all(&mut self, now_s: u64) {
        for name in self.names.values_mut() {
            name.due_s = name.due_s.min(now_s);
            name.failures = 0;
        }
    }

    /// At most `room` names to ask now, the longest due first. Each must be answered by
    /// [`Schedule::answered`] or [`Schedule::failed`] before it comes again.
    pub fn due(&mut self, now_s: u64, room: usize) -> Vec<Lookup> {
        let mut due: Vec<_> =
            self.names.iter_mut().filter(|(_, name)| name.is_due(now_s)).collect();
        due.sort_by_key(|(identity, name)| (name.due_s, **identity));
        let asked = due.into_iter().take(room).map(|(identity, name)| {
            name.asking = true;
            Lookup { identity: *identity, fqdn: name.fqdn.clone() }
        });
        asked.collect()
    }

    /// An answer came. One to a name that is gone meanwhile teaches nothing.
    pub fn answered(&mut self, lookup: &Lookup, answer: &Answer, now_s: u64) -> Batch {
        let mut batch = Batch::default();
        let Self { names, forbidden } = self;
        if let Some(name) = asked(names, lookup) {
            name.learn(lookup.identity, answer, forbidden, now_s, &mut batch);
        }
        batch
    }

    /// No answer came, or one that says there are no addresses.
    pub fn failed(&mut self, lookup: &Lookup, error: &ResolveError, now_s: u64) {
        if let Some(name) = asked(&mut self.names, lookup) {
            name.fail(error, now_s);
        }
    }

    /// What time alone changes: addresses past their expiry go, and those of names that should
    /// have been answered by now and were not are held on to.
    pub fn tick(&mut self, now_s: u64) -> Batch {
        let mut batch = Batch::default();
        for (identity, name) in &mut self.names {
            name.hold(*identity, now_s, &mut batch);
            name.remove_where(*identity, &mut batch, |_, held| held.expires_s <= now_s);
        }
        batch
    }

    /// When something is to be done next without an answer coming; `None` when never. Names that
    /// are being asked do not count.
    pub fn next_s(&self) -> Option<u64> {
        self.names.values().filter_map(Name::next_s).min()
    }

    /// Everything there is to show, in the order of the names.
    pub fn status(&self, now_s: u64) -> Vec<NameStatus> {
        let mut all: Vec<_> =
            self.names.iter().map(|(identity, name)| name.status(*identity, now_s)).collect();
        all.sort_by(|one, other| one.fqdn.cmp(&other.fqdn));
        all
    }
}

/// The name that this lookup was for, if it is still of the policy.
fn asked<'a>(names: &'a mut BTreeMap<u32, Name>, lookup: &Lookup) -> Option<&'a mut Name> {
    names.get_mut(&lookup.identity).filter(|name| name.fqdn == lookup.fqdn)
}

#[cfg(test)]
mod tests;
