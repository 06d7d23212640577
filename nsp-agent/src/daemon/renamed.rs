//! Devices that were renamed while they are covered.
//!
//! `--interface` and the policy name devices; the kernel's hooks are at their indexes. A device that is renamed is
//! the device that was meant, until it goes: to rename it must not open it. Its new name counts as well.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::state::Agent;
use crate::host::links::{self, Link};

impl Agent {
    /// Devices that have another name now than when they were hooked, by that name, unless it is another's.
    pub(super) fn links_as_hooked(&self) -> Vec<Link> {
        let renamed = self.links.iter().filter_map(|link| {
            let name = self.hooked_as.get(&link.index)?;
            let is_free = !self.links.iter().any(|it| it.name == *name);
            is_free.then(|| Link { name: name.clone(), ..link.clone() })
        });
        renamed.collect()
    }

    /// Judges what would be judged by the name that it was hooked by. Forgets devices that are gone.
    pub(super) fn judge_renamed(&mut self, private: &[IpNet], kept: &BTreeSet<u32>) {
        let links = &self.links;
        self.hooked_as.retain(|index, _| links.iter().any(|link| link.index == *index));
        let renamed = self.links_as_hooked();
        if renamed.is_empty() {
            return;
        }
        let mut links = self.links.clone();
        for link in &mut links {
            if let Some(before) = renamed.iter().find(|it| it.index == link.index) {
                link.name.clone_from(&before.name);
            }
        }
        let before = links::choose(&links, &self.routes, &self.patterns, private, kept);
        // In the order of their indexes, both.
        for (choice, before) in self.choices.devices.iter_mut().zip(before.devices) {
            if before.judged && !choice.judged {
                choice.judged = true;
                choice.reason = format!("{} as {}, which it was", before.reason, before.name);
            }
        }
        self.choices.unmatched = before.unmatched;
    }
}
