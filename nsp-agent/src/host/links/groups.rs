//! The link groups of the reverse-path check: a bit for each judged device.

use std::collections::BTreeMap;

use nsp_common::link::LINK_GROUPS_MAX;

use super::{Choices, Link, stack::seen_at};

/// More devices are judged than the reverse-path check can tell apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{judged} devices are to be judged, and the reverse-path check tells {LINK_GROUPS_MAX} apart; \
     name those that matter with --interface"
)]
pub struct GroupsError {
    /// How many there are.
    pub judged: usize,
}

/// Gives every judged device a bit (0 to 63), by device index. A device that had one in `previous`
/// keeps it, so that tables of the kernel that change one after the other agree all the while. A
/// device whose packets are judged at another one (VLAN, bridge port, bond slave) has its bit: a
/// route that names it is a route by way of the judged device. No route leads by a device without an address: it
/// has a bit where one is left.
///
/// # Errors
///
/// When more devices are judged than there are bits.
pub fn link_groups(
    choices: &Choices,
    links: &[Link],
    previous: &BTreeMap<u32, u8>,
) -> Result<BTreeMap<u32, u8>, GroupsError> {
    let (new, addressed): (Vec<_>, Vec<_>) = choices.judged().partition(|choice| choice.is_new);
    let room = usize::from(LINK_GROUPS_MAX);
    if addressed.len() > room {
        return Err(GroupsError { judged: addressed.len() });
    }
    let judged = addressed.into_iter().chain(new).map(|choice| choice.index);
    let judged: Vec<u32> = judged.take(room).collect();
    let mut groups = BTreeMap::new();
    let mut taken = 0_u64;
    for index in &judged {
        // Two devices share a bit in `previous` where one was judged at the other.
        let kept = previous.get(index).filter(|bit| taken & 1 << **bit == 0);
        if let Some(bit) = kept {
            groups.insert(*index, *bit);
            taken |= 1 << bit;
        }
    }
    for index in &judged {
        groups.entry(*index).or_insert_with(|| {
            let bit = taken.trailing_ones() as u8;
            taken |= 1 << bit;
            bit
        });
    }
    let of_judged = groups.clone();
    for link in links {
        let bit = seen_at(link, links).find_map(|above| of_judged.get(&above.index));
        if let Some(bit) = bit {
            groups.entry(link.index).or_insert(*bit);
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests;
