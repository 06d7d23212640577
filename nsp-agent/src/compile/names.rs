//! Names of outbound rules: which rules a name is in, and by what addresses are held that are learned
//! for it.
//!
//! An exact name, and all that is below a wildcard, is a *unit* with an identity. The kernel finds the
//! unit of a name that is asked for by the longest match, and a unit's class has the rules of every
//! pattern that covers it: so one look-up is enough however many patterns do.

use std::collections::{BTreeMap, HashMap, HashSet};

use nsp_common::{
    learned::{QUOTA_BELOW, QUOTA_EXACT, Unit},
    name::NameKey,
};

use super::{NumberedRule, identities::Identities, sweep::Sweep};
use crate::policy::model::Fqdn;

/// What the names of a policy come to.
#[derive(Default)]
pub(super) struct Names {
    /// Classes of names by identity.
    pub(super) classes: Vec<u32>,
    /// The names of the policy with their identities.
    pub(super) fqdns: Vec<(u32, Fqdn)>,
    /// Keys of the kernel's table, and the units they lead to.
    pub(super) units: Vec<(NameKey, Unit)>,
}

/// Rules by pattern: of exact names, and of what is below a name.
#[derive(Default)]
struct Patterns<'a> {
    exact: HashMap<&'a str, Vec<u32>>,
    below: HashMap<&'a str, Vec<u32>>,
}

impl Patterns<'_> {
    /// The rules of every pattern that covers all that a pattern stands for.
    fn covering(&self, base: &str, is_wildcard: bool) -> Vec<u32> {
        let own = if is_wildcard { &self.below } else { &self.exact };
        let mut rules: Vec<u32> = own.get(base).into_iter().flatten().copied().collect();
        for parent in parents(base) {
            rules.extend(self.below.get(parent).into_iter().flatten());
        }
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// The names above a name, from the nearest on.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[at + 1..])
}

/// Numbers the names and gives them their classes.
pub(super) fn compile(
    rules: &[NumberedRule<'_>],
    temporary: &[Fqdn],
    identities: &mut Identities,
    sweep: &mut Sweep,
) -> Names {
    let mut patterns = Patterns::default();
    let mut listed: BTreeMap<&Fqdn, u32> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for fqdn in rule.fqdns {
            let by = if fqdn.is_wildcard() { &mut patterns.below } else { &mut patterns.exact };
            by.entry(fqdn.base()).or_default().push(index as u32 + 1);
            listed.entry(fqdn).or_insert_with(|| identities.name(&fqdn.to_string()));
        }
    }
    // No rule has these: entries of the live overlay are about what is learned for them.
    for fqdn in temporary {
        listed.entry(fqdn).or_insert_with(|| identities.name(&fqdn.to_string()));
    }
    let mut names = Names::default();
    // Also names that the policy no longer has: an address learned for one opens what a pattern that
    // is left would open.
    for (identity, text) in identities.names() {
        let (base, is_wildcard) = match text.strip_prefix("*.") {
            Some(base) => (base, true),
            None => (text, false),
        };
        let class = sweep.extend(0, &patterns.covering(base, is_wildcard));
        let at = identity as usize;
        if class != 0 {
            names.classes.resize(names.classes.len().max(at + 1), 0);
            names.classes[at] = class;
        }
    }
    let wildcards: HashMap<&str, u32> = listed
        .iter()
        .filter(|(fqdn, _)| fqdn.is_wildcard())
        .map(|(fqdn, identity)| (fqdn.base(), *identity))
        .collect();
    let exact: HashSet<&str> =
        listed.keys().filter(|fqdn| !fqdn.is_wildcard()).map(|fqdn| fqdn.base()).collect();
    for (fqdn, identity) in &listed {
        let quota = if fqdn.is_wildcard() { QUOTA_BELOW } else { QUOTA_EXACT };
        let unit = Unit { name: *identity, quota };
        // Names fit: a policy has no longer ones.
        names.units.extend(NameKey::of(fqdn.base(), fqdn.is_wildcard()).map(|key| (key, unit)));
        if fqdn.is_wildcard() && !exact.contains(fqdn.base()) {
            // What is below does not include the name itself: that is another pattern's, or nobody's.
            let nearest = parents(fqdn.base()).find_map(|parent| wildcards.get(parent));
            let unit = nearest.map(|identity| Unit { name: *identity, quota: QUOTA_BELOW });
            let key = NameKey::of(fqdn.base(), false);
            names.units.extend(key.map(|key| (key, unit.unwrap_or_default())));
        }
        names.fqdns.push((*identity, (*fqdn).clone()));
    }
    names
}
