//! The live overlay as its tables: every prefix and every name with all entries that cover it.
//!
//! Pure. The kernel's tables give one value an address, that of the longest prefix; so an entry about a
//! prefix is written into the values of all prefixes below it as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ipnet::IpNet;
use nsp_common::{
    net::protocol,
    overlay::{Overlay, PLACES, Temporary, action, presence},
};

use crate::policy::{
    Refusal,
    model::{Fqdn, PortRange, PortSet, PortSpec},
    prefix,
};

/// Entries at a time.
pub const ENTRIES_MAX: usize = 1024;
/// Names of the policy, old and new, that entries cover.
pub const NAMES_MAX: usize = 4096;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Addresses.
    Prefix(IpNet),
    /// The addresses that a name, or all below one, is learned as.
    Name(Fqdn),
}

impl Target {
    /// Reads a prefix, an address, or a name.
    ///
    /// # Errors
    /// What it is not, and what was most likely meant.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let as_prefix = match prefix::parse_prefix(text) {
            Ok(prefix) => return Ok(Self::Prefix(prefix)),
            Err(refusal) => refusal,
        };
        let as_name = match text.parse() {
            Ok(name) => return Ok(Self::Name(name)),
            Err(refusal) => refusal,
        };
        // A label of digits alone at the end, a colon, a length: that was to be an address.
        let numeric = text.chars().all(|it| it.is_ascii_hexdigit() || ".:/".contains(it));
        Err(if numeric { as_prefix } else { as_name })
    }

    /// What it admits, where that is more than anybody means.
    pub fn widest(&self) -> Option<&'static str> {
        match self {
            Self::Prefix(prefix) => prefix::widest(*prefix),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                prefix.addr().fmt(f)
            }
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// One entry, before it has places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub target: Target,
    /// Bits of [`action`], but for [`action::PORTS`].
    pub actions: u8,
    /// Which ports; each element takes a place.
    pub ports: PortSet,
    /// Identity of the profile, or zero.
    pub profile: u16,
    /// Second of the coarse monotonic clock at which it is over.
    pub until_s: u32,
    /// Its identity as a rule.
    pub identity: u32,
}

/// The content of the kernel's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayTables {
    /// By prefix.
    pub prefixes: BTreeMap<IpNet, Overlay>,
    /// By name.
    pub names: BTreeMap<u32, Overlay>,
    /// Bits of [`presence`].
    pub presence: u32,
}

/// What there is no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// Too many entries at one place.
    #[error("{needed} entries overlap at {at} (each port or range counts), the limit is {PLACES}")]
    Places {
        /// Where.
        at: String,
        /// How many.
        needed: usize,
    },
    /// Too many in all.
    #[error("{needed} temporary entries, the limit is {ENTRIES_MAX}")]
    Entries {
        /// How many.
        needed: usize,
    },
    /// Wildcards over too many names.
    #[error("temporary entries about {needed} names of the policy, the limit is {NAMES_MAX}")]
    Names {
        /// How many.
        needed: usize,
    },
}

impl OverlayTables {
    /// The tables of these entries; `names` are all that addresses may be learned for.
    ///
    /// # Errors
    /// [`OverlayError`] names the limit.
    pub fn of<'a>(
        entries: &[Entry],
        names: impl Iterator<Item = (u32, &'a str)>,
    ) -> Result<Self, OverlayError> {
        if entries.len() > ENTRIES_MAX {
            return Err(OverlayError::Entries { needed: entries.len() });
        }
        let mut sorted: Vec<&Entry> = entries.iter().collect();
        // The most specific first: its name is the one that records have.
        sorted.sort_by_key(|entry| (std::cmp::Reverse(depth(&entry.target)), entry.identity));
        let mut tables = Self::default();
        for entry in &sorted {
            tables.presence |= if entry.actions & action::BLOCK == 0 {
                presence::ALLOWS
            } else {
                presence::BLOCKS
            };
        }
        let prefixes: BTreeSet<IpNet> = entries.iter().filter_map(prefix_of).collect();
        for prefix in prefixes {
            let covers = |entry: &&&Entry| match &entry.target {
                Target::Prefix(wider) => wider.contains(&prefix),
                Target::Name(_) => false,
            };
            let overlay = joined(sorted.iter().filter(covers).copied(), || prefix.to_string())?;
            tables.prefixes.insert(prefix, overlay);
        }
        if entries.iter().any(|entry| matches!(entry.target, Target::Name(_))) {
            tables.presence |= presence::NAMES;
            for (identity, text) in names {
                let covers = |entry: &&&Entry| match &entry.target {
                    Target::Prefix(_) => false,
                    Target::Name(pattern) => covers_name(pattern, text),
                };
                let overlay = joined(sorted.iter().filter(covers).copied(), || text.to_owned())?;
                if overlay != Overlay::default() {
                    tables.names.insert(identity, overlay);
                }
            }
        }
        if tables.names.len() > NAMES_MAX {
            return Err(OverlayError::Names { needed: tables.names.len() });
        }
        Ok(tables)
    }
}

fn prefix_of(entry: &Entry) -> Option<IpNet> {
    match &entry.target {
        Target::Prefix(prefix) => Some(*prefix),
        Target::Name(_) => None,
    }
}

fn depth(target: &Target) -> usize {
    match target {
        Target::Prefix(prefix) => usize::from(prefix.prefix_len()),
        Target::Name(name) => name.base().len() * 2 + usize::from(!name.is_wildcard()),
    }
}

/// Whether a pattern is about all that a name of the policy, exact or `*.` and another, stands for.
fn covers_name(pattern: &Fqdn, name: &str) -> bool {
    if pattern.to_string() == name {
        return true;
    }
    // Below a wildcard are names and other wildcards, and not the name that it is below of.
    let above = name.strip_prefix("*.").unwrap_or(name).strip_suffix(pattern.base());
    pattern.is_wildcard() && above.is_some_and(|above| above.ends_with('.'))
}

fn joined<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    at: impl Fn() -> String,
) -> Result<Overlay, OverlayError> {
    let places: Vec<Temporary> = entries.flat_map(temporaries).collect();
    if places.len() > PLACES {
        return Err(OverlayError::Places { at: at(), needed: places.len() });
    }
    let mut overlay = Overlay::default();
    overlay.places[..places.len()].copy_from_slice(&places);
    Ok(overlay)
}

/// One for each element of its ports.
fn temporaries(entry: &Entry) -> Vec<Temporary> {
    let Entry { target: _, actions, ports, profile, until_s, identity } = entry;
    let any = Temporary {
        until_s: *until_s,
        identity: *identity,
        profile: *profile,
        first_port: 0,
        last_port: u16::MAX,
        protocol: 0,
        actions: *actions,
    };
    let of = |spec: &PortSpec| {
        let listed = Temporary { actions: actions | action::PORTS, ..any };
        match *spec {
            PortSpec::Range(PortRange { transport, first, last }) => Temporary {
                protocol: transport.number(),
                first_port: first,
                last_port: last,
                ..listed
            },
            PortSpec::Icmp | PortSpec::Protocol(protocol::ICMPV6) => {
                Temporary { protocol: protocol::ICMP, ..listed }
            }
            PortSpec::Protocol(number) => Temporary { protocol: number, ..listed },
        }
    };
    match ports {
        PortSet::Any => vec![any],
        PortSet::Listed(specs) => specs.iter().map(of).collect(),
    }
}

#[cfg(test)]
mod tests;
